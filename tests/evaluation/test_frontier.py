"""The frontier of policies that can be told how much acceptance counts, and of searches."""

from dataclasses import replace

import numpy as np
import pytest

from prorl.config.decoding import Decoding
from prorl.config.pretrain import SearchWeights
from prorl.evaluation.frontier import FRONTIER_METRICS, frontier
from prorl.evaluation.judge import Judge
from prorl.guides.beam import BeamSearchGuide
from prorl.guides.lookahead import LookaheadGuide
from prorl.guides.search import SearchGuide
from prorl.policy.guide import PolicyGuide
from tests.tiny_models import random_catalogue, random_policy, random_simulator, some_prompts

N_ITEMS = 30
WORDS = np.arange(N_ITEMS + 1, dtype=np.uint64)[:, None]


@pytest.fixture
def judge():
    return Judge(some_prompts(12, N_ITEMS), {"SASRec": random_simulator(N_ITEMS)}, WORDS, 4, 20, 8, 0)


def guides(acceptances, acceptance):
    catalogue = replace(random_catalogue(N_ITEMS), acceptances=acceptances, acceptance=acceptance)
    rules = Decoding(constrained=True, forbid=[], min_length=1, max_length=4)
    search = SearchGuide(random_simulator(N_ITEMS), rules, 8, SearchWeights(ctr=2.0, coherence=0.0), WORDS)
    return {"prorl": PolicyGuide(random_policy(catalogue), catalogue), "search": search}


def test_each_guide_is_judged_at_everything_that_the_policy_can_be_told(judge):
    own = guides((0.25, 0.75), 0.75)
    found = frontier(own, judge)
    assert list(found) == ["prorl", "search"]
    for name, rows in found.items():
        assert [row["acceptance"] for row in rows] == [0.25, 0.75]
        assert all(set(row["SASRec"]) == set(FRONTIER_METRICS) for row in rows), name
    means = judge.greedy_means(own["search"])["SASRec"]
    assert found["search"][1]["SASRec"] == {name: means[name] for name in FRONTIER_METRICS}
    lighter = judge.greedy_means(replace(own["search"], weights=SearchWeights(ctr=0.5, coherence=0.0)))
    assert found["search"][0]["SASRec"]["ctr"] == lighter["SASRec"]["ctr"]
    told = judge.greedy_means(own["prorl"].told(0.25))["SASRec"]
    assert found["prorl"][0]["SASRec"]["ioi"] == told["ioi"]


def test_searches_of_other_weights_of_ctr_lie_on_one_line(judge):
    own = guides((0.25, 0.75), 0.75)
    heavier = own["search"].weighing(3.0)
    wider = replace(own["search"], n_candidates=9)
    beam = BeamSearchGuide(**vars(own["search"]), width=2)
    ahead = LookaheadGuide(**vars(own["search"]) | {"ahead": 2})
    further = {"heavier": heavier, "wider": wider, "beam": beam, "ahead": ahead, "again": ahead.weighing(2.0)}
    found = frontier({**own, **further}, judge)
    lines = ["prorl", "search", "wider", "ahead"]
    assert list(found) == lines, "a beam costs too much to be judged at every weight"


def test_there_is_none_where_no_policy_can_be_told(judge):
    assert frontier(guides((), None), judge) == {}
