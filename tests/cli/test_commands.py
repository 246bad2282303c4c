"""The command line: help, and mistakes as one line."""

import subprocess
import sys

import pytest

from prorl.cli import main
from prorl.rl.estimators import ESTIMATORS
from tests.experiments.files import write
from tools.stage_dependencies import ROOT


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--help"], "experiments"),
        (["check", "--help"], "mistake"),
        (["datasets", "add", "--help"], "data set"),
        (["experiments", "--help"], "table"),
        ([], "datasets"),
        (["experiments", "run", "--help"], "row"),
    ],
)
def test_help_says_what_there_is(arguments, word, capsys):
    assert main(arguments) == 0
    assert word in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["guid"], "prorl: No such command 'guid'"),
        (["datasets"], "prorl: Missing command; see `prorl datasets --help`"),
        (["init", "own", "--items", "f"], "prorl: Missing option '--interactions'; see `prorl init --help`"),
        (["check", "--fast"], "prorl: No such option: --fast; see `prorl check --help`"),
        (["experiments", "run", "own", "--seeds", "1", "x"], "prorl: Invalid value for '--seeds': "),
    ],
)
def test_a_mistake_in_the_command_line_is_one_line_with_status_2(arguments, line, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A copy of params.yaml where commands run."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    return path


def test_settings_without_mistakes_are_said_to_have_none(settings, capsys):
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "params.yaml: no mistakes\n"


def test_all_mistakes_are_printed_a_line_each(settings, capsys):
    text = settings.read_text(encoding="utf-8")
    changes = {"steps: 120 ": "steps: many ", "simulators: [SASRec,": "simulators: [Caser, SASRec,"}
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    settings.write_text(text, encoding="utf-8")
    assert main(["check"]) == 1
    assert capsys.readouterr().out == (
        "params.yaml: finetune.steps: got 'many' (str), allowed: a whole number\n"
        "params.yaml: simulators[0]: got 'Caser' (str), allowed: SASRec, GRU4Rec, BERT4Rec, LightSANs\n"
    )


def test_a_file_that_cannot_be_read_is_one_line_on_standard_error(settings, capsys):
    settings.write_text("seed: [", encoding="utf-8")
    assert main(["check"]) == 1
    assert capsys.readouterr().err.startswith("prorl: params.yaml: not readable as YAML: ")


def test_a_data_set_is_added_and_what_it_lacks_is_found(settings, capsys):
    assert main(["datasets", "add", "own"]) == 0
    assert capsys.readouterr().out.startswith("params.yaml: own is in `datasets`, with an empty entry in ")
    assert main(["check"]) == 1
    assert capsys.readouterr().out.startswith(
        "params.yaml: fetch.source: got 'own' (str), allowed: ml-100k, "
    )


def test_a_data_set_with_a_name_that_is_not_allowed_is_one_line(settings, capsys):
    assert main(["datasets", "add", "$(ls)"]) == 1
    assert capsys.readouterr().err == (
        "prorl: '$(ls)' in params.yaml: datasets[1]: got '$(ls)', "
        "allowed: letters, digits, - and _, of which the first is a letter or a digit\n"
    )


def test_the_rows_of_experiments_are_checked_too(settings, capsys):
    long = {"seeds": [1], "pretrain_passes": 2, "passes": 3, "set": ["finetune.estimator=none"]}
    rows = {
        "good": {"label": "a"},
        "no_key": {"label": "b", "set": ["finetune.gama=1"]},
        "no_value": {"label": "c", "set": ["finetune.gamma=2"]},
    }
    write(settings.parent, "own", rows=rows, reference="good")
    write(settings.parent, "other", long=long)
    (settings.parent / "experiments" / "third.yaml").write_text("title: a\n", encoding="utf-8")
    assert main(["check"]) == 1
    first, *others = capsys.readouterr().out.splitlines()
    assert first == "params.yaml: no mistakes"
    gamma = "params.yaml has no such key; did you mean 'finetune.gamma'?"
    estimators = f"{', '.join(ESTIMATORS)}, or module:attribute"
    row = "experiments/other.yaml: long, row {}: finetune.estimator: got 'none' (str), allowed: " + estimators
    assert others == [
        row.format("first"),
        row.format("second"),
        f"experiments/own.yaml: row no_key: finetune.gama: {gamma}",
        "experiments/own.yaml: row no_value: finetune.gamma: got 2.0 (float), "
        "allowed: a number above 0 and at most 1",
        "experiments/third.yaml: source: missing",
    ]


def test_rows_without_mistakes_are_said_to_have_none(settings, capsys):
    write(settings.parent)
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "params.yaml: no mistakes\nexperiments/: no mistakes\n"


def test_list_shows_every_experiment_with_its_rows(tmp_path, monkeypatch, capsys):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["experiments", "list"]) == 0
    listed = "own: A title\n    rows: first, second, sampled\n"
    assert capsys.readouterr().out == listed
    write(tmp_path, long={"seeds": [1], "pretrain_passes": 200, "passes": 10, "set": []})
    assert main(["experiments", "list"]) == 0
    long = "    --long: 200 passes of pre-training, 10 of fine-tuning\n"
    assert capsys.readouterr().out == listed + long


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


ALONE = """
import sys

MISSING = {"numpy", "pandas", "transformers", "ruamel", "tqdm", "sklearn", "scipy", "recbole", "fastapi"}


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
from prorl.cli import main

for command in sys.argv[1].split(";"):
    print("status", main(command.split()))
"""


def test_with_few_packages_a_path_is_written_and_the_rest_says_what_it_needs(checkout):
    asked = "guide --history m7 m8 --target Alien"
    commands = [asked, "export", "datasets list", f"{asked} --guide search", "serve"]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, ";".join(commands)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("status")] == [
        *("status 0", "status 1", "status 1", "status 1", "status 1"),
    ], done.stderr
    assert "Target: Alien" in done.stdout
    needed = 'needs the extra "pipeline": pip install "prorl[pipeline]"'
    assert done.stderr.splitlines() == [
        f"acceptance, probability and rank are not shown: judging paths {needed}",
        "prorl: DESTINATION, --hub: got neither, allowed: one of the two",
        f"prorl: this command {needed}",
        f"prorl: searching {needed}",
        'prorl: the service needs the extra "serve": pip install "prorl[serve]"',
    ]
