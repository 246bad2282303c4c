"""A tiny released policy, once for all tests of the service, and services of it in processes of their own."""

import pytest

from prorl.bundle.folder import read_bundle
from prorl.bundle.policy import ReleasedPolicy
from tests.chromium import browser  # noqa: F401
from tests.serving.bundles import WithStandIn, write_tiny_bundle
from tests.serving.calls import serving
from tests.serving.running import Running


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="session")
def policy(bundle):
    """Without a simulator."""
    return ReleasedPolicy(read_bundle(bundle), "cpu")


@pytest.fixture(scope="session")
def simulated(bundle):
    """With stand-ins for a simulator."""
    return WithStandIn(read_bundle(bundle), "cpu")


@pytest.fixture(scope="module")
def client(simulated):
    """One service for the tests that change nothing in it."""
    with serving(simulated) as client:
        yield client


@pytest.fixture
def running(bundle):
    """Starts services in processes of their own, which end with the test."""
    started = []

    def start(**settings):
        started.append(Running(bundle, **settings))
        return started[-1]

    yield start
    for service in started:
        if service.process.poll() is None:
            service.process.kill()
            service.process.communicate()
