"""Paths under way on a simulator: what is known at each step, by which rules, and what it costs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from prorl.config.section import ConfigError
from prorl.guides.stepping import path_outcomes, steps, write_paths
from prorl.guides.walks import FEATURES, World, popularity
from tests.guides.test_beam import Counting
from tests.guides.worlds import N_ITEMS, context_of, world_of
from tests.tiny_models import some_prompts

PROMPTS = some_prompts(9, N_ITEMS)


def shows(place):
    """A step that shows the allowed candidate at `place`, or the last one where there are fewer."""

    def step(walk):
        found = walk.candidates
        order = (~found.allowed).to(torch.int8).argsort(dim=1, stable=True)
        return walk.after(found.at(order[:, min(place, int(found.allowed.sum(1).min()) - 1)]))

    return step


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_what_paths_bring_is_what_the_simulator_says_of_them(tmp_path, name):
    world = world_of(context_of(tmp_path), name)
    paths = write_paths(world, PROMPTS, shows(2))
    scores = world.simulator.score(PROMPTS.history, paths[:, None], PROMPTS.target)
    found = path_outcomes(world, PROMPTS, shows(2), lambda outcome: outcome.rank_gain)
    log_prob, rank = scores.log_prob[:, 0], scores.rank[:, 0]
    torch.testing.assert_close(found["ioi"], (log_prob[:, -1] - log_prob[:, 0]).double(), atol=1e-5, rtol=0)
    assert torch.equal(found["reward"], (rank[:, 0] - rank[:, -1]).double())
    torch.testing.assert_close(
        found["ctr"], scores.acceptance[:, 0].double().mean(1), atol=1e-6, rtol=0, check_dtype=False
    )


def test_what_a_look_promises_is_what_comes(tmp_path):
    world = world_of(context_of(tmp_path))
    for before, after in steps(world.start(PROMPTS), shows(1)):
        found = before.candidates
        promised = before.promised(found.items, before.look(found.items))
        place = (found.items == after.item[:, None]).to(torch.int8).argmax(1, keepdim=True)
        outcome = after.outcome(before)
        for name in ("gain", "acceptance", "coherent", "rank_gain"):
            expected = getattr(promised, name).gather(1, place)[:, 0]
            torch.testing.assert_close(getattr(outcome, name), expected, atol=1e-5, rtol=1e-5)


def test_features_are_of_history_target_and_item(tmp_path):
    context = context_of(tmp_path)
    world = world_of(context)
    (first, second), *_ = steps(world.start(PROMPTS[:1]), shows(0))
    found = second.candidates
    target, shown = int(PROMPTS.target[0]), int(second.item[0])
    vectors, state = world.simulator.vectors, second.state[0]
    counts = popularity(context.data, N_ITEMS)
    scores = world.simulator.item_scores(torch.cat([PROMPTS.history[:1], second.path], dim=1))[0]
    words = context.attribute_words
    for place, item in enumerate(found.items[0].tolist()):
        logit = scores[item - 1]
        near, state_near = (F.cosine_similarity(v, vectors[target], dim=0) for v in (vectors[item], state))
        expected = {
            "logit": logit,
            "log_prob": scores.log_softmax(0)[item - 1],
            "acceptance": logit.sigmoid(),
            "log_acceptance": logit.sigmoid().log(),
            "near_target": near,
            "state_near_target": state_near,
            "both_near": near * state_near,
            "ipg": logit.sigmoid() * (near - state_near),
            "log_popularity": math.log1p(counts[item]),
            "coherent": float((words[item] & words[shown]).any()),
            "shares_with_target": float((words[item] & words[target]).any()),
            "position": 1 / context.decoding.max_length,
            "target_log_prob": scores.log_softmax(0)[target - 1],
        }
        assert set(expected) == set(FEATURES)
        for name, value in expected.items():
            assert float(found.feature(name)[0, place]) == pytest.approx(float(value), abs=1e-4), name
    assert bool((first.candidates.feature("coherent") == 1).all()), "nothing stands before the first item"


def test_popularity_counts_training_users_alone(tmp_path):
    data = context_of(tmp_path).data
    expected = np.zeros(N_ITEMS + 1, dtype=int)
    for user in data.train_users:
        for item in data.sequences.of(user):
            expected[item] += 1
    assert popularity(data, N_ITEMS).tolist() == expected.tolist()
    assert expected.sum() < len(data.sequences.items)


@pytest.mark.parametrize("n_candidates", [6, 2 * N_ITEMS])
def test_candidates_are_likely_or_akin_allowed_and_stand_once(tmp_path, n_candidates):
    walk = world_of(context_of(tmp_path), n_candidates=n_candidates).start(PROMPTS)
    found = walk.candidates
    allowed_items = set(range(1, N_ITEMS + 1))
    for row, (items, allowed) in enumerate(zip(found.items.tolist(), found.allowed.tolist(), strict=True)):
        kept = [item for item, is_allowed in zip(items, allowed, strict=True) if is_allowed]
        free = allowed_items - {*PROMPTS.history[row].tolist(), int(PROMPTS.target[row])}
        assert len(kept) == len(set(kept))
        assert set(kept) <= free
        assert max(free, key=lambda item: float(walk.logits[row, item])) in kept
        if n_candidates == 2 * N_ITEMS:
            assert set(kept) == free


def test_paths_keep_the_rules_and_do_not_depend_on_the_batch(tmp_path):
    context = context_of(tmp_path)
    world = world_of(context)
    paths = write_paths(world, PROMPTS, shows(3))
    assert torch.equal(paths, write_paths(world, PROMPTS, shows(3), batch_size=2))
    for history, target, path in zip(
        PROMPTS.history.tolist(), PROMPTS.target.tolist(), paths.tolist(), strict=True
    ):
        assert len(set(path)) == len(path) == context.decoding.max_length
        assert not set(path) & {0, target, *history}


def test_no_walk_shows_a_blocked_item(tmp_path):
    context = context_of(tmp_path)
    shown = write_paths(world_of(context), PROMPTS, shows(3))
    blocked = shown[0, :2].tolist()
    without = world_of(replace(context, decoding=context.decoding.blocking(blocked)))
    assert torch.isin(shown, torch.tensor(blocked)).any()
    assert not torch.isin(write_paths(without, PROMPTS, shows(3)), torch.tensor(blocked)).any()


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_a_path_ends_with_its_target_where_it_may_be_shown_and_costs_a_state_an_item(tmp_path, name):
    context = context_of(tmp_path, forbid=[], min_length=0)
    world = world_of(context, name, n_candidates=2 * N_ITEMS)

    def nearest(walk):  # after the first item, whose place differs from prompt to prompt
        found = walk.candidates
        scores = found.feature("near_target") if walk.length else -found.feature("near_target")
        even = (walk.row % 2 == 0)[:, None] & (found.feature("near_target") > 0.999)
        return walk.after(found.at(found.best(scores + 9 * even)))

    world.simulator.model = counting = Counting(world.simulator.model)
    paths = write_paths(world, PROMPTS, nearest)
    lengths = (paths != 0).sum(1)
    assert lengths.tolist() == [1 if row % 2 == 0 else 2 for row in range(len(PROMPTS))]
    assert torch.equal(paths[torch.arange(len(PROMPTS)), lengths - 1], PROMPTS.target)
    assert counting.states == PROMPTS.history.numel() + int(lengths.sum())


def test_a_simulator_that_does_not_branch_is_refused(tmp_path):
    context = context_of(tmp_path)
    context.simulators["Other"] = object()  # pyright: ignore[reportIndexIssue]
    with pytest.raises(ConfigError, match=r"params\.yaml: guide\.mine\.simulator: got simulator 'Other'"):
        World.of("Other", 4, context)
