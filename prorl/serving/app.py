"""The service as an ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from prorl.bundle.policy import ReleasedPolicy
from prorl.config.section import one_line
from prorl.serving import schemas
from prorl.serving.limits import LOOPBACK_NAMES, Gate, Limits
from prorl.serving.problems import Problem
from prorl.serving.service import Service
from prorl.serving.settings import Serve

STATIC = Path(__file__).parent / "static"
WORDS = {
    400: "No request that can be read",
    401: "A token is missing or wrong",
    403: "Another host's name",
    404: "No such request or path",
    405: "Another method",
    408: "The body did not come in time",
    409: "It contradicts what was answered before, or the path is over",
    413: "The body is too long",
    422: "Something in the request is not allowed; the detail says what is",
    429: "Too many wait; Retry-After says when to try again",
    500: "The service's own fault",
    503: "Too many are under way, it took too long or could not be logged; Retry-After: when to try again",
}
REQUESTS_PER_PLACE = 2  # of the queue: those that wait in it, and those that are on their way to or from it
OPEN_ERRORS = (400, 403, 408, 413, 500, 503)


def create_app(policy: ReleasedPolicy, settings: Serve) -> FastAPI:
    """The service of `policy`: its application, and `app.state.service`, which does the work.

    Raises `ConfigError` for a token, a key or a log that cannot be used.
    """
    service = Service(policy, settings)
    app = FastAPI(
        title=f"ProRL: {policy.name} on {policy.dataset}",
        version=policy.version,
        description="Paths that lead a user towards a target, step by step.",
        docs_url=None,  # they come from another host
        redoc_url=None,
        lifespan=_lifespan(service),
    )
    app.state.service = service
    app.add_middleware(
        Gate,
        limits=Limits(
            token=settings.token_bytes(),
            hosts=LOOPBACK_NAMES if settings.is_loopback else None,
            requests=REQUESTS_PER_PLACE * settings.queue + 64,
            body_bytes=1024 * settings.max_body_kb,
            body_seconds=settings.body_seconds,
        ),
        metrics=service.metrics,
    )
    _add_errors(app)
    _add_calls(app, service)
    _add_pages(app, service)
    return app


def _lifespan(service: Service) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        syncing = asyncio.create_task(_sync_now_and_then(service))
        yield
        syncing.cancel()
        with suppress(asyncio.CancelledError):
            await syncing
        await run_in_threadpool(service.close)

    return lifespan


async def _sync_now_and_then(service: Service) -> None:
    """What was written last is on the disk soon, though nothing follows it."""
    while True:
        await asyncio.sleep(max(service.settings.sync_seconds, 0.1))
        await run_in_threadpool(service.sync)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of errors."""
    return {
        status: {"model": schemas.Problem, "description": WORDS[status]}
        for status in sorted({*OPEN_ERRORS, *statuses})
    }


def _told(
    status: int, detail: str, field: str | None = None, suggestions: Any = (), headers: Any = None
) -> JSONResponse:
    content = {"detail": one_line(detail), "field": field, "suggestions": list(suggestions)}
    return JSONResponse(content, status, headers)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        headers = None if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        near = [item.as_dict() for item in error.suggestions]
        return _told(error.status, error.detail, error.field, near, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        said = first["msg"].removeprefix("Value error, ")
        return _told(422, f"{place}: {said}" if place else said, place or None)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        return _told(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        app.state.service.metrics.errors.labels(type(error).__name__).inc()
        return _told(500, "the service failed; its own log says why")


def _add_calls(app: FastAPI, service: Service) -> None:
    @app.post("/guide", responses=_problems(401, 404, 409, 422, 429, 503), summary="Paths to a target")
    async def guide(body: schemas.GuideBody) -> schemas.GuideOut:
        """Paths from a history, or from what was accepted of an earlier request, to a target."""
        call = await run_in_threadpool(service.call, body)
        future = asyncio.wrap_future(service.submit(call))
        try:
            async with asyncio.timeout(service.settings.timeout_seconds):
                made = await future
        except TimeoutError:
            service.metrics.errors.labels("timeout").inc()
            seconds = f"{service.settings.timeout_seconds:g}"
            raise Problem(503, f"no path after {seconds} s", retry_after=5) from None
        return schemas.GuideOut.model_validate(await run_in_threadpool(service.show, call, made))

    @app.post("/feedback", responses=_problems(401, 404, 409, 422, 503), summary="What became of it")
    def feedback(body: schemas.FeedbackBody) -> schemas.FeedbackOut:
        """Says that an item, or what is left of a path, was accepted or refused, or that the user left."""
        return schemas.FeedbackOut.model_validate(service.answer(body))

    @app.get("/items", responses=_problems(401, 422), summary="Items by what is typed")
    def items(
        q: Annotated[str, Query(max_length=200, description="The beginning of a title, or a raw id")] = "",
        limit: Annotated[int, Query(ge=1, le=50)] = 10,
    ) -> schemas.ItemsOut:
        """Items whose titles begin with, hold, or nearly are what was typed; the best first."""
        found = service.policy.items.search(q, limit)
        return schemas.ItemsOut.model_validate({"items": [item.as_dict() for item in found]})

    @app.get("/policy", responses=_problems(401), summary="What is served")
    def policy() -> schemas.PolicyOut:
        """What is served, and what it can be asked."""
        served = service.policy
        return schemas.PolicyOut(
            name=served.name,
            dataset=served.dataset,
            version=served.version,
            n_items=len(served.items),
            acceptances=list(served.acceptances),
            acceptance=served.acceptance,
            shortest=max(1, served.rules.min_length),
            longest=served.rules.max_length,
            history=served.history_length,
            explore=service.settings.explore,
            search=service.maker.no_search,
            judge=service.maker.no_judging,
        )


def _add_pages(app: FastAPI, service: Service) -> None:
    @app.get("/health", responses=_problems(), summary="Whether it answers")
    async def health() -> schemas.HealthOut:
        """That the service answers."""
        return schemas.HealthOut(status="ok", version=service.policy.version)

    @app.get("/metrics", responses=_problems(401), response_class=Response, summary="For Prometheus")
    async def metrics() -> Response:
        """Requests, latency, batches, queue and errors, as Prometheus reads them."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
