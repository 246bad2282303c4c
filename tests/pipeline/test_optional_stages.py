"""Stages that are there for the data sets that list them, and for no other."""

import networkx
import pytest
from dvc.repo import Repo

from tests.pipeline.clones import DATASET, clone_of_working_tree


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return clone_of_working_tree(tmp_path_factory.mktemp("optional") / "clone")


def before(root, stage: str) -> set[str]:
    """The stages that `stage` waits for, directly or not."""
    graph = Repo(str(root)).index.graph
    named = {own.addressing: own for own in graph}
    return {
        own.addressing.partition("@")[0] for own in networkx.descendants(graph, named[f"{stage}@{DATASET}"])
    }


def test_the_default_run_has_none_and_attributes_need_no_vectors(clone):
    names = {stage.addressing.partition("@")[0] for stage in Repo(str(clone.root)).index.stages}
    assert not names & {"similarity", "language_model", "profile"}
    assert before(clone.root, "mine") == {"inputs", "fetch", "prepare"}
    assert before(clone.root, "embed") == {"inputs", "fetch", "prepare"}


def test_listed_stages_come_before_what_reads_them(clone):
    listed = {"datasets": [DATASET]}
    with clone.changed():
        clone.set(similarity=listed, mine={"feasibility": "similarity"})
        assert before(clone.root, "mine") == {"inputs", "fetch", "prepare", "embed", "similarity"}
    with clone.changed():
        clone.set(language_model=listed, profile=listed, embed={"texts": "profiles"})
        assert before(clone.root, "mine") == {"inputs", "fetch", "prepare", "language_model"}
        assert before(clone.root, "embed") == {"inputs", "fetch", "prepare", "profile"}
