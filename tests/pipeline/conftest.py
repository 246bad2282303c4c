"""One run of the whole pipeline per test session, and a colleague's clone that pulls its results."""

from dataclasses import dataclass

import pytest

from tests.pipeline.clones import Clone, clone_of, clone_of_working_tree


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
