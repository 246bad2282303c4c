"""Simulators that read every prefix anew: what they read, how they are trained, and what they cannot do."""

import numpy as np
import pytest
import torch

from prorl.config.section import ConfigError
from prorl.simulators.padded_models import PaddedBERT4Rec, PaddedLightSANs
from prorl.simulators.protocol import EmbeddingSimulator, branching, ranking
from prorl.simulators.reading import appended
from prorl.simulators.registry import SIMULATORS, Padded, library_model
from prorl.simulators.scoring import simulator_of
from tests.tiny_models import BERT4REC, LIGHTSANS, random_prompts, random_simulator, recbole_model

N_ITEMS, MAX_LENGTH = 30, 9
PADDED = [name for name, entry in SIMULATORS.items() if isinstance(entry, Padded)]
WINDOWS = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [4, 3, 2, 1, 0, 0, 0, 0, 0, 0], [5, 6] + 8 * [0]])


def simulator(name):
    return simulator_of(recbole_model(name, N_ITEMS, MAX_LENGTH).double())


@pytest.mark.parametrize("name", SIMULATORS)
def test_states_of_unequal_lengths_are_those_of_each_alone(name):
    own = simulator(name)
    items, _ = random_prompts(4, N_ITEMS, 8)
    lengths = torch.tensor([8, 3, 1, 5])
    states = own.states(items * (torch.arange(8) < lengths[:, None]), lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = own.states(items[row : row + 1, :length])
        torch.testing.assert_close(states[row : row + 1], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SIMULATORS)
def test_scores_of_all_items_are_what_paths_are_scored_by(name):
    own = simulator(name)
    assert isinstance(own, EmbeddingSimulator)
    assert ranking(own, name, "simulators") is own
    history, target = random_prompts(4, N_ITEMS, 6)
    path = torch.tensor([[[3]], [[7]], [[7]], [[30]]])
    before, after = own.item_scores(history), own.item_scores(torch.cat([history, path[:, 0]], dim=1))
    judged = own.score(history, path, target)
    for column, scores in enumerate((before, after)):
        log_prob = scores.log_softmax(1).gather(1, target[:, None] - 1)[:, 0]
        torch.testing.assert_close(judged.log_prob[:, 0, column], log_prob, rtol=0, atol=1e-12)
    accepted = before.gather(1, path[:, 0] - 1).sigmoid()
    torch.testing.assert_close(judged.acceptance[:, 0], accepted, rtol=0, atol=1e-12)
    products = own.states(history) @ own.vectors[1:].T
    bias = own.model.output_bias[1:] if name == "BERT4Rec" else 0.0
    torch.testing.assert_close(before, products + bias, rtol=0, atol=1e-12)
    assert own.vectors.shape == (N_ITEMS + 1, own.states(history).shape[1])


def test_items_are_appended_without_what_is_none():
    history, path = torch.tensor([[8, 9], [8, 9]]), torch.tensor([[-1, 5, -1, 6], [4, 0, 0, 0]])
    items, lengths = appended(history, path)
    assert items.tolist() == [[8, 9, 5, 6, 0, 0], [8, 9, 4, 0, 0, 0]]
    assert lengths.tolist() == [4, 3]


def test_equal_prefixes_are_read_once(monkeypatch):
    own, read = random_simulator(N_ITEMS, "LightSANs"), []
    state_after = own.model.state_after
    monkeypatch.setattr(
        own.model,
        "state_after",
        lambda items, lengths: read.append(len(items)) or state_after(items, lengths),
    )
    history, target = random_prompts(1, N_ITEMS, 4)
    own.score(history, torch.tensor([[[1, 2, 3], [1, 2, 4], [1, 0, 0]]]), target)
    assert sum(read) == 5  # after none, 1, 1 2, 1 2 3 and 1 2 4


def test_bert4rec_reads_its_first_item_which_recboles_own_prediction_drops():
    own = simulator("BERT4Rec")
    history, _ = random_prompts(1, N_ITEMS, 5)
    other = history.clone()
    other[0, 0] = history[0, 0] % N_ITEMS + 1
    assert not torch.allclose(own.item_scores(history), own.item_scores(other))
    items = torch.zeros(2, MAX_LENGTH + 1, dtype=torch.int64)
    items[0, :5], items[1, :5] = history[0], other[0]
    theirs = own.model.full_sort_predict({"item_id_list": items, "item_length": torch.tensor([5, 5])})
    assert torch.equal(theirs[0], theirs[1])


@pytest.mark.parametrize("name", PADDED)
def test_as_many_items_as_max_length_are_read_and_no_more(name):
    own = simulator(name)
    items, _ = random_prompts(2, N_ITEMS, MAX_LENGTH + 1)
    changed = items.clone()
    changed[:, 0] = items[:, 0] % N_ITEMS + 1
    assert not torch.allclose(own.states(items[:, :-1]), own.states(changed[:, :-1]))
    with pytest.raises(ValueError, match=f"{name} reads at most 9 items, got 10"):
        own.states(items)


def test_what_lightsans_says_depends_on_the_length_it_is_padded_to_which_is_always_the_same():
    """RecBole's own forward reads as many positions as it is given."""
    own = simulator("LightSANs")
    items, _ = random_prompts(2, N_ITEMS, 4)
    short, whole = torch.tensor([4, 4]), torch.zeros(2, MAX_LENGTH, dtype=torch.int64)
    whole[:, :4] = items
    assert not torch.allclose(own.model.forward(items, short), own.model.forward(whole, short))
    torch.testing.assert_close(own.states(items), own.model.forward(whole, short), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", PADDED)
def test_no_search_runs_on_them(name):
    with pytest.raises(ConfigError, match=r"pretrain\.simulator: got simulator .* allowed: one with states"):
        branching(simulator(name), name, "pretrain.simulator")


def test_a_model_that_is_none_of_the_librarys_is_one_line():
    with pytest.raises(
        ConfigError, match="got 'Pop', allowed: a model of the library, SASRec, GRU4Rec, BERT4"
    ):
        library_model("Pop")


@pytest.mark.parametrize("mask_ratio", [0.001, 0.5, 1.0])
def test_bert4rec_is_trained_on_masked_items_one_at_least_in_every_window(mask_ratio):
    sizes = BERT4REC.replace(mask_ratio=mask_ratio, ft_ratio=0.0)
    model = PaddedBERT4Rec(sizes, N_ITEMS, MAX_LENGTH)
    inputs, wanted = model.examples(WINDOWS, np.random.default_rng(0))
    assert torch.equal(torch.where(wanted != 0, wanted, inputs), WINDOWS), "masked items are wanted"
    assert (inputs[wanted != 0] == N_ITEMS + 1).all()
    n_masked = (wanted != 0).sum(1).tolist()
    expected = {0.001: [1, 1, 1], 1.0: [10, 4, 2]}
    assert n_masked == expected.get(mask_ratio, n_masked)
    assert min(n_masked) >= 1


def test_bert4rec_is_also_trained_as_it_judges_on_the_last_item_of_a_prefix():
    model = PaddedBERT4Rec(BERT4REC.replace(ft_ratio=1.0), N_ITEMS, MAX_LENGTH)
    lengths = set()
    for seed in range(60):
        inputs, wanted = model.examples(WINDOWS, np.random.default_rng(seed))
        for row, (read, asked) in enumerate(zip(inputs.tolist(), wanted.tolist(), strict=True)):
            last = asked.index(max(asked))
            original = WINDOWS[row].tolist()
            assert asked == last * [0] + [original[last]] + (len(asked) - last - 1) * [0]
            assert read == original[:last] + [N_ITEMS + 1] + (len(read) - last - 1) * [0]
            lengths |= {last} if row == 0 else set()
    assert lengths == set(range(1, 10)), "of every length, and with an item before the mask"


def test_lightsans_is_trained_on_the_item_after_a_prefix():
    model = PaddedLightSANs(LIGHTSANS, N_ITEMS, MAX_LENGTH)
    lengths = set()
    for seed in range(60):
        inputs, wanted = model.examples(WINDOWS, np.random.default_rng(seed))
        assert inputs.shape == wanted.shape == (3, MAX_LENGTH)
        for original, read, asked in zip(WINDOWS.tolist(), inputs.tolist(), wanted.tolist(), strict=True):
            length = sum(item != 0 for item in read)
            assert read == original[:length] + (MAX_LENGTH - length) * [0]
            assert asked == [original[length] * (i == length - 1) for i in range(MAX_LENGTH)]
        lengths.add(sum(item != 0 for item in inputs[0].tolist()))
    assert lengths == set(range(1, 10))
