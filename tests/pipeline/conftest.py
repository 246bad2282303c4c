"""One run of the whole pipeline per test session, and a colleague's clone that pulls its results."""

from dataclasses import dataclass

import pytest

from tests.items.tiny_qwen3 import save_tiny_qwen3
from tests.pipeline.clones import DATASET, Clone, clone_of, clone_of_working_tree

# Long enough for several checkpoints in each stage.
LONGER = {
    "embed": {"batch_size": 2, "max_tokens": 64},
    "simulator": {"epochs": 12, "patience": 12},
    "pretrain": {"max_steps": 120, "evaluate_every": 6, "patience": 20},
    "finetune": {"steps": 100, "centering_steps": 10, "evaluate_every": 4},
}


@dataclass(frozen=True)
class Pipeline:
    """A clone in which every stage has run, its results committed and pushed to a local remote, and the
    stages' names in that order.
    """

    clone: Clone
    ran: list[str]
    colleague: Clone


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory) -> Pipeline:
    """Run all stages once, push, and pull into a second clone, as the README's walkthrough does.

    Tests leave both as they find them.
    """
    folder = tmp_path_factory.mktemp("pipeline")
    clone = clone_of_working_tree(folder / "clone")
    ran = clone.repro()
    clone.dvc("remote", "add", "--default", "shared", str(folder / "remote"))
    clone.commit("Results, and where they are pushed to")
    clone.dvc("push")
    colleague = clone_of(clone, folder / "colleague")
    colleague.dvc("pull")
    return Pipeline(clone, ran, colleague)


@pytest.fixture
def untouched(pipeline, tmp_path) -> Clone:
    """A clone in which nothing has run and nothing is pulled."""
    return clone_of(pipeline.clone, tmp_path / "untouched")


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory) -> Clone:
    """A clone in which every long stage has run without a break, on one thread, for as long as `LONGER` says.

    Tests leave it as they find it.
    """
    folder = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        save_tiny_qwen3(folder, ["A film about the sea (1995). Adventure, Drama"])
        clone = clone_of_working_tree(folder / "clone")
        clone.set(**LONGER)
        clone.set(embed={"model": str(folder / "model")})
        clone.repro(f"finetune@{DATASET}")
    return clone
