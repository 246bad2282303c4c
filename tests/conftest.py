"""What all tests share: no downloads, one thread, and the folder of restricted archives."""

import os
from pathlib import Path

import pytest

# Both are read when the libraries are imported, so they are set before any test module.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # on tensors this small, threads wait for each other longer than they work


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder of local archives and published files, from PRORL_ARCHIVES; the test is skipped where it is
    not set.
    """
    folder = os.environ.get("PRORL_ARCHIVES")
    if not folder:
        pytest.skip("PRORL_ARCHIVES is not set: it names a folder of data sets that may not be redistributed")
    return Path(folder)
