"""Stages that are there for the data sets that list them, and for no other."""

import networkx
import pytest
from dvc.repo import Repo

from tests.pipeline.clones import DATASET, clone_of_working_tree

LISTED = {"datasets": [DATASET]}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return clone_of_working_tree(tmp_path_factory.mktemp("optional") / "clone")


def waits_for(root) -> dict[str, set[str]]:
    """For each stage of dvc.yaml, the stages that it waits for, directly or not."""
    graph = Repo(str(root)).index.graph  # from a stage to those that it depends on
    return {
        stage.name.partition("@")[0]: {
            one.name.partition("@")[0] for one in networkx.descendants(graph, stage)
        }
        for stage in graph
    }


def test_the_default_run_has_none_and_attributes_need_no_vectors(clone):
    before = waits_for(clone.root)
    assert not before.keys() & {"similarity", "language_model", "profiles"}
    assert before["mine"] == before["embed"] == {"inputs", "fetch", "prepare"}


@pytest.mark.parametrize(
    ("settings", "mine", "embed"),
    [
        ({"similarity": LISTED, "mine": {"feasibility": "similarity"}}, {"embed", "similarity"}, set()),
        ({"language_model": LISTED, "mine": {"feasibility": "language_model"}}, {"language_model"}, set()),
        ({"profiles": LISTED, "embed": {"texts": "profiles"}}, set(), {"profiles"}),
    ],
    ids=["similarity", "language_model", "profiles"],
)
def test_a_listed_stage_comes_before_what_reads_it(clone, settings, mine, embed):
    clone.set(**settings)
    before = waits_for(clone.root)
    clone.run("git", "checkout", "--quiet", "--", "params.yaml")
    first = {"inputs", "fetch", "prepare"}
    assert (before["mine"], before["embed"]) == (first | mine, first | embed)
    assert not before["simulator"] & {"similarity", "language_model", "profiles"}
