"""Two critics: what each is to say, what an actor's weights show, and a fit in miniature."""

import itertools
import json

import pytest
import torch

from prorl.guides.features import Standard
from prorl.guides.two_critics import N_STATISTICS, Networks, View, _shown, aims
from tests.guides.test_beam import Counting
from tests.guides.worlds import N_ITEMS, T, context_of, fitted, settings_of, world_of
from tests.tiny_models import some_prompts

PROMPTS = some_prompts(6, N_ITEMS)
SMALL = {"n_candidates": 6, "hidden_size": 8, "steps": 12, "batch_size": 4, "replay": 64, "update_size": 16}


class Constant:
    """Critics that always say 2 and 5."""

    def weights(self, x):
        return x

    def values(self, x, weights):
        return torch.full((len(x),), 2.0), torch.full((len(x),), 5.0)


def test_acceptance_is_discounted_and_interest_is_told_by_the_last_item_alone():
    rows = {
        "next": torch.zeros(2, 1),
        "done": torch.tensor([False, True]),
        "acceptance": torch.tensor([0.5, 0.75]),
        "interest": torch.tensor([1.0, 3.0]),
    }
    immediate, delayed = aims(Constant(), rows, 0.9)  # pyright: ignore[reportArgumentType]
    assert immediate.tolist() == pytest.approx([0.5 + 0.9 * 2, 0.75])
    assert delayed.tolist() == [5.0, 3.0]


def test_rows_hold_the_next_state_and_the_interest_gained_so_far(tmp_path):
    world = world_of(context_of(tmp_path), n_candidates=6)
    plain = Standard(torch.zeros(N_STATISTICS), torch.ones(N_STATISTICS))
    rows = _shown(world, PROMPTS, plain, lambda x: torch.ones(len(x), 3))
    assert len(rows) == T
    for row, after in itertools.pairwise(rows):
        torch.testing.assert_close(row["next"], after["x"])
        assert not row["done"].any()
        gained = after["x"][:, 0] - rows[0]["x"][:, 0]  # the first statistic is log P(target)
        torch.testing.assert_close(row["interest"], gained.clamp(-10, 10), atol=1e-4, rtol=0)
    assert rows[-1]["done"].all()


@pytest.mark.parametrize("kind", range(3))
def test_one_weight_alone_shows_what_is_best_by_its_prediction(tmp_path, kind):
    walk = world_of(context_of(tmp_path), n_candidates=8).start(PROMPTS)
    view, found = View.of(walk), walk.candidates
    promised = walk.promised(found.items, walk.look(found.items))
    predicted = (promised.acceptance, promised.gain, promised.rank_gain)[kind]
    shown = view.shown(torch.eye(3)[kind].expand(6, 3))
    best = predicted.masked_fill(~found.allowed, -torch.inf).max(1).values
    place = (found.items == shown.item[:, None]).to(torch.int8).argmax(1, keepdim=True)
    assert predicted.gather(1, place)[:, 0].tolist() == pytest.approx(best.tolist())


def test_weights_lie_between_0_and_the_largest(tmp_path):
    networks = Networks(settings_of("two_critics", largest=4.0), context_of(tmp_path))
    x = torch.zeros(3, N_STATISTICS)
    assert networks.weights(x).tolist() == [[2.0] * 3] * 3, "in the middle at first"
    with torch.no_grad():
        networks.actor[-1].bias += torch.tensor([-50.0, 0.0, 50.0])
    assert networks.weights(x)[0].tolist() == pytest.approx([0, 2, 4])


def test_critics_see_shares_of_weights(tmp_path):
    networks = Networks(settings_of("two_critics"), context_of(tmp_path))
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    x, weights = torch.ones(2, N_STATISTICS), torch.tensor([[1.0, 2.0, 0.5], [0.3, 0.1, 0.1]])
    once, twice, other = (networks.values(x, own) for own in (weights, 2 * weights, weights.flip(1)))
    torch.testing.assert_close(twice, once)
    assert not torch.allclose(other[0], once[0])
    assert all(value.isfinite().all() for value in networks.values(x, torch.zeros(2, 3)))


def test_a_fit_in_miniature(tmp_path):
    guide, figures = fitted("two_critics", context_of(tmp_path), tmp_path, **SMALL)
    json.dumps(figures)
    assert figures["best_step"] in (10, 12)
    assert all(0 <= figures[f"weight_{name}"] <= 4 for name in ("acceptance", "gain", "rank_gain"))
    simulator = guide.world.simulator
    simulator.model = counting = Counting(simulator.model)
    paths = guide.paths(PROMPTS)
    assert int(guide.states(PROMPTS, paths).sum()) == counting.states
    for history, target, path in zip(
        PROMPTS.history.tolist(), PROMPTS.target.tolist(), paths.tolist(), strict=True
    ):
        assert len(set(path)) == T
        assert not set(path) & {0, target, *history}
