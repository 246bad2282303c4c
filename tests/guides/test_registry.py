"""Guides by name, built from settings: the library's own, a policy of one's own, and one from outside."""

import dataclasses
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.config.evaluate import Evaluate
from prorl.config.guide import Guide
from prorl.config.pretrain import SearchWeights
from prorl.config.section import ConfigError, build
from prorl.errors import DataError
from prorl.evaluation.evaluate import evaluate
from prorl.evaluation.judge import Judge
from prorl.files import read_json
from prorl.guide import GuideContext
from prorl.guides.beam import BeamSearchGuide
from prorl.guides.registry import GUIDES, build_guides, mistakes
from prorl.guides.search import SearchGuide
from prorl.layout import IDS_FILE
from prorl.policy.checkpoints import save_policy
from prorl.policy.guide import PolicyGuide
from tests.guides.outside import ONE_ITEM
from tests.policy.test_checkpoints import write_ids
from tests.tiny_models import (
    PARAMS,
    guide_data_of,
    random_catalogue,
    random_policy,
    random_simulator,
    some_prompts,
)

N_ITEMS, T = 30, 4
DECODING = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=1, max_length=T)
WORDS = np.ones((N_ITEMS + 1, 1), dtype=np.uint64)
SETTINGS = PARAMS.section(Evaluate).replace(
    rollouts=[2], beams=[2], bootstrap_resamples=100, diversity_pairs=20, batch_size=8
)
SEARCH = {"simulator": "GRU4Rec", "n_candidates": 6, "weights": {"ctr": 2.0, "coherence": 1.0}}
OUTSIDE = {"kind": "tests.guides.outside:ONE_ITEM", "item": 3, "n": 2}


def section(**guides):
    return build(Guide, guides, "guide", "params.yaml")


@pytest.fixture
def context(tmp_path):
    simulators = {name: random_simulator(N_ITEMS, name) for name in ("SASRec", "GRU4Rec")}
    return GuideContext(
        simulators,
        DECODING,
        WORDS,
        guide_data_of(N_ITEMS),
        torch.device("cpu"),
        "float32",
        1,
        "params.yaml",
        tmp_path / "guides",
    )


@pytest.fixture
def own_policy(tmp_path):
    """The folder of a policy."""
    catalogue = random_catalogue(N_ITEMS)
    write_ids(tmp_path / IDS_FILE, catalogue)
    save_policy(tmp_path / "policy", random_policy(catalogue), catalogue, tmp_path / IDS_FILE)
    return tmp_path / "policy"


def test_search_is_the_search_on_its_simulator_by_the_rules_of_decoding(context):
    guide = build_guides(["search"], section(search=SEARCH), context)["search"]
    prompts, weights = some_prompts(6, N_ITEMS), SearchWeights(ctr=2.0, coherence=1.0)
    expected = SearchGuide(context.simulators["GRU4Rec"], DECODING, 6, weights, WORDS)
    assert torch.equal(guide.paths(prompts), expected.demonstrations(prompts).path)


def test_a_policy_of_ones_own_writes_by_the_rules_of_decoding(context, own_policy):
    guides = section(mine={"kind": "policy", "path": str(own_policy)})
    guide = build_guides(["mine"], guides, context)["mine"]
    prompts = some_prompts(6, N_ITEMS)
    assert guide.catalogue.decoding == DECODING
    assert torch.equal(
        guide.paths(prompts),
        PolicyGuide.load(own_policy, DECODING, torch.device("cpu"), "float32").paths(prompts),
    )


def test_a_policy_of_ones_own_may_write_by_the_rules_it_was_saved_with(context, own_policy):
    guides = section(mine={"kind": "policy", "path": str(own_policy), "own_rules": True})
    guide = build_guides(["mine"], guides, context)["mine"]
    saved = read_json(own_policy / "prorl.json")["decoding"]
    assert guide.catalogue.decoding == Decoding(**saved) != DECODING
    context = dataclasses.replace(context, decoding=DECODING.replace(max_length=T + 1))
    message = rf"prorl\.json: decoding\.max_length: got {T}, allowed: {T + 1}, that of params\.yaml"
    with pytest.raises(DataError, match=message):
        build_guides(["mine"], guides, context)


def test_a_policy_and_a_search_may_have_a_shortest_path_of_their_own(context, own_policy):
    guides = build_guides(
        ["mine", "search"],
        section(
            mine={"kind": "policy", "path": str(own_policy), "min_length": T},
            search=SEARCH | {"min_length": T},
        ),
        context,
    )
    for guide in guides.values():
        assert (guide.paths(some_prompts(6, N_ITEMS)) != 0).sum(1).tolist() == [T] * 6
    too_long = section(search=SEARCH | {"min_length": T + 1})
    with pytest.raises(ConfigError, match=rf"guide\.search\.min_length: got {T + 1}, allowed: at most {T}"):
        build_guides(["search"], too_long, context)


@pytest.mark.parametrize("registered", [True, False])
def test_guides_of_every_kind_are_evaluated_together(context, own_policy, registered, monkeypatch):
    mine = {"kind": "policy", "path": str(own_policy)}
    outside = OUTSIDE
    if registered:
        monkeypatch.setitem(GUIDES, "one_item", ONE_ITEM)
        outside = OUTSIDE | {"kind": "one_item"}
    guides = build_guides(
        ["mine", "search", "outside"], section(mine=mine, search=SEARCH, outside=outside), context
    )
    judge = Judge(some_prompts(10, N_ITEMS), context.simulators, WORDS, T, 20, 8, 1)
    found = evaluate(guides, judge, {}, SETTINGS, 60)
    assert list(found.results) == ["mine", "search", "outside"]
    for simulator in context.simulators:
        assert {"rollout@2", "beam@2"} <= set(found.results["mine"][simulator])
        assert not {"rollout@2", "beam@2"} & set(found.results["search"][simulator])
        assert found.results["outside"][simulator]["length"]["mean"] == 2
        assert found.results["outside"][simulator]["repeats"]["mean"] == 0.5
    assert {name for name, judged in found.results.items() if "states" in judged} == {"search"}


@pytest.mark.parametrize(
    ("guides", "message"),
    [
        ({"other": SEARCH}, "guide.search: missing; `guides` names it"),
        (
            {"search": SEARCH | {"kind": "sarch"}},
            f"guide.search.kind: got 'sarch', allowed: {', '.join(GUIDES)}, or module:attribute",
        ),
        ({"search": SEARCH | {"kind": 3}}, "guide.search.kind: got 3 (int), allowed: text"),
        (
            {"search": SEARCH | {"kind": "tests.guides.outside:OneItem"}},
            "guide.search.kind: got 'tests.guides.outside:OneItem', a type, allowed: a GuideEntry",
        ),
        (
            {"search": SEARCH | {"simulator": "BERT4Rec"}},
            "guide.search.simulator: got 'BERT4Rec', allowed: one of `simulators`, ['SASRec', 'GRU4Rec']",
        ),
        (
            {"search": SEARCH | {"n_candidates": 0}},
            "guide.search.n_candidates: got 0 (int), allowed: a number at least 1",
        ),
        (
            {"search": SEARCH | {"n_candidate": 3}},
            "guide.search.n_candidate: unknown key; did you mean 'n_candidates'?",
        ),
        ({"search": {"kind": "policy"}}, "guide.search.path: missing"),
        (
            {"search": SEARCH | {"tried": []}},
            "guide.search.tried: got [], allowed: a list of mappings, not empty",
        ),
        (
            {"search": SEARCH | {"tried": [{}, {"n_candidates": 0}]}},
            "guide.search.tried[1].n_candidates: got 0 (int), allowed: a number at least 1",
        ),
        (
            {"search": SEARCH | {"tried": [{}, {"n_candidates": 6}]}},
            "guide.search.tried[1]: got {'n_candidates': 6}, allowed: each settings once",
        ),
        (
            {"search": SEARCH | {"tried": [{"simulator": "BERT4Rec"}]}},
            "guide.search.tried[0].simulator: got 'BERT4Rec', "
            "allowed: one of `simulators`, ['SASRec', 'GRU4Rec']",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_key_value_and_what_is_allowed(context, guides, message):
    with pytest.raises(ConfigError, match=re.escape(f"params.yaml: {message}")):
        build_guides(["search"], section(**guides), context)
    found = mistakes(["search"], section(**guides), ["SASRec", "GRU4Rec"], "params.yaml")
    assert found == [f"params.yaml: {message}"]


def test_a_search_on_what_cannot_branch_names_the_guides_own_key(context):
    class ScoresAlone:
        n_items = N_ITEMS

    guides = section(mine=SEARCH | {"kind": "search", "simulator": "plain"})
    with pytest.raises(ConfigError, match=r"^params\.yaml: guide\.mine\.simulator: got simulator 'plain'"):
        build_guides(["mine"], guides, replace(context, simulators={"plain": ScoresAlone()}))


def test_settings_without_a_mistake_have_none():
    assert mistakes(["search"], section(search=SEARCH, unused={}), ["SASRec", "GRU4Rec"], "file") == []


def test_a_guides_settings_are_a_mapping():
    with pytest.raises(ConfigError, match=r"params\.yaml: guide\.search: got 3, allowed: a mapping"):
        section(search=3)


def test_a_beam_is_built_from_the_settings_of_search_and_its_width(context):
    guide = build_guides(["wide"], section(wide={**SEARCH, "kind": "beam", "width": 3}), context)["wide"]
    assert isinstance(guide, BeamSearchGuide)
    assert (guide.width, guide.n_candidates, guide.simulator) == (3, 6, context.simulators["GRU4Rec"])
    prompts = some_prompts(5, N_ITEMS)
    paths = guide.paths(prompts)
    assert paths.shape == (5, T)
    assert (paths[:, 0] > 0).all()
    (found,) = mistakes(["beam"], section(beam={**SEARCH, "width": 0}), ["GRU4Rec"], "params.yaml")
    assert found == "params.yaml: guide.beam.width: got 0 (int), allowed: a number at least 1"
