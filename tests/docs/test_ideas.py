"""The path worked by hand in docs/ideas.md, computed anew by the library."""

import re

import numpy as np
import pytest
import torch

from prorl.metrics import path_metrics
from prorl.rl import advantages, centering
from prorl.rl.rewards import RatedPaths, step_rewards
from prorl.simulators.protocol import Scores
from tools.stage_dependencies import ROOT

LONGEST = 3
PATHS = "ABC"


def tables() -> list[list[list[str]]]:
    """The rows of every table of the page, without its head."""
    text = (ROOT / "docs/ideas.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]
        for block in blocks
    ]


FILMS, SAID, MEASURES, STEPS, MOMENTS, CENTERED, ADVANTAGES, _ = tables()


@pytest.fixture(scope="module")
def rated() -> RatedPaths:
    """The three paths with the simulator's scores, as the page states both."""
    attributes = sorted({name for row in FILMS for name in row[2].split(", ")})
    words = torch.zeros(len(FILMS) + 1, 1, dtype=torch.int64)
    for film, _, own in FILMS:
        words[int(film)] = sum(1 << attributes.index(name) for name in own.split(", "))
    items = torch.zeros(1, len(PATHS), LONGEST, dtype=torch.int64)
    log_prob, rank = torch.zeros(1, len(PATHS), LONGEST + 1), torch.zeros(1, len(PATHS), LONGEST + 1)
    acceptance = torch.zeros(1, len(PATHS), LONGEST)
    for m, path in enumerate(PATHS):
        rows = [row for row in SAID if row[0] == path]
        for t, (_, film, probability, place, accepted) in enumerate(rows):
            log_prob[0, m, t:], rank[0, m, t:] = np.log(float(probability)), int(place)
            if t:
                items[0, m, t - 1], acceptance[0, m, t - 1] = int(film), float(accepted)
    target = torch.tensor([len(FILMS)])
    return RatedPaths(items, target, Scores(log_prob.double(), rank.long(), acceptance.double()), words)


@pytest.fixture(scope="module")
def rewards(rated):
    """Their step rewards."""
    return step_rewards(rated, ["ctr", "ioi", "ior"])


def same(stated: str, computed: float) -> None:
    """`stated`, with a row's own decimals, is what is computed."""
    assert float(stated) == pytest.approx(float(computed), abs=0.5005 * 10 ** -len(stated.partition(".")[2]))


def places(rows) -> list[tuple[int, int]]:
    """Path and position of each row, as indices, for rows in order."""
    return [
        (PATHS.index(row[0]), sum(other[0] == row[0] for other in rows[:i])) for i, row in enumerate(rows)
    ]


def test_measures(rated):
    items = rated.items[0].numpy()
    log_prob, rank = rated.scores.log_prob[0].numpy(), rated.scores.rank[0].numpy()
    target = np.full(len(PATHS), len(FILMS))
    computed = [
        path_metrics.increment_of_interest(log_prob),
        path_metrics.increment_of_rank(rank),
        path_metrics.feasibility(rated.scores.acceptance[0].numpy(), items),
        path_metrics.coherence(items, target, rated.attribute_words.numpy()),
    ]
    assert [row[0] for row in MEASURES] == list(PATHS)
    for m, row in enumerate(MEASURES):
        for stated, values in zip(row[1:], computed, strict=True):
            same(stated, values[m])


def test_step_rewards(rewards, rated):
    assert len(STEPS) == (rated.items > 0).sum()
    for (m, t), (_, film, *stated) in zip(places(STEPS), STEPS, strict=True):
        assert rated.items[0, m, t] == int(film)
        for name, value in zip(("ioi", "ior", "ctr"), stated, strict=True):
            same(value, rewards.values[name][0, m, t])


def test_centering(rewards):
    moments = centering.collected(rewards)
    for name, mean, deviation in MOMENTS:
        same(mean, moments[name].mean)
        same(deviation, moments[name].std)
    weights = {"ctr": 1.0, "ioi": 1.0, "ior": 1.0}
    together = centering.centered(rewards, moments, weights, LONGEST)
    for (m, t), (*_, ioi, ior, ctr, whole) in zip(places(CENTERED), CENTERED, strict=True):
        for name, value in (("ioi", ioi), ("ior", ior), ("ctr", ctr)):
            same(value, centering.standardised(rewards.values[name], moments[name])[0, m, t])
        same(whole, together[0, m, t])
    assert together.sum().item() == pytest.approx(0, abs=1e-9)


def test_advantages(rewards, rated):
    weights = {"ctr": 1.0, "ioi": 1.0, "ior": 1.0}
    together = centering.centered(rewards, centering.collected(rewards), weights, LONGEST)
    to_go = advantages.reward_to_go(together, gamma=1.0)
    acts = advantages.acting((rated.items > 0).sum(-1), LONGEST)
    found = advantages.position_specific(to_go, acts)
    assert len(ADVANTAGES) == acts.sum()
    for path, position, action, reward, baseline, advantage in ADVANTAGES:
        m, t = PATHS.index(path), int(position) - 1
        assert action == (f"film {rated.items[0, m, t]}" if rated.items[0, m, t] else "stop")
        same(reward, to_go[0, m, t])
        same(baseline, to_go[0, m, t] - found[0, m, t])
        same(advantage, found[0, m, t])
    same(".304", advantages.reinforce(to_go, acts)[0, 0, 1])
    same(".304", advantages.group_relative(to_go, acts)[0, 0, 1])
