"""The influential recommender network: its mask, what it reads, and its training."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from prorl.config.guide import Guide
from prorl.config.proactive import IRNSettings
from prorl.config.section import ConfigError, build
from prorl.curves import Curves
from prorl.errors import DataError, TrainingError
from prorl.guides import irn_training
from prorl.guides.irn import FILE, IRN, UNSEEN, IRNGuide, save_irn, sinusoids, to_rows
from prorl.guides.irn_training import fit_irn, mean_loss, next_item_losses, stretches
from tests.guides.test_rules import FREE, N_ITEMS, OURS, context_in
from tests.tiny_models import (  # noqa: F401
    PARAMS,
    Killed,
    fresh_accelerator,
    killed_at,
    prompts_of,
    sequences_of,
    session_at,
    some_prompts,
)

LENGTH = 8


def settings(**changes):
    values = PARAMS.section(Guide).named["irn"] | {
        "n_layers": 2,
        "n_heads": 2,
        "hidden_size": 8,
        "inner_size": 16,
        "dropout": 0.0,
    }
    return build(
        IRNSettings, {k: v for k, v in (values | changes).items() if k != "tried"}, "irn", "params.yaml"
    )


def network(seed=0, **changes):
    torch.manual_seed(seed)
    return IRN(settings(**changes), N_ITEMS, LENGTH).double().eval()


def rows(n=4, seed=0):
    """Rows of full length [n, LENGTH]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, N_ITEMS + 1, (n, LENGTH), generator=generator)


def told(model, of):
    """The scores at the last position read."""
    return model.scores(model(of)[:, -2])


def with_difference(model, difference):
    """The same network, w_t r - w_h being `difference`."""
    with torch.no_grad():
        model.r.fill_((difference + model.sizes.history_weight) / model.sizes.objective_weight)
    return model


def test_the_mask_by_hand():
    model = network(history_weight=0.25, objective_weight=3.0)
    found = model.mask(torch.tensor([[0, 5, 6, 7]]), torch.tensor([2.0]))
    no, past, objective = UNSEEN, 0.25, 6.0
    assert found[0, 0].tolist() == [
        [no, no, no, objective],
        [no, past, no, objective],
        [no, past, past, objective],
        [no, no, no, objective],
    ]


def test_without_the_objective_in_sight_the_output_does_not_depend_on_it():
    model, of = with_difference(network(), -1e4), rows()
    other = torch.cat([of[:, :-1], 1 + of[:, -1:] % N_ITEMS], dim=1)
    assert torch.equal(told(model, of), told(model, other))
    assert not torch.allclose(told(with_difference(model, 0.0), of), told(model, other))


def test_with_nothing_but_the_objective_in_sight_what_is_past_does_not_count():
    """Beside the objective, the item that is read last counts by its own residual, and nothing before it."""
    model, of = with_difference(network(), 1e4), rows()
    other = torch.cat([1 + of[:, :-2] % N_ITEMS, of[:, -2:]], dim=1)
    assert torch.equal(told(model, of), told(model, other))
    assert not torch.allclose(told(with_difference(model, 0.0), of), told(model, other))
    nearer = torch.cat([of[:, :-1], 1 + of[:, -1:] % N_ITEMS], dim=1)
    with_difference(model, 1e4)
    assert not torch.allclose(told(model, of), told(model, nearer))


def test_only_the_difference_of_the_two_weights_acts():
    of = rows()
    one, other = network(history_weight=0.05), network(history_weight=1.05)
    assert torch.allclose(told(with_difference(one, 0.7), of), told(with_difference(other, 0.7), of))


def test_states_do_not_depend_on_what_follows_but_the_objective():
    model, of = network(), rows()
    later = of.clone()
    later[:, 4:-1] = 1 + later[:, 4:-1] % N_ITEMS
    assert torch.allclose(model(of)[:, :4], model(later)[:, :4])
    assert not torch.allclose(model(of)[:, 4], model(later)[:, 4])


@pytest.mark.parametrize("impressionability", ["learnt", "history"])
def test_a_batch_of_two_is_two_batches_of_one(impressionability):
    model, of = network(impressionability=impressionability), rows(2)
    of[0, :3] = 0
    if model.r_of_history is not None:
        torch.nn.init.normal_(model.r_of_history.weight)
        assert len(set(model.impressionability(of).tolist())) == 2
    apart = torch.cat([told(model, of[:1]), told(model, of[1:])])
    assert torch.allclose(told(model, of), apart, atol=1e-12)


@pytest.mark.parametrize("impressionability", ["learnt", "history"])
def test_the_gradient_reaches_the_impressionability(impressionability):
    model = network(impressionability=impressionability)
    next_item_losses(model, torch.randint(1, N_ITEMS + 1, (3, LENGTH + 1))).mean().backward()
    assert model.r.grad is not None
    assert model.r.grad.abs() > 1e-8
    if model.r_of_history is not None:
        assert model.r_of_history.weight.grad.abs().max() > 1e-8


def test_impressionability_of_a_history_by_hand():
    model = network(impressionability="history")
    with torch.no_grad():
        model.r_of_history.weight.fill_(0.5)
        model.items.weight[3:6] = torch.tensor([[1.0], [2.0], [6.0]]).expand(3, 8)
    # Items 3 and 4 are past: their mean is 1.5 in each of eight components.
    assert model.impressionability(torch.tensor([[0, 3, 4, 5]])).tolist() == [pytest.approx(1 + 8 * 1.5 / 2)]


def test_positions_by_hand():
    found = sinusoids(3, 4)
    assert found[2].tolist() == pytest.approx([math.sin(2), math.sin(2e-4), math.cos(2), math.cos(2e-4)])


def test_rows_end_with_the_objective():
    read, objective = torch.tensor([[1, 2, 3]]), torch.tensor([9])
    assert to_rows(read, objective, 6).tolist() == [[0, 0, 1, 2, 3, 9]]
    assert to_rows(read, objective, 3).tolist() == [[2, 3, 9]]


def test_stretches_cut_every_log_from_its_start():
    logs = sequences_of(list(range(1, 14)), [20, 21, 22, 23], [30, 31, 32])
    for seed in range(5):
        found = stretches(logs, 4, 6, np.random.default_rng(seed))
        assert found.shape[1] == 6
        parts = sorted([item for item in row if item] for row in found.tolist())
        assert all(4 <= len(part) <= 6 for part in parts)
        assert all(
            row == [0] * (6 - len(part)) + part for row in found.tolist() for part in [[i for i in row if i]]
        )
        assert [20, 21, 22, 23] in parts
        of_first = [item for part in parts if part[0] < 20 for item in part]
        assert of_first == list(range(1, len(of_first) + 1))
        assert 13 - len(of_first) < 4
        assert not any(30 in part for part in parts)
    cuts = {tuple(map(len, stretches(logs, 4, 6, np.random.default_rng(seed)).tolist())) for seed in range(5)}
    assert cuts
    assert len({str(stretches(logs, 4, 6, np.random.default_rng(seed)).sort(0)) for seed in range(5)}) > 1


def test_losses_are_of_every_item_but_the_first_and_the_objective():
    model = network()
    stretch = torch.cat([torch.zeros(1, 3, dtype=torch.int64), torch.arange(5, 11)[None]], dim=1)
    assert stretch.tolist() == [[0, 0, 0, 5, 6, 7, 8, 9, 10]]
    states = model(torch.tensor([[0, 0, 0, 5, 6, 7, 8, 10]]))[0]  # 9 is told, not read
    log_prob = F.log_softmax(model.scores(states), dim=-1)
    expected = [-log_prob[place, item - 1].item() for place, item in ((3, 6), (4, 7), (5, 8), (6, 9))]
    assert next_item_losses(model, stretch).tolist() == pytest.approx(expected)
    assert mean_loss(model, stretch, 1) == pytest.approx(np.mean(expected))


def test_a_path_is_the_likeliest_items_one_after_another():
    model, prompts = network(), some_prompts(6, N_ITEMS)
    guide = IRNGuide(model, FREE)
    for history, target, path in zip(
        prompts.history.tolist(), prompts.target.tolist(), guide.paths(prompts).tolist(), strict=True
    ):
        shown = []
        for item in path:
            read = [*history, *shown][-(LENGTH - 1) :]
            row = [0] * (LENGTH - 1 - len(read)) + read + [target]
            scores = told(model, torch.tensor([row]))[0]
            scores[torch.tensor([*history, *shown]) - 1] = -torch.inf
            assert item == int(scores.argmax()) + 1
            shown.append(item)
            if item == target:
                break
        assert not any(path[len(shown) :])


def test_training_lowers_the_loss_and_learns_where_the_objective_lies(tmp_path):
    """Users walk from item to item, up or down by one: where to can be told from the objective alone."""
    rng = np.random.default_rng(0)
    logs = []
    for _ in range(60):
        start, step = rng.integers(8, 22), rng.choice([-1, 1])
        logs.append([int(start + step * i) for i in range(7)])
    context = context_in(tmp_path / "guide", OURS.replace(max_length=2, min_length=1))
    data = replace(context.data, sequences=sequences_of(*logs), train_users=np.arange(1, 51))
    data = replace(data, validation=replace(data.validation, user=np.arange(51, 61)))
    context = replace(context, data=data)
    own = settings(shortest=5, epochs=40, learning_rate=2e-2, patience=40, batch_size=25)
    figures = fit_irn(own, context, session_at(tmp_path))
    assert figures["validation_loss"] < math.log(N_ITEMS) - 1
    guide = IRNGuide.load(context.folder, own, N_ITEMS, context.decoding, torch.device("cpu"))
    history = torch.tensor([[11, 12, 13, 14, 15]])
    up_and_down = [
        guide.paths(prompts_of(history[:, -1:], torch.tensor([target])))[0, 0].item() for target in (19, 11)
    ]
    assert up_and_down == [16, 14]


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    own = settings(epochs=4, dropout=0.1, halve_after=1, patience=9)
    whole = context_in(tmp_path / "whole", OURS)
    (tmp_path / "a").mkdir()
    figures = fit_irn(own, whole, session_at(tmp_path / "a"))
    broken = replace(whole, folder=tmp_path / "broken")
    broken.folder.mkdir()
    (tmp_path / "b").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(Curves, "log", killed_at(3, Curves.log))
        with pytest.raises(Killed):
            fit_irn(own, broken, session_at(tmp_path / "b"))
    assert fit_irn(own, broken, session_at(tmp_path / "b")) == figures
    assert (broken.folder / FILE).read_bytes() == (whole.folder / FILE).read_bytes()


def test_training_halves_its_rate_and_stops_where_nothing_improves(tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, *[2.5] * 20])
    monkeypatch.setattr(irn_training, "mean_loss", lambda *_: next(losses))
    rates = []

    def epoch(model, optimizer, rows, batch_size):
        rates.append(optimizer.param_groups[0]["lr"])
        return 1.0

    monkeypatch.setattr(irn_training, "_train_epoch", epoch)
    own = settings(epochs=30, halve_after=2, patience=8, learning_rate=0.8)
    figures = fit_irn(own, context_in(tmp_path / "guide", OURS), session_at(tmp_path))
    # The best is epoch 2; 3, 4 and 5 are more than two without improvement, and so are 6 to 8.
    assert rates == [0.8] * 5 + [0.4] * 3 + [0.2] * 2
    assert (figures["best_epoch"], figures["epochs"], figures["validation_loss"]) == (2, 10, 2.0)


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(irn_training, "_train_epoch", lambda *_: math.nan)
    with pytest.raises(TrainingError, match=r"^the loss is nan, at epoch 1; last good checkpoint: none yet$"):
        fit_irn(settings(), context_in(tmp_path / "guide", OURS), session_at(tmp_path))


def test_weights_of_another_shape_are_one_line(tmp_path):
    save_irn(tmp_path, network())
    with pytest.raises(DataError, match=r"irn\.safetensors: does not fit guide\.json"):
        IRNGuide.load(tmp_path, settings(hidden_size=16), N_ITEMS, OURS, torch.device("cpu"))


def test_the_width_is_a_multiple_of_twice_the_heads():
    with pytest.raises(
        ConfigError, match=r"irn\.hidden_size: got 6, allowed: a multiple of twice n_heads, 4"
    ):
        settings(hidden_size=6)
