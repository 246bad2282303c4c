"""What trainings share: optimiser, checkpoints, and the session that is killed and goes on."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from prorl import checkpoint as checkpoints
from prorl import code
from prorl.checkpoint import Checkpoint, Modules, pack, unpack
from prorl.config.logging import Logging
from prorl.devices import accelerator
from prorl.files import write_json
from prorl.layout import Layout
from prorl.training import Session, adamw, scale_learning_rate
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
        patch.setattr(checkpoints, "save_file", killed)
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


def test_another_process_of_a_run_leaves_what_the_first_is_writing(workplace, monkeypatch):
    (workplace / "script.py").write_text("")
    checkpoint = Checkpoint("run", [], script=workplace / "script.py")
    writing = workplace / ".checkpoints" / ".run.partial" / "half"
    writing.parent.mkdir(parents=True)
    writing.write_text("half")
    monkeypatch.setenv("RANK", "1")
    assert checkpoint.load() is None
    assert writing.exists()
    monkeypatch.setenv("RANK", "0")
    assert checkpoint.load() is None
    assert not writing.parent.exists()


def test_a_checkpoint_is_found_by_the_same_inputs_settings_and_imported_code_alone(workplace, monkeypatch):
    monkeypatch.setattr(code, "ROOT", workplace)
    monkeypatch.setattr(checkpoints, "ROOT", workplace)
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


def session_in(folder):
    return Session("simulator/Mine", Checkpoint("run", [], script=__file__), folder / "curves", 60)


def begun(folder, model, main=True):
    optimizer = adamw(model, 0.1, 0.0)
    run = SimpleNamespace(is_main_process=main, num_processes=1)
    resumable = Modules({"model": model, "optimizer": optimizer})
    return session_in(folder).begin(run, model, resumable, unit="epoch", seen=[]), optimizer


def train(folder, model, scores, kill_at=None):
    """Train `model` for epochs that have these `scores`, or until it is killed before it is saved."""
    training, optimizer = begun(folder, model)
    for epoch in training.steps(len(scores)):
        torch.manual_seed(epoch)
        optimizer.zero_grad()
        model(torch.randint(0, 5, (4,))).square().sum().backward()
        optimizer.step()
        training.keep_best(epoch, scores[epoch - 1], by=0.5)
        training.counts["seen"] = [*training.counts["seen"], epoch]
        if epoch - training.best_step >= 3:
            training.stopped = "flattened"
        training.log(epoch, {"score": scores[epoch - 1]}, shown="shown")
        if epoch == kill_at:
            raise KeyboardInterrupt
        training.save()
    training.finish()
    return training


SCORES = [1.0, 1.4, 2.0, 1.0, 1.0, 1.0, 9.0]


def test_a_session_ends_with_its_best_weights_and_stops_for_good(workplace):
    """1.4 is better than 1.0 by too little; after the third, three epochs bring nothing."""
    until_best, model = network(), network()
    train(workplace / "other", until_best, SCORES[:3])
    Checkpoint("run", [], script=__file__).remove()
    training = train(workplace, model, SCORES)
    assert (training.step, training.best_step, training.best_score) == (6, 3, 2.0)
    assert training.stopped == "flattened"
    assert training.counts == {"seen": [1, 2, 3, 4, 5, 6]}
    for name, weight in until_best.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight)
    again = network()
    stopped = train(workplace, again, SCORES)
    assert (stopped.step, stopped.counts) == (6, {"seen": [1, 2, 3, 4, 5, 6]})
    assert torch.equal(again[0].weight, model[0].weight)


@pytest.mark.parametrize("killed", [1, 2, 5])
def test_a_killed_session_goes_on_as_if_nothing_had_happened(workplace, killed):
    unbroken, broken = network(), network()
    expected = train(workplace / "unbroken", unbroken, SCORES)
    expected.session.checkpoint.remove()
    with pytest.raises(KeyboardInterrupt):
        train(workplace / "broken", broken, SCORES, kill_at=killed)
    broken = network()
    training, _ = begun(workplace / "broken", broken)
    assert training.is_new == (killed == 1)
    assert training.step == killed - 1
    found = train(workplace / "broken", broken, SCORES)
    assert (found.step, found.best_step, found.counts) == (expected.step, expected.best_step, expected.counts)
    for name, weight in unbroken.state_dict().items():
        assert torch.equal(broken.state_dict()[name], weight)
    files = [
        {path.relative_to(folder): path.read_text() for path in folder.rglob("*.tsv")}
        for folder in (workplace / "unbroken", workplace / "broken")
    ]
    assert files[0] == files[1] != {}


def test_of_several_processes_one_writes(workplace):
    training, _ = begun(workplace, network(), main=False)
    training.log(1, {"score": 1.0})
    training.save()
    assert list(workplace.rglob("*")) == []


def test_an_error_names_the_epoch_and_the_last_good_checkpoint(workplace):
    training, _ = begun(workplace, network())
    assert str(training.error("a loss", 7)) == "a loss, at epoch 7; last good checkpoint: none yet"
    training.save()
    good = training.session.checkpoint.path
    assert str(training.error("a loss", 8)) == f"a loss, at epoch 8; last good checkpoint: {good}"


@pytest.mark.parametrize("tensorboard", [True, False])
def test_a_session_lies_where_its_stage_and_data_set_say(workplace, tensorboard):
    logging = Logging(every_seconds=15, tensorboard=tensorboard)
    session = Session.of(Layout("a"), "simulator/Mine", __file__, [], [1], logging)
    assert session.curves == Path("reports/a/curves/simulator/Mine")
    assert session.checkpoint.path.name.startswith("simulator-a-Mine-")
    assert session.tensorboard == (Path(".tensorboard/simulator@a-Mine") if tensorboard else None)
    other = Session.of(Layout("a"), "simulator/Mine", __file__, [], [2], logging)
    assert other.checkpoint.path != session.checkpoint.path


def test_a_session_of_other_files_from_outside_does_not_go_on(workplace):
    layout, logging = Layout("a"), Logging(every_seconds=15, tensorboard=False)

    def checkpoint(recorded):
        write_json(layout.inputs("finetune"), recorded)
        return Session.of(layout, "finetune", __file__, [], [1], logging).checkpoint.path

    assert checkpoint({"own:Users": "1"}) == checkpoint({"own:Users": "1"}) != checkpoint({"own:Users": "2"})
