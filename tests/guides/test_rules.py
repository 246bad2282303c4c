"""Every kind of guide obeys the rules of both protocols, and writes the same path for a prompt whatever it is
written with.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prorl.config.decoding import Decoding
from prorl.config.guide import Guide
from prorl.config.section import build
from prorl.errors import DataError
from prorl.guide import GuideContext
from prorl.guides.forbidden import forbidden_at_start
from prorl.guides.registry import GUIDES
from prorl.guides.writing import packed, step_by_step
from tests.guides.scripted import scripted_model  # noqa: F401
from tests.tiny_models import PARAMS, guide_data_of, prompts_of, random_simulator, session_at, some_prompts

N_ITEMS, SHORTEST, LONGEST = 30, 4, 6
OURS = Decoding(
    constrained=True, forbid=["repeats", "history", "target"], min_length=SHORTEST, max_length=LONGEST
)
FREE = Decoding(constrained=True, forbid=[], min_length=0, max_length=LONGEST)
KINDS = {
    "random": [{}],
    "popular": [{}],
    "target_neighbours": [
        {"distance": distance, "order": order}
        for distance, order in [
            ("cosine", "nearest_last"),
            ("l2", "nearest_first"),
            ("attributes", "nearest_last"),
        ]
    ],
    "universal": [{"candidates": 8, "prompts": 6, "n_candidates": 4}],
    "next_item": [
        {"k": 3},
        {"k": None, "distance": "attributes", "simulator": "GRU4Rec"},
        {"distance": "l2"},
    ],
    "graph_path": [{}, {"way": "tree"}],
    "ipg": [
        {"simulator": "GRU4Rec"},
        {"similarity": "dot"},
        {"intents": 3},
        {"intents": 3, "centroids": "untrained"},
    ],
    "irn": [
        {"hidden_size": 8, "n_heads": 2, "inner_size": 8, "epochs": 2, "impressionability": own}
        for own in ("learnt", "history")
    ],
    "llm_ipp": [
        {"model": "scripted", "answers": 1},
        {"model": "scripted", "answers": 2, "picked_by": "SASRec"},
    ],
}
CASES = [(kind, changes) for kind, every in KINDS.items() for changes in every]
IDS = [f"{kind}-{i}" for kind, every in KINDS.items() for i in range(len(every))]


def words():
    """Attributes of items as bits."""
    bits = np.array([0, *(1 << (item % 3) | 1 << (3 + item % 5) for item in range(1, N_ITEMS + 1))])
    return bits.astype(np.uint64)[:, None]


def context_in(folder, decoding):
    """What guides are built from; simulators compute in double precision, so that batches change nothing."""
    simulators = {name: random_simulator(N_ITEMS, name) for name in ("SASRec", "GRU4Rec")}
    for simulator in simulators.values():
        simulator.model.double()
    folder.mkdir()
    return GuideContext(
        simulators,
        decoding,
        words(),
        guide_data_of(N_ITEMS),
        torch.device("cpu"),
        "float32",
        1,
        "params.yaml",
        folder,
    )


def built(kind, changes, context):
    """The guide of this kind with the settings of params.yaml and `changes`, fitted where it can be."""
    entry = GUIDES[kind]
    values = PARAMS.section(Guide).named[kind] | changes
    settings = build(
        entry.settings, {k: v for k, v in values.items() if k != "tried"}, f"guide.{kind}", "file"
    )
    if entry.fit is not None:
        figures = entry.fit(settings, context, session_at(context.folder.parent))
        assert all(isinstance(value, int | float | str | bool) for value in figures.values())
    return entry.build(settings, context)


def double(guide):
    """The same guide with its network in double precision, so that no batch changes a choice."""
    if hasattr(guide, "model") and isinstance(guide.model, torch.nn.Module):
        guide.model.double()
    return guide


@pytest.mark.parametrize(("kind", "changes"), CASES, ids=IDS)
def test_a_guide_obeys_the_rules_and_ends_with_the_target_where_it_may_show_it(
    kind,
    changes,
    tmp_path,
    scripted_model,  # noqa: F811
):
    prompts = some_prompts(24, N_ITEMS)
    for name, decoding in (("ours", OURS), ("free", FREE)):
        guide = double(built(kind, changes, context_in(tmp_path / name, decoding)))
        paths = guide.paths(prompts)
        assert guide.n_items == N_ITEMS
        assert paths.shape == (24, LONGEST)
        assert paths.dtype == torch.int64
        for history, target, path in zip(
            prompts.history.tolist(), prompts.target.tolist(), paths.tolist(), strict=True
        ):
            items = [item for item in path if item]
            assert path == items + [0] * (LONGEST - len(items)), "nothing stands behind the end"
            assert all(1 <= item <= N_ITEMS for item in items)
            if decoding is OURS:
                assert SHORTEST <= len(items) == len(set(items))
                assert not {*history, target} & set(items)
            else:
                assert target not in items[:-1]


@pytest.mark.parametrize(("kind", "changes"), CASES, ids=IDS)
def test_a_path_does_not_depend_on_the_call_or_the_prompts_beside_it(
    kind,
    changes,
    tmp_path,
    scripted_model,  # noqa: F811
):
    guide = double(built(kind, changes, context_in(tmp_path / "guide", OURS)))
    prompts = some_prompts(13, N_ITEMS)
    together = guide.paths(prompts)
    assert torch.equal(guide.paths(prompts), together)
    mixed = torch.tensor([12, 3, 7])
    assert torch.equal(guide.paths(prompts[mixed]), together[mixed])
    assert torch.equal(guide.paths(prompts[5:6]), together[5:6])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "random"])
def test_a_guide_shows_no_blocked_item(kind, tmp_path, scripted_model):  # noqa: F811
    prompts = some_prompts(24, N_ITEMS)
    shown = double(built(kind, KINDS[kind][0], context_in(tmp_path / "free", OURS))).paths(prompts)
    items, times = shown[shown != 0].unique(return_counts=True)
    blocked = items[times.argsort(descending=True)][:3].tolist()
    paths = double(built(kind, KINDS[kind][0], context_in(tmp_path / "own", OURS.blocking(blocked)))).paths(
        prompts
    )
    assert not torch.isin(paths, torch.tensor(blocked)).any()
    assert ((paths != 0).sum(1) >= SHORTEST).all()


def test_every_kind_with_settings_of_its_own_is_tested_here_or_walks():
    walking = {"linucb", "off_policy_reinforce", "dqn", "two_critics", "utility_tuning", "impatient"}
    assert set(KINDS) == set(GUIDES) - {"search", "lookahead", "beam", "policy"} - walking


def test_too_few_open_items_are_one_line_that_names_the_prompt():
    prompts = replace(prompts_of(torch.tensor([[1, 2]]), torch.tensor([3])), number=torch.tensor([41]))
    rules = Decoding(constrained=True, forbid=["repeats", "history", "target"], min_length=3, max_length=4)
    message = r"^prompt 41: the rules leave items for a path of 2, allowed: at least decoding\.min_length, 3$"
    with pytest.raises(DataError, match=message):
        step_by_step(prompts, rules, 5, lambda unfinished: torch.zeros(unfinished.closed.shape))
    closed = forbidden_at_start(prompts.history, prompts.target, 5, rules)
    assert closed.tolist() == [[True, True, True, True, False, False]]
    items = torch.tensor([[1, 4, 3, 5]])
    with pytest.raises(DataError, match=message):
        packed(prompts, items, ~closed.gather(1, items), rules)


def test_a_path_ends_where_nothing_is_open_any_more_if_it_is_long_enough():
    prompts = prompts_of(torch.tensor([[1, 2], [1, 1]]), torch.tensor([3, 3]))
    rules = Decoding(constrained=True, forbid=["repeats", "history"], min_length=1, max_length=4)
    worth = torch.tensor([9.0, 8.0, 7.0, 1.0, 2.0, 3.0])

    def of(unfinished):
        return worth.expand(unfinished.closed.shape)

    assert step_by_step(prompts, rules, 5, of).tolist() == [[5, 4, 3, 0], [2, 5, 4, 3]]
    without_target = rules.replace(forbid=["repeats", "history", "target"])
    assert step_by_step(prompts, without_target, 5, of).tolist() == [[5, 4, 0, 0], [2, 5, 4, 0]]


def test_the_target_ends_a_path_that_is_long_enough():
    prompts = prompts_of(torch.tensor([[1]]), torch.tensor([3]))
    rules = Decoding(constrained=True, forbid=[], min_length=3, max_length=5)
    items = torch.tensor([[3, 2, 3, 4, 3, 1]])
    assert packed(prompts, items, items != 0, rules).tolist() == [[3, 2, 3, 0, 0]]
    assert packed(prompts, items, items != 3, rules.replace(min_length=0)).tolist() == [[2, 4, 1, 0, 0]]
