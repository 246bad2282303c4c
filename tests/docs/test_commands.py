"""Commands, settings, code and links in README.md, CONTRIBUTING.md and docs/ are there; the cheap are run."""

import ast
import importlib.util
import itertools
import re
import runpy
import shutil
from pathlib import Path

import pytest
from dvc.cli import DvcParserError

from prorl.cli.app import OF_USE, main
from prorl.names import every_finding
from prorl.params import lay_over
from prorl.presets import add_data_set, round_trip_yaml
from tests.docs import commands
from tools.stage_dependencies import ROOT

ALL = list(commands.commands())
RUN = ("prorl check", "prorl datasets add steam", "prorl experiments list", "prorl datasets list")
IN_TEXT = re.compile(r"`((?:make|prorl|dvc|python -m) [\w.][^`]*)`")


def test_there_are_commands_on_the_pages_that_teach_them():
    assert {command.where.partition(":")[0] for command in ALL} >= {
        "README.md",
        "CONTRIBUTING.md",
        "docs/tutorial.md",
    }


@pytest.mark.parametrize("command", ALL, ids=str)
def test_what_a_command_names_is_there(command):
    commands.require(command)


@pytest.mark.parametrize(
    "line",
    [
        "make bnech",
        "make repro PRESET=ml-2m",
        "prorl chekc",
        "prorl experiments run --every rewards",
        "dvc repo",
        "dvc repro mined@ml-100k",
        "python -m tools.nothing",
        "python -m tools.parameters --wirte",
        "accelerate launch --num_machine 2 stages/pretrane.py",
        "bnech",
    ],
)
def test_what_is_not_there_is_found(line, capsys):
    [command] = commands.commands_of(line, "here")
    with pytest.raises((AssertionError, SystemExit, DvcParserError, OF_USE)):
        commands.require(command)


def test_commands_of_a_line():
    line = "A=1 nohup make x > y.log && prorl check # why\n"
    assert [(c.words, c.variables) for c in commands.commands_of(line, "here")] == [
        (("make", "x"), ("A=1", "nohup")),
        (("prorl", "check"), ()),
    ]


def in_text():
    """Commands in the running text; what follows two dots is left out."""
    for page in commands.PAGES:
        for found in IN_TEXT.findall(page.read_text(encoding="utf-8")):
            yield page.relative_to(ROOT), found


@pytest.mark.parametrize(("page", "text"), list(dict.fromkeys(in_text())))
def test_what_a_command_in_the_text_names_is_there(page, text):
    words = text.split()
    if words[0] == "make":
        commands.make(list(itertools.takewhile(lambda word: "=" not in word, words[1:])))
    elif words[0] == "prorl":
        found = commands.prorl_commands()
        for word in words[1:]:
            if not getattr(found, "commands", None):
                break
            assert word in found.commands, f"{page}: {text}"
            found = found.commands[word]
    elif words[0] == "dvc":
        assert words[1] in commands.dvc_parser().format_help(), f"{page}: {text}"
    else:
        assert importlib.util.find_spec(words[2]), f"{page}: {text}"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with what commands of settings read."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for folder in ("experiments", "presets"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", RUN)
def test_cheap_commands_run(line, checkout, capsys):
    assert any(" ".join(command.words) == line for command in ALL), "it is on no page any more"
    assert main(line.split()[1:]) == 0


def test_the_tutorial_begins_as_it_says(checkout, capsys):
    page = ROOT / "docs/tutorial.md"
    [(_, script)] = commands.blocks(page, "python")
    (checkout / "made_up.py").write_text(script, encoding="utf-8")
    runpy.run_path("made_up.py")
    [start] = [
        command
        for command in ALL
        if command.where.startswith("docs/tutorial") and command.words[:2] == ("prorl", "init")
    ]
    assert main(list(start.words[1:])) == 0
    printed = capsys.readouterr().out
    [told] = [text for _, text in commands.blocks(page, "text") if text.startswith("ratings.csv")]
    assert printed == told
    params = round_trip_yaml().load(checkout / "params.yaml")
    for _, text in commands.blocks(page, "yaml"):
        lay_over(params, round_trip_yaml().load(text))
    assert every_finding(params, "params.yaml") == []


def settings():
    """Every block of settings, with the data sets that it names."""
    for page in commands.PAGES:
        for line, text in commands.blocks(page, "yaml"):
            yield pytest.param(text, id=f"{page.name}:{line}")


@pytest.mark.parametrize("text", list(settings()))
def test_settings_of_an_example_are_allowed(text, checkout):
    for dataset in ("ml-1m", "films"):
        if f"{dataset}:" in text:
            add_data_set(checkout / "params.yaml", dataset)
    params = round_trip_yaml().load(checkout / "params.yaml")
    if "films:" in text:
        params["fetch"]["films"] = {"source": "tabular", "files": {"interactions": "a.csv", "items": "b.csv"}}
    lay_over(params, round_trip_yaml().load(text))
    assert every_finding(params, "params.yaml") == []


def code():
    """Every block of Python."""
    for page in commands.PAGES:
        for line, text in commands.blocks(page, "python"):
            yield pytest.param(text, id=f"{page.name}:{line}")


@pytest.mark.parametrize("text", list(code()))
def test_what_an_example_imports_is_there(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("prorl"):
            spec = importlib.util.find_spec(node.module)
            assert spec, node.module
            defined = names_of(ast.parse(Path(str(spec.origin)).read_text(encoding="utf-8")))
            assert {alias.name for alias in node.names} <= defined, node.module


def names_of(tree: ast.Module) -> set[str]:
    """What a module defines or imports at its top."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def links():
    """Every link of a page to a file."""
    for page in commands.PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:", link):
                yield page, link


@pytest.mark.parametrize(
    ("page", "link"), [pytest.param(*each, id=f"{each[0].name}-{each[1]}") for each in links()]
)
def test_links_lead_somewhere(page, link):
    path, _, anchor = link.partition("#")
    file = (page.parent / path).resolve() if path else page
    assert file.exists()
    if anchor:
        assert anchor in anchors(file.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """The anchors that the headings of a page have on GitHub."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
