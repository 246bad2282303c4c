"""What the service tells Prometheus. No label holds anything of a user."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self, waiting: Callable[[], int], policy: dict[str, str]):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "prorl_requests", "Answers given", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "prorl_request_seconds", "Time to an answer", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.batch_size = Histogram(
            "prorl_batch_size", "Requests per batch", buckets=SIZES, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "prorl_batch_seconds", "Time to compute a batch", buckets=SECONDS, registry=self.registry
        )
        self.errors = Counter(
            "prorl_errors", "Failures that are the service's own", ["kind"], registry=self.registry
        )
        self.shown = Counter("prorl_items_shown", "Items shown", registry=self.registry)
        self.answers = Counter(
            "prorl_answers", "What became of items shown", ["outcome"], registry=self.registry
        )
        Gauge("prorl_queue", "Requests that wait", registry=self.registry).set_function(waiting)
        Info("prorl_policy", "The policy that is served", registry=self.registry).info(policy)

    def batch_done(self, size: int, seconds: float) -> None:
        """Count a batch."""
        self.batch_size.observe(size)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self.registry)
