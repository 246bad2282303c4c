"""What was computed before: found by all that it was made from, and the same bytes as computed anew."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from prorl.evaluation.evaluate import Kept, evaluate, greedy_results, timed
from prorl.evaluation.frontier import frontier
from prorl.evaluation.judge import Judge
from prorl.evaluation.kept import Store, digest
from prorl.policy.guide import PolicyGuide
from prorl.prompts import Prompts
from tests.evaluation.test_evaluate import N_ITEMS, SETTINGS, WORDS, Greedy, T
from tests.tiny_models import (
    random_catalogue,
    random_instances,
    random_paths,
    random_policy,
    random_simulator,
)


class Counted:
    """A guide, and how often it was asked for paths."""

    def __init__(self, guide):
        self.guide, self.n_items, self.asked = guide, guide.n_items, 0

    def paths(self, prompts):
        self.asked += 1
        return self.guide.paths(prompts)

    def states(self, prompts, paths):
        return self.guide.states(prompts, paths)


@pytest.fixture(scope="module")
def judge():
    prompts = Prompts.of(random_instances(9, N_ITEMS)[0])
    simulators = {name: random_simulator(N_ITEMS, name) for name in ("SASRec", "GRU4Rec")}
    return Judge(prompts, simulators, WORDS, T, SETTINGS.diversity_pairs, SETTINGS.batch_size, 7)


@pytest.fixture
def guides(judge):
    catalogue = replace(random_catalogue(N_ITEMS, max_length=T), acceptances=(0.25, 0.75), acceptance=0.75)
    policy = PolicyGuide(random_policy(catalogue), catalogue)
    written = random_paths(len(judge.prompts), 1, T, N_ITEMS, min_length=1)
    return {"policy": policy, "greedy": Counted(Greedy(written))}


def kept_in(folder, **changes):
    of_guides = {"policy": "a", "greedy": "b"} | changes
    return Kept(Store(folder), of_guides, {"SASRec": "c", "GRU4Rec": "d"})


def as_text(evaluation):
    return json.dumps([evaluation.results, evaluation.comparison, evaluation.lengths], sort_keys=True)


def test_results_are_the_same_without_with_and_from_a_store(judge, guides, tmp_path):
    target = {"target@50": 1 + judge.prompts.target % N_ITEMS}
    plain = evaluate(guides, judge, target, SETTINGS, 60)
    validation = greedy_results(guides, judge, SETTINGS, 60)
    for _ in range(2):
        found = evaluate(guides, judge, target, SETTINGS, 60, kept_in(tmp_path))
        assert as_text(found) == as_text(plain)
        pd.testing.assert_frame_equal(found.per_prompt, plain.per_prompt, check_exact=True)
        assert greedy_results(guides, judge, SETTINGS, 60, kept_in(tmp_path)) == validation
        assert frontier(guides, judge, kept_in(tmp_path)) == frontier(guides, judge)


def test_only_what_has_changed_is_asked_and_judged_again(judge, guides, tmp_path, monkeypatch):
    evaluate(guides, judge, {}, SETTINGS, 60, kept_in(tmp_path))
    files = set(tmp_path.iterdir())
    asked = guides["greedy"].asked
    evaluate(guides, judge, {}, SETTINGS, 60, kept_in(tmp_path))
    assert (guides["greedy"].asked, set(tmp_path.iterdir())) == (asked, files)
    other_judge = Kept(Store(tmp_path), kept_in(tmp_path).guides, {"SASRec": "c", "GRU4Rec": "new"})
    evaluate(guides, judge, {}, SETTINGS, 60, other_judge)
    new = set(tmp_path.iterdir()) - files
    assert sorted(path.name.rpartition("-")[0] for path in new) == ["greedy-GRU4Rec", "policy-GRU4Rec"]
    assert guides["greedy"].asked == asked, "paths do not depend on who judges them"
    files |= new
    evaluate(guides, judge, {}, SETTINGS, 60, kept_in(tmp_path, greedy="new"))
    new = set(tmp_path.iterdir()) - files
    assert sorted(path.name.rpartition("-")[0] for path in new) == [
        "greedy-GRU4Rec",
        "greedy-SASRec",
        "greedy-paths",
    ]
    assert guides["greedy"].asked > asked


def test_other_prompts_or_rules_of_the_evaluation_are_judged_anew(judge, guides, tmp_path):
    plain = evaluate(guides, judge, {}, SETTINGS, 60, kept_in(tmp_path))
    fewer = SETTINGS.replace(rollouts=[1, 3])
    found = evaluate(guides, judge, {}, fewer, 60, kept_in(tmp_path))
    assert "rollout@6" not in found.results["policy"]["SASRec"]
    assert found.results["policy"]["SASRec"]["rollout@3"] == plain.results["policy"]["SASRec"]["rollout@3"]


def test_times_are_measured_once(judge, guides, tmp_path):
    first = timed(guides, judge, kept_in(tmp_path))
    assert set(first) == set(guides)
    assert all(value > 0 for value in first.values())
    assert timed(guides, judge, kept_in(tmp_path)) == first


def test_a_digest_tells_contents_apart(tmp_path):
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "file"
    file.write_text("one")
    before = digest(tmp_path / "folder", [1, "a"], np.arange(3))
    assert digest(tmp_path / "folder", [1, "a"], np.arange(3)) == before
    assert digest(tmp_path / "folder", [1, "a"], np.arange(3.0)) != before
    assert digest(tmp_path / "folder", [1], "a", np.arange(3)) != before
    file.write_text("two")
    assert digest(tmp_path / "folder", [1, "a"], np.arange(3)) != before
    file.write_text("one")
    file.rename(tmp_path / "folder" / "other")
    assert digest(tmp_path / "folder", [1, "a"], np.arange(3)) != before
