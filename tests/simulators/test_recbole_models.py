"""The door to RecBole: no side effects, and states at every position in one pass or in several."""

import subprocess
import sys

import pytest
import torch

from prorl.simulators.recbole_models import CausalSASRec
from prorl.simulators.registry import SIMULATORS, Causal
from tests.tiny_models import SASREC, random_prompts, recbole_model

CAUSAL = [name for name, entry in SIMULATORS.items() if isinstance(entry, Causal)]
READ_ANOMALY_DETECTION = "import torch; print(torch.is_anomaly_enabled())"


def test_anomaly_detection_stays_off_after_the_import():

    assert not torch.is_anomaly_enabled()


def test_anomaly_detection_stays_off_in_a_fresh_process_though_recbole_switches_it_on():
    lines = f"""
import importlib, sys
import prorl.simulators.recbole_models
{READ_ANOMALY_DETECTION}
importlib.reload(sys.modules["recbole.model.sequential_recommender.sine"])
{READ_ANOMALY_DETECTION}
"""
    result = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert result.stdout.split()[-2:] == ["False", "True"]


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("first", [1, 4, 6])
def test_continuing_from_memory_equals_one_pass(name, first):
    model = recbole_model(name, 12, 10).double()
    items, _ = random_prompts(3, 12, 7)
    whole, _ = model.extend(items)
    before, memory = model.extend(items[:, :first])
    after, _ = model.extend(items[:, first:], memory)
    torch.testing.assert_close(torch.cat([before, after], dim=1), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CAUSAL)
def test_selected_memory_is_that_of_its_sequences(name):
    model = recbole_model(name, 12, 10).double()
    items, _ = random_prompts(3, 12, 6)
    _, memory = model.extend(items[:, :5])
    expected, _ = model.extend(items[:, 5:], memory)
    rows = torch.tensor([2, 0])
    selected, _ = model.extend(items[rows, 5:], model.select(memory, rows))
    torch.testing.assert_close(selected, expected[rows], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CAUSAL)
def test_branches_are_sequences_of_their_own(name):
    """Three next items for each of three sequences, then one followed in two of them, and gone on with."""
    model = recbole_model(name, 12, 10).double()
    items, _ = random_prompts(3, 12, 5)
    alternatives, _ = random_prompts(3, 12, 3)
    _, memory = model.extend(items)
    states, branches = model.branch(alternatives, memory)
    for c in range(3):
        alone, _ = model.extend(torch.cat([items, alternatives[:, c : c + 1]], dim=1))
        torch.testing.assert_close(states[:, c], alone[:, -1], rtol=0, atol=1e-12)
    rows, choice, last = torch.tensor([2, 0]), torch.tensor([1, 2]), torch.tensor([[7], [4]])
    after, _ = model.extend(last, model.follow(memory, branches, rows, choice))
    expected, _ = model.extend(torch.cat([items[rows], alternatives[rows, choice][:, None], last], dim=1))
    torch.testing.assert_close(after[:, 0], expected[:, -1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CAUSAL)
def test_no_state_depends_on_later_items(name):
    model = recbole_model(name, 12, 10).double()
    items, _ = random_prompts(2, 12, 6)
    states, _ = model.extend(items)
    changed = items.clone()
    changed[:, 4:] = 0
    torch.testing.assert_close(model.extend(changed)[0][:, :4], states[:, :4], rtol=0, atol=1e-12)


def test_sasrec_refuses_more_items_than_it_has_positions():
    model = recbole_model("SASRec", 12, 6)
    items, _ = random_prompts(2, 12, 6)
    _, memory = model.extend(items)
    with pytest.raises(ValueError, match="at most 6 items, got 7"):
        model.extend(items[:, :1], memory)
    with pytest.raises(ValueError, match="at most 6 items, got 7"):
        model.branch(items[:, :3], memory)


def test_gelu_in_one_call_is_recboles():
    model = CausalSASRec(SASREC, 5, 4)
    layer = model.trm_encoder.layer[0].feed_forward
    x = torch.linspace(-5, 5, 41, dtype=torch.float64)
    torch.testing.assert_close(layer.intermediate_act_fn(x), layer.gelu(x), rtol=0, atol=1e-12)
