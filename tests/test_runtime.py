"""A stage's command line, its errors, its seeds and what it records."""

import json
import shutil
import subprocess
import sys

import pytest

from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.runtime import derived_seed, progress, run_stage
from tools.stage_dependencies import ROOT


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty working directory with the project's settings."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_stage_gets_settings_and_arguments_and_its_time_is_recorded_apart_from_its_metrics(
    workplace, monkeypatch
):
    seen = []
    monkeypatch.setattr(sys, "argv", ["stages/simulator.py", "ml-100k", "SASRec"])
    run_stage(
        "simulator",
        lambda params, *arguments: seen.append((params.seed, arguments)),
        ("dataset", "simulator"),
    )
    assert seen == [(2026, ("ml-100k", "SASRec"))]
    runtime = json.loads((workplace / "reports/ml-100k/runtime.json").read_text())
    assert set(runtime["simulator@ml-100k-SASRec"]) == {"seconds", "peak_memory_mib", "host", "cpus"}


def test_only_the_first_of_several_processes_records_its_time(workplace, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(sys, "argv", ["stages/mine.py", "ml-100k"])
    run_stage("mine", lambda params, dataset: None)
    assert not (workplace / "reports").exists()


@pytest.mark.parametrize(
    "error",
    [ConfigError("params.yaml: mine.min_run: missing"), DataError("items.parquet: column 'item' is missing")],
)
def test_a_wrong_setting_or_table_ends_the_stage_with_one_line_and_status_1(workplace, monkeypatch, error):
    def body(params, dataset):
        raise error

    monkeypatch.setattr(sys, "argv", ["stages/mine.py", "ml-100k"])
    with pytest.raises(SystemExit) as end:
        run_stage("mine", body)
    assert end.value.code == f"mine@ml-100k: {error}", (
        "text as an exit code goes to standard error, with status 1"
    )
    assert not (workplace / "reports").exists()


def test_a_fault_of_the_program_keeps_its_traceback(workplace, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages/mine.py", "ml-100k"])
    with pytest.raises(ZeroDivisionError):
        run_stage("mine", lambda params, dataset: 1 / 0)


def test_an_unknown_data_set_and_a_missing_argument_are_refused(workplace, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stages/mine.py", "ml-10m"])
    with pytest.raises(
        SystemExit, match=r"mine@ml-10m: params\.yaml: data set 'ml-10m' is not in `datasets`"
    ):
        run_stage("mine", lambda params, dataset: None)
    monkeypatch.setattr(sys, "argv", ["stages/mine.py"])
    with pytest.raises(SystemExit, match=r"usage: mine\.py <dataset>"):
        run_stage("mine", lambda params, dataset: None)


def test_a_purposes_seed_is_fixed_and_differs_from_every_other_purposes():
    seeds = {
        derived_seed(seed, purpose, step)
        for seed in (1, 2)
        for purpose in ("mine", "embed")
        for step in range(50)
    }
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derived_seed(2026, "mine", "ml-100k") == derived_seed(2026, "mine", "ml-100k")


def test_a_seed_does_not_depend_on_the_process():
    command = "from prorl.runtime import derived_seed; print(derived_seed(7, 'purpose', 3))"
    elsewhere = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert int(elsewhere.stdout) == derived_seed(7, "purpose", 3)


def test_progress_gives_every_step_and_prints_lines_where_there_is_no_terminal(capsys):
    assert list(progress(range(3), description="search", unit="path", every_seconds=1e-9)) == [0, 1, 2]
    lines = capsys.readouterr().err
    assert "search" in lines
    assert "\r" not in lines
