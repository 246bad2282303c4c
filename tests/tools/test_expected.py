"""What a run is expected to take: which stages wait, how long they took, and how fast this machine is."""

import hashlib
import os
import time

import pytest
from ruamel.yaml import YAML

from prorl.files import read_json, write_json
from tools import expected as module
from tools.expected import (
    RECORDED,
    Expected,
    duration,
    expected,
    keep_speed,
    main,
    records,
    round_seconds,
    stages_of,
    waiting,
)
from tools.stage_dependencies import DVC_FILE, ROOT

PARAMS = {"datasets": ["own"], "kinds": ["x", "y"], "train": {"rate": 0.5, "own": {}}}
DOCUMENT = {
    "stages": {
        "check": {
            "matrix": {"dataset": "${datasets}"},
            "cmd": "python check.py '${item.dataset}'",
            "always_changed": True,
            "deps": ["check.py"],
            "outs": [{"reports/${item.dataset}/check.json": {"cache": False}}],
        },
        "read": {
            "matrix": {"dataset": "${datasets}"},
            "cmd": "python read.py '${item.dataset}'",
            "deps": ["read.py", "reports/${item.dataset}/check.json"],
            "outs": ["data/${item.dataset}/raw"],
        },
        "train": {
            "matrix": {"dataset": "${datasets}", "kind": "${kinds}"},
            "cmd": "python train.py '${item.dataset}' '${item.kind}'",
            "deps": ["train.py", "data/${item.dataset}/raw/rows"],
            "params": ["train.rate", "train.${item.dataset}"],
            "outs": ["models/${item.dataset}/${item.kind}"],
        },
        "judge": {
            "matrix": {"dataset": "${datasets}"},
            "cmd": "python judge.py '${item.dataset}'",
            "deps": ["judge.py", "models/${item.dataset}"],
            "metrics": [{"reports/${item.dataset}/judged.json": {"cache": False}}],
        },
    }
}
LABELS = ["check@own", "read@own", "train@own-x", "train@own-y", "judge@own"]


@pytest.fixture
def root(tmp_path):
    """A repository in which all stages have run, with the dvc.lock of that."""
    for name in ("check", "read", "train", "judge"):
        (tmp_path / f"{name}.py").write_text(name, encoding="utf-8")
    for folder in ("data/own/raw", "models/own/x", "models/own/y", "reports/own"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("data/own/raw/rows", "reports/own/check.json", "reports/own/judged.json"):
        (tmp_path / file).write_text(file, encoding="utf-8")
    lock = {}
    for label, stage in stages_of(DOCUMENT, PARAMS).items():
        deps = [
            {"path": dep, "md5": hashlib.md5((tmp_path / dep).read_bytes()).hexdigest()}
            if (tmp_path / dep).is_file()
            else {"path": dep, "md5": "0123.dir"}
            for dep in stage.deps
        ]
        told = {"params.yaml": {"train.rate": 0.5, "train.own": {}}} if label.startswith("train") else {}
        lock[label] = {"cmd": stage.command, "deps": deps, "params": told}
    for name, content in (("dvc.yaml", DOCUMENT), ("params.yaml", PARAMS), ("dvc.lock", {"stages": lock})):
        YAML().dump(content, tmp_path / name)
    return tmp_path


def waiting_in(root, params=PARAMS):
    lock = YAML(typ="safe").load(root / "dvc.lock")["stages"]
    return waiting(root, stages_of(DOCUMENT, params), lock, params)


def test_stages_are_those_of_every_combination_with_the_names_filled_in():
    stages = stages_of(DOCUMENT, PARAMS)
    assert list(stages) == LABELS
    assert stages["train@own-y"].outs == ("models/own/y",)
    assert stages["train@own-y"].params == ("train.rate", "train.own")
    assert stages["train@own-y"].command == "python train.py 'own' 'y'"
    assert [label for label, stage in stages.items() if stage.always] == ["check@own"]


def test_the_projects_own_stages_are_read_as_dvc_names_them():
    yaml = YAML(typ="safe")
    params = yaml.load(ROOT / "params.yaml")
    stages = stages_of(yaml.load(DVC_FILE), params)
    guides = [f"guide@ml-100k-{name}" for name in params["guides"]]
    assert {"inputs@ml-100k", "simulator@ml-100k-SASRec", "pretrain@ml-100k", *guides} <= stages.keys()
    assert f"models/simulators/ml-100k/{params['pretrain']['simulator']}" in stages["pretrain@ml-100k"].deps
    assert not [name for stage in stages.values() for name in (*stage.deps, *stage.outs) if "$" in name]


def test_where_nothing_has_changed_nothing_waits(root):
    assert waiting_in(root) == []


def test_a_change_of_code_makes_the_stage_and_all_that_come_after_it_wait(root):
    (root / "judge.py").write_text("another", encoding="utf-8")
    assert waiting_in(root) == ["judge@own"]
    (root / "train.py").write_text("another", encoding="utf-8")
    assert waiting_in(root) == ["train@own-x", "train@own-y", "judge@own"]
    (root / "read.py").unlink()
    assert waiting_in(root) == LABELS[1:]


def test_what_is_gone_is_made_again(root):
    (root / "models/own/y").rmdir()
    assert waiting_in(root) == ["train@own-y", "judge@own"]


def test_a_setting_and_another_axis_count_for_their_stages_alone(root):
    assert waiting_in(root, PARAMS | {"train": {"rate": 0.6, "own": {}}}) == LABELS[2:]
    assert waiting_in(root, PARAMS | {"train": {"rate": 0.5, "own": {"rate": 1}}}) == LABELS[2:]
    assert waiting_in(root, PARAMS | {"kinds": ["x", "y", "z"]}) == ["train@own-z", "judge@own"]


def test_seconds_are_those_on_record_by_the_speed_of_this_machine():
    kept = {
        "train@own-x": {"seconds": 100.0, "cpus": 2, "round_seconds": 0.02},
        "read@own": {"seconds": 8.0},
        "judge@own": {"seconds": 30.0, "round_seconds": 0.06},
    }
    found = Expected.of(["read@own", "train@own-x", "train@own-y", "judge@own"], kept, 0.03)
    assert found.seconds == {
        "read@own": 8.0,
        "train@own-x": pytest.approx(150.0),
        "train@own-y": None,
        "judge@own": pytest.approx(15.0),
    }
    assert found.speed == pytest.approx(2 / 3)
    assert found.lines == [
        "expected: about 3 min: train 2 min, judge 15 s, read 8 s",
        "expected: by the last run on record, on 2 CPUs; "
        f"one of the {os.cpu_count()} here is 0.67 times as fast",
        "expected: no time is on record of train@own-y",
    ]


def test_without_records_this_is_said_and_without_changes_too():
    assert Expected.of(["read@own"], {}, 0.03).lines == ["expected: no time is on record of read@own"]
    assert Expected.of([], {"read@own": {"seconds": 8.0}}, None).lines == ["expected: no stage has changed"]
    unknown = Expected.of(["read@own"], {"read@own": {"seconds": 8.0}}, 0.03)
    assert unknown.speed is None
    assert unknown.lines[1].endswith("here is taken to be as fast")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "under 1 s"), (8.4, "8 s"), (89, "89 s"), (150, "2 min"), (5000, "83 min"), (9000, "2.5 h")],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words


def test_the_last_run_here_holds_before_the_committed_record(root):
    (root / RECORDED).parent.mkdir(parents=True)
    write_json(root / RECORDED, {"read@own": {"seconds": 1.0}, "judge@own": {"seconds": 2.0}})
    write_json(
        root / "reports/own/runtime.json", {"read@own": {"seconds": 3.0}, "milliseconds per prompt": {"x": 1}}
    )
    assert records(root, ["own", "other"]) == {"read@own": {"seconds": 3.0}, "judge@own": {"seconds": 2.0}}


def test_the_speed_is_kept_beside_what_has_run_since(root):
    path, before = root / "reports/own/runtime.json", {"read@own": {"seconds": 1.0, "cpus": 2}}
    write_json(path, before | {"judge@own": {"seconds": 2.0}, "milliseconds per prompt": {"x": 1}})
    keep_speed(root, before, 0.0123456)
    assert read_json(path) == before | {
        "judge@own": {"seconds": 2.0, "round_seconds": 0.01235},
        "milliseconds per prompt": {"x": 1},
    }


def test_a_record_for_clones_is_written_from_the_last_run(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    monkeypatch.setattr(module, "round_seconds", lambda: 0.5)
    runtime = {
        "read@own": {"seconds": 3.0, "cpus": 4, "host": "secret"},
        "judge@own": {"seconds": 2.0, "cpus": 4, "round_seconds": 0.25},
    }
    write_json(root / "reports/own/runtime.json", runtime)
    (root / RECORDED).parent.mkdir(parents=True)
    assert main(["--record"]) == 0
    assert read_json(root / RECORDED) == {
        "judge@own": {"seconds": 2.0, "cpus": 4, "round_seconds": 0.25},
        "read@own": {"seconds": 3.0, "cpus": 4, "round_seconds": 0.5},
    }
    (root / "judge.py").write_text("another", encoding="utf-8")
    capsys.readouterr()
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("expected: about 4 s: judge 4 s\n")
    assert main(["x"]) == 2


def test_a_round_takes_time_and_what_waits_is_found_in_a_moment():
    assert 0 < round_seconds() < 5
    started = time.process_time()
    yaml = YAML(typ="safe")
    params = yaml.load(ROOT / "params.yaml")
    lock = yaml.load(ROOT / "dvc.lock")["stages"]
    waiting(ROOT, stages_of(yaml.load(DVC_FILE), params), lock, params)
    assert time.process_time() - started < 2


def test_nothing_is_measured_where_nothing_waits(root, monkeypatch):
    monkeypatch.setattr(module, "round_seconds", lambda: pytest.fail("measured"))
    assert expected(root) == (Expected({}), None)
