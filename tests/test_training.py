"""What training loops share: optimiser, checkpoints, curves."""

import json
import math
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from prorl import code, training
from prorl.config.logging import Logging
from prorl.training import (
    Checkpoint,
    Curves,
    accelerator,
    adamw,
    pack,
    scale_learning_rate,
    tensorboard_folder,
    unpack,
)
from tests.tiny_models import fresh_accelerator  # noqa: F401


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3), nn.Linear(3, 2))


def trained(model, optimizer, steps=3):
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randint(0, 5, (4,))).square().sum().backward()
        optimizer.step()


def test_weights_of_matrices_decay_and_those_of_norms_and_biases_do_not():
    model = network()
    optimizer = adamw(model, learning_rate=0.1, weight_decay=0.5)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        decayed = name in ("0.weight", "2.weight")
        torch.testing.assert_close(
            parameter.detach(), before[name] * (1 - 0.1 * 0.5) if decayed else before[name]
        )


def test_parameters_may_have_a_learning_rate_of_their_own_and_all_rates_scale_together():
    model = network()
    optimizer = adamw(model, learning_rate=0.1, weight_decay=0.0, own_rates={model[0].weight: 0.4})
    scale_learning_rate(optimizer, 0.5)
    scale_learning_rate(optimizer, 0.25)  # of the full rate, not of the last
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()  # AdamW's first step moves every entry by its learning rate
    for name, parameter in model.named_parameters():
        rate = 0.25 * (0.4 if name == "0.weight" else 0.1)
        torch.testing.assert_close(parameter.detach(), before[name] - rate, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision(precision, dtype):
    run = accelerator(precision)
    with run.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert torch.are_deterministic_algorithms_enabled()


def test_a_model_and_its_optimiser_go_on_from_a_checkpoint_as_if_nothing_had_happened(workplace):
    model = network()
    optimizer = adamw(model, 0.1, 0.01)
    trained(model, optimizer)
    checkpoint = Checkpoint("run", [], script=__file__)
    state = {"step": 3, "best": -math.inf, "rows": [{"step": 1, "values": {"loss": 0.1}}]}
    checkpoint.save({**pack("model", model), **pack("optimizer", optimizer)}, state)
    trained(model, optimizer)

    other = network()
    other_optimizer = adamw(other, 0.1, 0.01)
    tensors, stored_state = Checkpoint("run", [], script=__file__).load()
    assert stored_state == state
    unpack("model", other, tensors)
    unpack("optimizer", other_optimizer, tensors)
    trained(other, other_optimizer)
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, other.state_dict()[name])


def test_packed_weights_are_copies():
    model = network()
    packed = pack("model", model)
    before = packed["model/0.weight"].clone()
    with torch.no_grad():
        model[0].weight.zero_()
    assert torch.equal(packed["model/0.weight"], before)


def test_a_checkpoint_is_absent_before_it_is_saved_and_after_it_is_removed(workplace):
    checkpoint = Checkpoint("run", [], script=__file__)
    assert checkpoint.load() is None
    checkpoint.save({"x": torch.ones(2)}, {})
    assert [p.parent.name for p in [checkpoint.path]] == [".checkpoints"]
    assert torch.equal(checkpoint.load()[0]["x"], torch.ones(2))
    checkpoint.remove()
    checkpoint.remove()
    assert checkpoint.load() is None
    assert list(workplace.rglob("*.safetensors")) == []


def test_what_a_killed_run_was_writing_is_removed_when_a_checkpoint_is_loaded(workplace, monkeypatch):
    checkpoint = Checkpoint("run", [], script=__file__)
    checkpoint.save({"x": torch.ones(2)}, {"step": 1})
    own, other = (workplace / ".checkpoints" / f".{label}.partial" for label in ("run", "walk"))

    def killed(tensors, path, metadata):
        path.with_name(".tmp12ab").write_bytes(b"half of it")  # the name that safetensors gives
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_file", killed)
        for label in ("run", "walk"):
            with pytest.raises(KeyboardInterrupt):
                Checkpoint(label, [], script=__file__).save({"x": torch.zeros(2)}, {"step": 2})
    assert (own / ".tmp12ab").exists()
    assert checkpoint.load()[1] == {"step": 1}
    assert not own.exists()
    assert other.exists(), "another training may be writing it"
    checkpoint.save({"x": torch.zeros(2)}, {"step": 2})
    assert not own.exists()
    assert checkpoint.load()[1] == {"step": 2}


def test_a_checkpoint_is_found_by_the_same_inputs_settings_and_imported_code_alone(workplace, monkeypatch):
    monkeypatch.setattr(code, "ROOT", workplace)
    monkeypatch.setattr(training, "ROOT", workplace)
    for name, text in {
        "data/a": "one",
        "b": "two",
        "stage.py": "from prorl.rl import trainer",
        "prorl/__init__.py": "",
        "prorl/rl/__init__.py": "",
        "prorl/rl/trainer.py": "from prorl.files import sha256_of",
        "prorl/files.py": "",
        "prorl/reports.py": "",
    }.items():
        (workplace / name).parent.mkdir(parents=True, exist_ok=True)
        (workplace / name).write_text(text)
    inputs = [Path("data"), Path("b")]

    def checkpoint(label="run", inputs=inputs, rate=0.1):
        return Checkpoint(label, inputs, {"rate": rate}, 7, script="stage.py").path

    path = checkpoint()
    (workplace / "prorl/reports.py").write_text('"""A docstring mended."""')
    assert checkpoint() == path, "the stage does not import it"
    others = [checkpoint(rate=0.2), checkpoint(label="walk"), checkpoint(inputs=["b"])]
    for name in ("data/a", "stage.py", "prorl/rl/trainer.py", "prorl/files.py"):
        before = (workplace / name).read_text()
        (workplace / name).write_text(before + "\n")
        others.append(checkpoint())
        (workplace / name).write_text(before)
    assert checkpoint() == path
    assert len({path, *others}) == 8


def test_curves_write_the_rows_of_an_earlier_part_again(tmp_path):
    first = Curves(tmp_path / "first")
    first.log(1, {"train/loss": 3.0})
    first.log(5, {"train/loss": 2.0, "validation/loss": 2.5})
    second = Curves(tmp_path / "second", json.loads(json.dumps(first.rows)))
    second.log(6, {"train/loss": 1.0})
    second.close()
    assert second.rows == [
        {"step": 1, "values": {"train/loss": 3.0}},
        {"step": 5, "values": {"train/loss": 2.0, "validation/loss": 2.5}},
        {"step": 6, "values": {"train/loss": 1.0}},
    ]
    lines = (tmp_path / "second/plots/metrics/train/loss.tsv").read_text().splitlines()
    assert [line.split("\t")[-2:] for line in lines[1:]] == [["1", "3.0"], ["5", "2.0"], ["6", "1.0"]]
    assert json.loads((tmp_path / "second/metrics.json").read_text())["train"]["loss"] == 1.0


def test_curves_of_a_process_that_does_not_write_keep_their_rows(tmp_path):
    curves = Curves(tmp_path / "curves", enabled=False)
    curves.log(1, {"loss": 3.0})
    curves.close()
    assert curves.rows == [{"step": 1, "values": {"loss": 3.0}}]
    assert not (tmp_path / "curves").exists()


def test_event_files_hold_the_rows_once_and_what_is_not_tracked(tmp_path):
    folder = tmp_path / "events"
    first = Curves(tmp_path / "first", tensorboard=folder)
    first.log(1, {"train/loss": 3.0}, {"tokens_per_second": 70.0})
    first.close()
    second = Curves(tmp_path / "second", first.rows, tensorboard=folder)
    second.log(2, {"train/loss": 2.0}, {"tokens_per_second": 80.0})
    second.close()
    assert [row["values"] for row in second.rows] == [{"train/loss": 3.0}, {"train/loss": 2.0}]
    events = EventAccumulator(str(folder)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 3.0), (2, 2.0)]
    assert [(event.step, event.value) for event in events.Scalars("tokens_per_second")] == [(2, 80.0)]
    assert not (tmp_path / "second/plots/metrics/tokens_per_second.tsv").exists()


def test_event_files_are_written_by_request():
    assert tensorboard_folder(Logging(every_seconds=15, tensorboard=True), "mine@a") == Path(
        ".tensorboard/mine@a"
    )
    assert tensorboard_folder(Logging(every_seconds=15, tensorboard=False), "mine@a") is None
