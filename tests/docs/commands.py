"""The commands in README.md, CONTRIBUTING.md and docs/, and whether programs, commands and options exist."""

import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import typer

from prorl.presets import round_trip_yaml
from tools.stage_dependencies import DVC_FILE, ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]
# Programs that are none of the project's, whose arguments are not looked at.
OTHERS = {"cat", "cd", "echo", "gto", "pip", "pre-commit", "source", "tensorboard"}
SAVED = {"made_up.py"}  # what a page tells to save
DATASETS = {"ml-100k", "ml-1m", "films"}  # of examples


@dataclass(frozen=True)
class Command:
    """One command: where it stands, its words, and variables that are set for it."""

    where: str
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.where} {' '.join(self.words)}"


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """Line and text of every block of `language` on `page`."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start()) + 2, found[1]


def commands() -> Iterator[Command]:
    """Every command of every block of bash, in order."""
    for page in PAGES:
        for first, text in blocks(page, "bash"):
            pending = ""
            for n, line in enumerate(text.splitlines(), start=first):
                pending = f"{pending} {line}" if pending else line
                if is_whole(pending):
                    yield from commands_of(pending.replace("\\ ", ""), f"{page.relative_to(ROOT)}:{n}")
                    pending = ""
            assert not pending, f"{page}: {pending}: it does not end"


def is_whole(line: str) -> bool:
    """Whether a line of bash ends where it seems to: no quote is open, and no backslash goes on."""
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return False
    return not line.endswith("\\")


def commands_of(line: str, where: str) -> Iterator[Command]:
    """The commands of one line of bash; what stands in <> is any word."""
    lexer = shlex.shlex(re.sub(r"<[a-z ]+>", "WORD", line), posix=True, punctuation_chars="&|;>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    parts, rest = [words], list(lexer)
    while rest:
        word = rest.pop(0)
        if word in ("&&", "||", ";", "|", "&"):
            words = []
            parts.append(words)
        elif word == ">":
            rest.pop(0)  # the file that is written
        else:
            words.append(word)
    for part in parts:
        variables = []
        while part and (part[0] == "nohup" or re.match(r"[A-Z_]+=", part[0])):
            variables.append(part.pop(0))
        if part:
            yield Command(where, tuple(part), tuple(variables))


def require(command: Command) -> None:
    """Raises `AssertionError` where what `command` names is not there."""
    program, *rest = command.words
    program = Path(program).name if re.match(r"(\.venv|guide)/bin/", program) else program
    if program in CHECKS:
        CHECKS[program](rest)
    elif program not in OTHERS:
        assert program in SCRIPTS, f"{command}: no such program"
        SCRIPTS[program](rest)


def make(words: list[str]) -> None:
    """Targets and variables of `make`."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", text, flags=re.MULTILINE)[1].split())  # pyright: ignore
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            assert name in targets, f"make {name}: no such target"
            continue
        assert f"$({name})" in text or f"{name} ?=" in text or f"$(if $({name})" in text, f"make: {name}"
        if name == "PRESET":
            assert (ROOT / "presets" / f"{value}.yaml").is_file(), f"make: no preset {value}"


@cache
def prorl_commands():
    """The commands of `prorl`."""
    from prorl.cli.app import app

    return typer.main.get_command(app)


def prorl(words: list[str]) -> None:
    """A command of `prorl`, and its options and arguments."""
    found, rest, name = prorl_commands(), list(words), "prorl"
    while getattr(found, "commands", None) and rest:
        assert rest[0] in found.commands, f"{name} {rest[0]}: no such command"
        name = f"{name} {rest[0]}"
        found = found.commands[rest.pop(0)]
    if "--help" in rest:
        return
    with found.make_context(name, rest):
        pass


@cache
def dvc_parser():
    """The parser of `dvc`."""
    from dvc.cli.parser import get_main_parser

    return get_main_parser()


@cache
def stage_names() -> set[str]:
    """The stages of dvc.yaml."""
    return set(round_trip_yaml().load(DVC_FILE)["stages"])


def dvc(words: list[str]) -> None:
    """A command of `dvc`, its options, and the stages it names."""
    parsed = dvc_parser().parse_args(words)
    if words[0] in ("repro", "commit"):
        for target in parsed.targets or []:
            stage, _, axes = target.partition("@")
            assert stage in stage_names(), f"dvc {words[0]} {target}: no such stage"
            dataset = next((name for name in DATASETS if axes == name or axes.startswith(f"{name}-")), None)
            assert not axes or dataset, f"dvc {words[0]} {target}: no such data set"


def python(words: list[str]) -> None:
    """A module or script that Python runs, and its options."""
    if words[0] == "-m":
        name, rest = words[1], words[2:]
        if name == "venv":
            return
        found = importlib.util.find_spec(name)
        assert found is not None, f"python -m {name}: no such module"
        if found.submodule_search_locations:
            found = importlib.util.find_spec(f"{name}.__main__")
        source = Path(found.origin)  # pyright: ignore
    elif words[0] in SAVED:
        return
    else:
        source, rest = ROOT / words[0], words[1:]
        assert source.is_file(), f"python {words[0]}: no such file"
    text = source.read_text(encoding="utf-8")
    for option in rest:
        if option.startswith("-"):
            assert f'"{option}"' in text, f"python {' '.join(words)}: {option}: no such option"


def accelerate(words: list[str]) -> None:
    """`accelerate launch` with its options and the script it starts."""
    from accelerate.commands.launch import launch_command_parser

    assert words[0] == "launch"
    parsed = launch_command_parser().parse_args(words[1:])
    assert (ROOT / parsed.training_script).is_file(), f"accelerate: {parsed.training_script}: no such file"


def pytest(words: list[str]) -> None:
    """Paths of tests."""
    for word in words:
        assert "/" not in word or (ROOT / word).exists(), f"pytest {word}: no such file"


def git(words: list[str]) -> None:
    """Commands of git that pages use."""
    assert words[0] in {"add", "clone", "commit", "push", "worktree"}, f"git {words[0]}: is it meant?"


def run_gpu(words: list[str]) -> None:
    """Commands of benchmarks/run_gpu.sh."""
    text = (ROOT / "benchmarks/run_gpu.sh").read_text(encoding="utf-8")
    assert f"\n{words[0]}) " in text, f"benchmarks/run_gpu.sh {words[0]}: no such command"


def curl(words: list[str]) -> None:
    """A route of the service, and the JSON that it is sent."""
    from prorl.serving.limits import ROUTES

    [url] = [word for word in words if word.startswith("localhost:")]
    assert f"/{url.partition('/')[2]}" in ROUTES, f"curl {url}: no such route"
    if "-d" in words:
        json.loads(words[words.index("-d") + 1])


CHECKS = {
    "curl": curl,
    "make": make,
    "prorl": prorl,
    "dvc": dvc,
    "python": python,
    "python3": python,
    "accelerate": accelerate,
    "pytest": pytest,
    "git": git,
}
SCRIPTS = {"benchmarks/run_gpu.sh": run_gpu}
