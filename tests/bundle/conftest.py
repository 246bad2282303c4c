"""One released policy for all tests of this room, which change copies of it alone."""

import shutil

import pytest

from prorl.bundle.policy import load_policy
from tests.bundle.made import catalogue_of, make_bundle
from tests.tiny_models import fresh_accelerator  # noqa: F401


@pytest.fixture(scope="session")
def released(tmp_path_factory):
    """The folder of a released policy."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), catalogue_of())


@pytest.fixture(scope="session")
def policy(released):
    return load_policy(released, "cpu")


@pytest.fixture
def copied(released, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(released, tmp_path / "copied")
