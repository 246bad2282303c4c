"""One causal pass against every prefix alone, right-padded, through RecBole's own `full_sort_predict`."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from prorl.errors import DataError
from prorl.simulators import blocks, padded
from prorl.simulators.registry import SIMULATORS
from prorl.simulators.scoring import load_simulator, save_simulator, simulator_of
from tests.tiny_models import SASREC, SIZES, random_paths, random_prompts, random_simulator, recbole_model

N_ITEMS, MAX_LENGTH, T = 40, 12, 5


def prefix_by_prefix(model, history, path, target):
    """log P, rank and acceptance [t+1], [t+1], [t] of one path, each prefix read alone by RecBole.

    RecBole's BERT4Rec drops the first item it is given.
    """
    path = path[path != 0]
    if model.max_seq_length > MAX_LENGTH:
        history = torch.cat([torch.tensor([N_ITEMS]), history])
    log_prob, rank, acceptance = [], [], []
    for length in range(len(path) + 1):
        read = torch.cat([history, path[:length]])
        items = torch.zeros(1, model.max_seq_length, dtype=torch.int64)
        items[0, : len(read)] = read
        scores = model.full_sort_predict({"item_id_list": items, "item_length": torch.tensor([len(read)])})
        scores = scores[0, 1:]
        log_prob.append(scores.log_softmax(0)[target - 1].item())
        rank.append(1 + sum(score > scores[target - 1] for score in scores.tolist()))
        if length < len(path):
            acceptance.append(torch.sigmoid(scores[path[length] - 1]).item())
    return log_prob, rank, acceptance


def paths_of_all_lengths():
    """Paths [b, m, t] of random lengths, an empty and a full one among them."""
    path = random_paths(4, 3, T, N_ITEMS)
    path[0, 0] = 0
    path[1, 1] = torch.arange(1, T + 1)
    path[2, 2] = torch.tensor([7, 7, 0, 0, 0])
    return path


@pytest.mark.parametrize("name", SIMULATORS)
@torch.no_grad()
def test_every_prefix_is_scored_as_recbole_scores_it_alone(name):
    model = recbole_model(name, N_ITEMS, MAX_LENGTH).double()
    history, target = random_prompts(4, N_ITEMS, 6)
    path = paths_of_all_lengths()
    scores = simulator_of(model).score(history, path, target)
    assert scores.log_prob.dtype == torch.float64
    for b in range(4):
        for j in range(3):
            length = int((path[b, j] != 0).sum())
            log_prob, rank, acceptance = prefix_by_prefix(model, history[b], path[b, j], target[b])
            assert scores.log_prob[b, j, : length + 1].tolist() == pytest.approx(log_prob, abs=1e-10)
            assert scores.rank[b, j, : length + 1].tolist() == rank
            assert scores.acceptance[b, j, :length].tolist() == pytest.approx(acceptance, abs=1e-10)
    told = scores.log_prob.flatten(0, 1).round(decimals=3).tolist()
    assert len({tuple(row) for row in told}) > 4, "the simulator tells the paths apart"


@pytest.mark.parametrize("name", SIMULATORS)
def test_non_items_are_skipped(name):
    simulator = random_simulator(N_ITEMS, name)
    history, target = random_prompts(1, N_ITEMS, 6)
    scores = simulator.score(history, torch.tensor([[[-1, 8, -1, 5, 0], [-1, 0, 0, 0, 0]]]), target)
    items = simulator.score(history, torch.tensor([[[8, 5]]]), target)
    before, first, second = items.log_prob[0, 0]
    torch.testing.assert_close(
        scores.log_prob[0, 0], torch.stack([before, before, first, first, second, second])
    )
    assert scores.rank[0, 0].tolist() == items.rank[0, 0, [0, 0, 1, 1, 2, 2]].tolist()
    torch.testing.assert_close(scores.acceptance[0, 0, [1, 3]], items.acceptance[0, 0])
    assert scores.acceptance[0, 0, [0, 2, 4]].eq(0).all()
    torch.testing.assert_close(scores.log_prob[0, 1], before.expand(6))
    assert scores.acceptance[0, 1].eq(0).all()


@pytest.mark.parametrize("name", SIMULATORS)
@pytest.mark.parametrize("read_at_once", [1, 2 * T])
def test_paths_read_in_groups_score_as_those_read_at_once(monkeypatch, name, read_at_once):
    simulator = simulator_of(recbole_model(name, N_ITEMS, MAX_LENGTH).double())
    history, target = random_prompts(4, N_ITEMS, 6)
    at_once = simulator.score(history, paths_of_all_lengths(), target)
    monkeypatch.setitem(blocks.READ_AT_ONCE, "cpu", read_at_once)
    monkeypatch.setitem(padded.READ_AT_ONCE, "cpu", read_at_once)
    in_groups = simulator.score(history, paths_of_all_lengths(), target)
    assert torch.equal(in_groups.rank, at_once.rank)
    torch.testing.assert_close(in_groups.log_prob, at_once.log_prob, rtol=0, atol=1e-12)
    torch.testing.assert_close(in_groups.acceptance, at_once.acceptance, rtol=0, atol=1e-12)


@pytest.mark.parametrize("table", [blocks.SCORES_AT_ONCE, blocks.READ_AT_ONCE, padded.READ_AT_ONCE])
def test_every_kind_of_device_has_an_entry(table):
    assert blocks.at_once(table, torch.device("cpu")) == table["cpu"]
    for kind in ("cuda", "mps", "xpu"):
        assert blocks.at_once(table, torch.device(kind)) == table["accelerator"]


@pytest.mark.parametrize(
    ("lengths", "at_once", "expected"),
    [
        ([2, 1, 0, 2, 1], 100, [([1, 4, 0, 3], 2)]),
        (
            [1, 1, 1, 3, 2],
            4,
            [([0, 1, 2], 1), ([4], 2), ([3], 3)],
        ),  # the group of the first three is full for longer ones
        ([1, 2, 2, 2], 6, [([0, 1, 2], 2), ([3], 2)]),
        ([3, 3, 3, 3, 3], 6, [([0, 1], 3), ([2, 3], 3), ([4], 3)]),
        ([5, 0, 4], 3, [([2], 4), ([0], 5)]),
        ([0, 0], 3, []),
        ([], 3, []),
    ],
)
def test_groups_of_like_length(lengths, at_once, expected):
    found = blocks.of_like_length(torch.tensor(lengths, dtype=torch.int64), at_once)
    assert [(rows.tolist(), longest) for rows, longest in found] == expected


@pytest.mark.parametrize("name", SIMULATORS)
def test_the_ends_alone_are_those_of_all_prefixes(name):
    simulator = simulator_of(recbole_model(name, N_ITEMS, MAX_LENGTH).double())
    history, target = random_prompts(4, N_ITEMS, 6)
    path = paths_of_all_lengths()
    path[3, 0] = torch.tensor([-1, 8, -1, 5, -1])
    every, ends = simulator.score(history, path, target), simulator.score(history, path, target, ends=True)
    torch.testing.assert_close(ends.log_prob, every.log_prob[..., [0, -1]], rtol=0, atol=1e-12)
    assert torch.equal(ends.rank, every.rank[..., [0, -1]])
    assert torch.equal(ends.acceptance, every.acceptance)


@pytest.mark.parametrize("name", SIMULATORS)
def test_beyond_the_end_of_a_path_the_last_value_stays_and_nothing_is_accepted(name):
    history, target = random_prompts(4, N_ITEMS, 6)
    path = paths_of_all_lengths()
    scores = random_simulator(N_ITEMS, name).score(history, path, target)
    length = (path != 0).sum(-1)
    for values in (scores.log_prob, scores.rank):
        last = values.gather(2, length[..., None])
        behind = torch.arange(T + 1) >= length[..., None]
        assert torch.equal(values[behind], last.expand_as(values)[behind])
    assert (scores.acceptance[path == 0] == 0).all()
    assert (scores.acceptance[path != 0] > 0).all()
    assert (scores.log_prob[0, 0] == scores.log_prob[0, 0, 0]).all()  # an empty path changes nothing


@pytest.mark.parametrize("block", [(1, 1), (2, 7), (4, 40), (9, 3), (100, 100)])
def test_scores_in_blocks_equal_the_plain_ones(monkeypatch, block):
    simulator = random_simulator(N_ITEMS)
    simulator.model.double()
    states = torch.randn(
        9, SASREC.hidden_size, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    target = torch.tensor([1, 2, 3, 20, 39, 40, 40, 1, 17])
    logits = states @ simulator.vectors[1:].T
    own = logits.gather(1, target[:, None] - 1)
    monkeypatch.setitem(blocks.SCORES_AT_ONCE, "cpu", block)
    log_prob, rank = simulator.target_scores(states, target)
    torch.testing.assert_close(
        log_prob, logits.log_softmax(1).gather(1, target[:, None] - 1)[:, 0], rtol=0, atol=1e-12
    )
    assert torch.equal(rank, 1 + (logits > own).sum(1))
    assert torch.equal(simulator.target_log_prob(states, target), log_prob)


def test_items_that_score_alike_are_not_better():
    """Small whole numbers, whose products are exact in any order."""
    simulator = random_simulator(N_ITEMS)
    with torch.no_grad():
        simulator.model.item_embedding.weight[1:] = torch.arange(SASREC.hidden_size).float()
    states = torch.arange(3 * SASREC.hidden_size).view(3, -1) % 7 - 3.0
    log_prob, rank = simulator.target_scores(states, torch.tensor([1, 20, 40]))
    assert rank.tolist() == [1, 1, 1]
    torch.testing.assert_close(log_prob, torch.full((3,), -torch.tensor(float(N_ITEMS)).log().item()))


@pytest.mark.parametrize("n_items", [21, 70])
@pytest.mark.parametrize("block", [3, 1024])
def test_items_that_share_a_vector_have_one_rank(monkeypatch, n_items, block):
    """Products of equal vectors may differ in their last bits by where they stand."""
    monkeypatch.setitem(blocks.SCORES_AT_ONCE, "cpu", (7, block))
    model = recbole_model("SASRec", n_items, MAX_LENGTH)
    alike = torch.arange(1, 21)
    with torch.no_grad():
        model.item_embedding.weight[alike] = model.item_embedding.weight[7].clone()
    simulator = simulator_of(model)
    states = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    exact = (states.double() @ model.item_embedding.weight[1:].double().T).numpy()
    for target in (1, 7, 20):
        _, rank = simulator.target_scores(states, torch.full((50,), target))
        others = [item for item in range(n_items) if item + 1 not in alike]
        assert rank.tolist() == (1 + (exact[:, others] > exact[:, [target - 1]]).sum(1)).tolist()
    if n_items > 21:
        _, rank = simulator.target_scores(states, torch.full((50,), 40))
        assert rank.tolist() == (1 + (exact > exact[:, [39]]).sum(1)).tolist()


def test_vectors_are_looked_at_again_once_they_change():
    model = recbole_model("SASRec", 5, MAX_LENGTH)
    simulator = simulator_of(model)
    states, target = torch.ones(1, 8), torch.tensor([1])
    simulator.target_scores(states, target)
    assert simulator._shared.of(simulator.vectors[1:]) is None
    with torch.no_grad():
        model.item_embedding.weight[2:] = model.item_embedding.weight[1].clone()
    assert simulator._shared.of(simulator.vectors[1:]).tolist() == [0] * 5
    assert simulator.target_scores(states, target)[1].tolist() == [1]


def test_padding_is_no_item():
    """A padding vector that would win every softmax and rank changes nothing."""
    simulator = random_simulator(N_ITEMS)
    states, target = torch.randn(4, SASREC.hidden_size), torch.tensor([1, 2, 3, 4])
    log_prob, rank = simulator.target_scores(states, target)
    with torch.no_grad():
        simulator.model.item_embedding.weight[0] = 100 * states.sum(0)
    assert torch.equal(simulator.target_scores(states, target)[0], log_prob)
    assert torch.equal(simulator.target_log_prob(states, target), log_prob)
    assert torch.equal(simulator.target_scores(states, target)[1], rank)


@pytest.mark.parametrize(("name", "sizes"), SIZES.items())
def test_a_saved_simulator_scores_the_same(tmp_path, name, sizes):
    model = recbole_model(name, N_ITEMS, MAX_LENGTH)
    save_simulator(tmp_path / "s", model, name, vars(sizes), MAX_LENGTH)
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["config.json", "model.safetensors"]
    loaded = load_simulator(tmp_path / "s")
    assert loaded.n_items == N_ITEMS
    history, target = random_prompts(4, N_ITEMS, 6)
    path = paths_of_all_lengths()
    ours, theirs = (
        simulator_of(model).score(history, path, target),
        loaded.score(history, path, target),
    )
    assert torch.equal(ours.log_prob, theirs.log_prob)
    assert torch.equal(ours.acceptance, theirs.acceptance)


@pytest.fixture
def stored(tmp_path):
    save_simulator(
        tmp_path / "s", recbole_model("SASRec", N_ITEMS, MAX_LENGTH), "SASRec", vars(SASREC), MAX_LENGTH
    )
    return tmp_path / "s"


def test_an_unknown_simulator_is_an_error_that_names_the_known(stored):
    config = json.loads((stored / "config.json").read_text())
    (stored / "config.json").write_text(json.dumps(config | {"name": "Pop"}))
    with pytest.raises(DataError, match=r"config\.json: name: got 'Pop', allowed: SASRec, GRU4Rec"):
        load_simulator(stored)


@pytest.mark.parametrize("change", ["items", "missing", "unexpected"])
def test_weights_of_another_model_are_an_error(stored, change):
    weights = load_file(stored / "model.safetensors")
    if change == "items":
        weights["item_embedding.weight"] = weights["item_embedding.weight"][:-1].clone()
    elif change == "missing":
        del weights["LayerNorm.bias"]
    else:
        weights["another.weight"] = torch.zeros(2)
    save_file(weights, stored / "model.safetensors")
    with pytest.raises(DataError, match=r"model\.safetensors: does not fit config\.json"):
        load_simulator(stored)
