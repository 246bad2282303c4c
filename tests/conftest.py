"""What all tests share: no downloads, and the folder of data sets that may not be redistributed."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported, so set before any test module


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder of local archives and published files, from PRORL_ARCHIVES; the test is skipped where it is not set."""
    folder = os.environ.get("PRORL_ARCHIVES")
    if not folder:
        pytest.skip("PRORL_ARCHIVES is not set: it names a folder of data sets that may not be redistributed")
    return Path(folder)
