"""Small outputs of all stages, written once."""

import shutil

import pytest

from tests.chromium import browser  # noqa: F401
from tests.reports.written_inputs import read_all, write_all


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The folder they are in; a test that changes a file takes `copied`."""
    folder = tmp_path_factory.mktemp("written")
    write_all(folder)
    return folder


@pytest.fixture
def copied(written, tmp_path):
    """A copy of `written` that a test may change."""
    return shutil.copytree(written, tmp_path / "copied")


@pytest.fixture(scope="session")
def inputs(written):
    """What is in `written`, as the report reads it."""
    return read_all(written)
