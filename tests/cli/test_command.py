"""Options of several values, help with examples, and completion."""

import pytest

from prorl.cli.app import OF_USE, app
from prorl.cli.command import spread, unwrapped
from prorl.cli.completion import RELEASED
from prorl.layout import Layout
from tests.cli.checkout import POLICY
from tests.experiments.files import write
from tools.command_line import commands
from tools.stage_dependencies import ROOT

REPEATABLE = ["--history", "--avoid"]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["--history", "A", "B"], ["--history", "A", "--history", "B"]),
        (["--history=A", "B"], ["--history=A", "--history", "B"]),
        (
            ["--history", "-30-", "B", "--length", "3", "C"],
            ["--history", "-30-", "--history", "B", "--length", "3", "C"],
        ),
        (["--history", "A", "--avoid", "B", "C"], ["--history", "A", "--avoid", "B", "--avoid", "C"]),
        (["--history", "A", "--", "B", "--avoid"], ["--history", "A", "--", "B", "--avoid"]),
        (["X", "--json"], ["X", "--json"]),
        (["--history"], ["--history"]),
    ],
)
def test_values_get_the_name_of_their_option(given, read):
    assert spread(given, REPEATABLE) == read


def test_paragraphs_of_help_are_for_any_width():
    assert unwrapped("a b\nc\n\nd\ne") == "a b c\n\nd e"


def test_mistakes_of_use_are_told_from_all_others():
    assert OF_USE.__name__ == "UsageError"
    assert not issubclass(OF_USE, ValueError | OSError)


def test_every_command_says_what_it_does_with_an_example():
    found = dict(commands(app))
    assert {"prorl guide", "prorl inspect semantic-ids", "prorl experiments run"} <= found.keys()
    for path, command in found.items():
        assert command.short_help.endswith("."), path
        examples = command.epilog.split("\n\n")
        assert examples[0] == "Examples:"
        assert len(examples) > 1
        assert all(example.startswith(path) for example in examples[1:])
        assert all(parameter.help for parameter in command.params), path
        options = [own for own in command.params if own.param_type_name == "option"]
        assert all(option.metavar for option in options if not option.is_flag), path


def completions(monkeypatch, capsys, *words):
    """What bash is given for the last of `words`."""
    from prorl.cli import main

    monkeypatch.setenv("_PRORL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(("prorl", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0
    return capsys.readouterr().out.split()


@pytest.fixture
def repository(tmp_path, made, monkeypatch):
    """The checkout's models, with settings and an experiment."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "models").symlink_to(made / "models")
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    write(tmp_path, "own")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["gu"], ["guide"]),
        (["guide", "--guide", ""], ["policy", "search"]),
        (["guide", "--target", "Alien", "--guide", "s"], ["search"]),
        (["guide", "--policy", ""], [POLICY]),
        (["guide", "--simulator", ""], ["SASRec"]),
        (["experiments", "run", ""], ["own"]),
        (["experiments", "table", "own", "--format", ""], ["md", "json"]),
        (["experiments", "run", "own", "--dataset", "ml-1m-"], ["ml-1m-gpu", "ml-1m-paper"]),
        (["inspect", "semantic-ids", "x", "--dataset", ""], ["ml-100k"]),
        (["compare", "HEAD", "workspace", "--dataset", "ml"], ["ml-100k"]),
    ],
)
def test_names_are_completed(repository, monkeypatch, capsys, words, found):
    assert completions(monkeypatch, capsys, *words) == found


def test_names_of_judged_guides_are_completed(repository, monkeypatch, capsys):
    reports = repository / "reports/tiny"
    reports.mkdir(parents=True)
    (reports / "evaluation.json").write_text('{"prorl": {}, "search": {}}')
    assert completions(monkeypatch, capsys, "compare", "a", "b", "--guide", "p") == ["prorl"]


def test_nothing_is_completed_where_settings_cannot_be_read(repository, monkeypatch, capsys):
    (repository / "params.yaml").write_text("datasets: [")
    assert completions(monkeypatch, capsys, "inspect", "semantic-ids", "x", "--dataset", "") == []


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete -o default"), ("zsh", "compdef"), ("fish", "complete ")]
)
def test_the_script_that_completes_is_made_for_the_shell(monkeypatch, capsys, shell, word):
    from prorl.cli import main

    monkeypatch.setenv("_PRORL_COMPLETE", f"source_{shell}")
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 0
    script = capsys.readouterr().out
    assert word in script
    assert "_PRORL_COMPLETE=complete_" in script


def test_released_policies_lie_where_the_release_stage_writes_them():
    assert Layout("own").all_released == RELEASED / "own"
