"""What all tests share: no downloads, one thread, and the folder of restricted archives."""

import os
from pathlib import Path

import pytest

# Both are read when the libraries are imported, so they are set before any test module.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # on tensors this small, threads wait for each other longer than they work


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, each file's stay together, since they share what they prepare,
    and all that share the run of the whole pipeline. Long ones come first, so that none is left for the end.
    """
    if not hasattr(config, "workerinput"):
        return
    folder = Path(__file__).parent

    def group(item: pytest.Item) -> str:
        return "pipeline" if "pipeline" in item.fixturenames else str(item.path.relative_to(folder))

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    items.sort(key=lambda item: (group(item) != "pipeline", item.path.parent.name != "pipeline"))


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder of local archives and published files, from PRORL_ARCHIVES; the test is skipped where it is
    not set.
    """
    folder = os.environ.get("PRORL_ARCHIVES")
    if not folder:
        pytest.skip("PRORL_ARCHIVES is not set: it names a folder of data sets that may not be redistributed")
    return Path(folder)
