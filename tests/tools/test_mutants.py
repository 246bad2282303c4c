"""Mutants of a small tree, and the list of equivalent ones of this tree."""

import re
import subprocess
import sys

import pytest

from tools.mutants import EQUIVALENT, HEAD, is_meant, known_equivalents, main, with_rows
from tools.mutation import mutants_of
from tools.stage_dependencies import ROOT

MODULE = '''"""A module."""


def larger(a, b):
    return a if a > b else b


def total(values):
    found = 0
    while values:
        found += values.pop()
    return found


def never(a):
    return a + 1
'''
TESTS = '''"""Tests."""

from prorl.room.module import larger, total


def test_larger():
    assert larger(1, 2) == larger(2, 1) == 2


def test_total():
    assert total([1, 2]) == 3
'''


@pytest.fixture
def tree(tmp_path):
    for path, text in {
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\n",
        "prorl/__init__.py": "",
        "prorl/room/__init__.py": "",
        "prorl/room/module.py": MODULE,
        "tests/room/test_module.py": TESTS,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def tried(tree, *options):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "tools.mutants",
            "--root",
            str(tree),
            "--modules",
            "prorl/room/*.py",
            *options,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_survivors_are_named_until_they_are_listed_as_equivalent(tree, capsys):
    page = tree / "page.md"
    page.write_text(f"Before.\n\n{HEAD}\n|---|---:|---:|---:|---:|---:|\n\nBehind.\n")
    run = tried(tree, "--jobs", "2", "--score", str(page))
    assert run.returncode == 1, run.stderr
    survivors = re.findall(r"^(\S+:\d+)\n +(.*)\n +(.*)\n +survives (\d) tests", run.stdout, re.MULTILINE)
    assert survivors == [
        ("prorl/room/module.py:5", "return a if a > b else b", "return a if a >= b else b", "1"),
        ("prorl/room/module.py:16", "return a + 1", "return a - 1", "0"),
        ("prorl/room/module.py:16", "return a + 1", "return a + 2", "0"),
    ]
    # Killed: where the sum starts, its sign, and whether anything is added.
    row = "| `prorl/room/module.py` | 6 | 6 | 3 | 0 | 3 |\n| all | 6 | 6 | 3 | 0 | 3 |"
    assert page.read_text() == f"Before.\n\n{HEAD}\n|---|---:|---:|---:|---:|---:|\n{row}\n\nBehind.\n"
    assert (tree / "prorl/room/module.py").read_text() == MODULE

    entry = '[[equivalent]]\nmodule = "prorl/room/module.py"\nreason = "None."\nline = "{}"\n'
    (tree / EQUIVALENT).parent.mkdir()
    listed = entry.format("return a + 1") + entry.format("return a if a > b else b")
    (tree / EQUIVALENT).write_text(listed)
    run = tried(tree)
    assert (run.returncode, run.stdout.splitlines()[-2]) == (
        0,
        "| `prorl/room/module.py` | 6 | 3 | 3 | 3 | 0 |",
    )

    (tree / EQUIVALENT).write_text(listed + entry.format("return a * 1"))
    options = ["--root", str(tree), "--modules", "prorl/room/*.py", "--sample", "0"]
    assert main(options) == 1
    assert "no mutant is as described: return a * 1" in capsys.readouterr().out


def test_a_sample_is_that_of_its_seed(tree, capsys):
    names = []
    for seed in ("1", "1", "2"):
        options = [
            "--root",
            str(tree),
            "--modules",
            "prorl/room/*.py",
            "--list",
            "--sample",
            "3",
            "--seed",
            seed,
        ]
        assert main(options) == 0
        names.append(capsys.readouterr().out)
    assert names[0].count("module.py") == 3
    assert names[0] == names[1] != names[2]


def test_tests_that_fail_without_any_change_are_an_error(tree):
    (tree / "tests/room/test_other.py").write_text("def test_other():\n    assert False\n")
    run = tried(tree)
    assert run.returncode == 1
    assert "tests/room: the tests fail without any change" in run.stderr
    assert "test_other" in run.stderr


def test_rows_of_other_modules_stay():
    page = with_rows(f"{HEAD}\n", {"prorl/a.py": (9, 4, 3, 0, 1), "prorl/b.py": (5, 5, 5, 0, 0)})
    page = with_rows(page, {"prorl/a.py": (9, 9, 9, 0, 0)})
    rows = page.splitlines()[2:]
    assert rows == [
        "| `prorl/a.py` | 9 | 9 | 9 | 0 | 0 |",
        "| `prorl/b.py` | 5 | 5 | 5 | 0 | 0 |",
        "| all | 14 | 14 | 14 | 0 | 0 |",
    ]


def test_every_entry_of_the_equivalent_mutants_is_of_a_mutant():
    entries = known_equivalents(ROOT)
    assert entries
    found = {e["module"]: mutants_of(e["module"], (ROOT / e["module"]).read_bytes()) for e in entries}
    assert [e for e in entries if not any(is_meant(m, e) for m in found[e["module"]])] == []
    assert all(entry["reason"] for entry in entries)
