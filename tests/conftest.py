"""What all tests share: no downloads, one thread, one run of the pipeline, a folder of local archives."""

import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# Both are read when the libraries are imported, so they are set before any test module.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # on tensors this small, threads wait for each other longer than they work


# Files whose tests, slow ones aside, share one run of the whole pipeline, which takes a minute or more.
SHARE_THE_PIPELINE = {
    f"tests/pipeline/test_{name}.py"
    for name in (
        *("bad_settings", "chosen_steps", "documented_commands", "pipeline", "privacy"),
        *("released_start", "reruns", "tour", "two_clones"),
    )
}


class ByWhatIsShared(LoadFileScheduling):
    """Tests of a file stay with one process, since they share what they prepare; so do those of all files
    that share the run of the pipeline.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "pipeline" if file in SHARE_THE_PIPELINE else file


@pytest.hookimpl(optionalhook=True)  # under `-p no:xdist` nobody asks
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """The one above under `--dist loadfile`, else pytest-xdist's own choice."""
    return ByWhatIsShared(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, the pipeline's come first: none of the longest is left for the
    end. Raises `UsageError` for a file that `SHARE_THE_PIPELINE` lacks.
    """

    def shares(item: pytest.Item) -> bool:
        return item.nodeid.split("::")[0] in SHARE_THE_PIPELINE

    for item in items:
        if "pipeline" in item.fixturenames and not shares(item) and item.get_closest_marker("slow") is None:
            raise pytest.UsageError(f"tests/conftest.py: SHARE_THE_PIPELINE lacks the file of {item.nodeid}")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (not shares(item), item.path.parent.name != "pipeline"))


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder of local archives and published files, from PRORL_ARCHIVES; the test is skipped where it is
    not set.
    """
    folder = os.environ.get("PRORL_ARCHIVES")
    if not folder:
        pytest.skip("PRORL_ARCHIVES is not set: it names a folder of data sets that may not be redistributed")
    return Path(folder)
