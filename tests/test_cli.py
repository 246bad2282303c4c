"""The command line: help, and mistakes as one line."""

import subprocess
import sys

import pytest

from prorl.cli import main
from tests.experiments.files import write


@pytest.mark.parametrize(
    "arguments", [["--help"], ["experiments", "--help"], ["experiments", "run", "--help"]]
)
def test_help_says_what_there_is(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    assert "experiment" in capsys.readouterr().out


def test_list_shows_every_experiment_with_its_rows(tmp_path, monkeypatch, capsys):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["experiments", "list"]) == 0
    assert capsys.readouterr().out == "own: A title\n    rows: first, second, sampled\n"


@pytest.mark.parametrize("command", ["run", "table"])
def test_an_unknown_experiment_is_one_line_on_standard_error(command, tmp_path, monkeypatch, capsys):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["experiments", command, "other"]) == 1
    assert capsys.readouterr().err == "prorl: no experiment 'other'; there are: own\n"


def test_elsewhere_than_at_the_root_is_one_line_that_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["experiments", "list"]) == 1
    assert capsys.readouterr().err == "prorl: no folder experiments/; run from the root of the repository\n"


def test_a_reader_that_has_read_enough_is_no_error(tmp_path):
    write(tmp_path)
    command = f"{sys.executable} -m prorl.cli experiments list | true"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
