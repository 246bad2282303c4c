"""The benchmarks' harness: what it measures, checks and stores; and every benchmark at its smoke size."""

import runpy
import subprocess
import sys

import pytest
import torch

from benchmarks.__main__ import BENCHMARKS
from benchmarks.harness import (
    RESULTS,
    Case,
    Claim,
    Disagreement,
    Options,
    commit,
    compare,
    measure,
    publish,
)
from tests.tiny_models import fresh_accelerator  # noqa: F401
from tools.stage_dependencies import ROOT

CPU = torch.device("cpu")
QUICK = Options(quick=True, results=None, device=CPU)


def case(ours=lambda: 3, obvious=lambda: 3):
    def check(our, others):
        for name, other in others.items():
            if our != other:
                raise Disagreement(f"{name}: {other}, ours {our}")
        return "equal"

    return Case("three", ours, {"plain": obvious}, check, "items", lambda result: result)


@pytest.fixture
def takes(monkeypatch):
    """A function that gives a version taking some seconds by a clock of its own, with a result."""
    now = [0.0]
    monkeypatch.setattr("benchmarks.harness.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("benchmarks.harness.gc.collect", lambda: 0)  # of all tests before, at every turn

    def version(seconds, result=None):
        def run():
            now[0] += seconds
            return result

        return run

    return version


def test_versions_take_turns_after_each_has_run_once(takes):
    order = []
    versions = {name: lambda name=name: order.append(name) for name in "ab"}
    measured = measure(versions, Options(False, None, CPU))
    assert order[:6] == ["a", "b", "a", "b", "b", "a"]
    assert [len(one.seconds) for one in measured.values()] == [9, 9]
    assert len(order) == 20


def test_slow_versions_are_run_less_often(takes):
    measured = measure({"a": takes(5.0), "b": takes(20.0)}, Options(False, None, CPU))
    assert [one.seconds for one in measured.values()] == [[5.0] * 3, [20.0] * 3]


def test_an_obvious_version_far_behind_another_runs_once(takes):
    versions = {"ours": takes(0.5), "fast": takes(1.0), "near": takes(1.04), "slow": takes(1.1)}
    measured = measure(versions, Options(False, None, CPU), always="ours")
    assert [len(one.seconds) for one in measured.values()] == [6, 6, 6, 1]


def test_ratios_are_per_unit_and_the_aim_stands_beside_the_fastest_obvious_version(takes):
    both = Case(
        "t",
        takes(2.0, 4),
        {"slow": takes(12.0, 4), "fast": takes(8.0, 8)},
        lambda *_: "as told",
        "tokens",
        lambda result: result,
    )
    rows, agreement = compare(both, 10, QUICK)
    assert agreement == "as told"
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    assert [row[:5] + row[6:] for row in cells] == [
        ["t", "**ours**", "2.000 s", "1", "2 tokens", "", ""],
        ["t", "slow", "12.000 s", "1", "0 tokens", "6.0x", ""],
        ["t", "fast", "8.000 s", "1", "1 tokens", "2.0x", ">= 10x"],
    ]


def test_versions_that_disagree_end_the_benchmark():
    assert compare(case(), 1, QUICK)[1] == "equal"
    with pytest.raises(Disagreement, match="plain: 4, ours 3"):
        compare(case(obvious=lambda: 4), 1, QUICK)


ONE_AFTER_ANOTHER = """
import torch
from benchmarks.harness import with_peak_memory

def run():
    for _ in range(3):
        torch.ones(2**24).sum()  # 64 MiB

print(with_peak_memory(run, torch.device("cpu"))[1])
"""


def test_peak_memory_is_that_held_at_once_within_the_run():
    """In a process of its own: one that trained keeps what is freed."""
    command = [sys.executable, "-c", ONE_AFTER_ANOTHER]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert 50 * 2**20 < int(found.stdout) < 150 * 2**20


def test_a_section_is_replaced_and_the_others_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("PRORL_COMMIT", "abc123")
    options = Options(True, tmp_path, CPU)
    for title, line in (("First", "| 1 |"), ("Second", "| 2 |"), ("First", "| 3 |")):
        publish(title, [line], options)
    (page,) = tmp_path.iterdir()
    text = page.read_text()
    assert [line for line in text.splitlines() if line.startswith(("#", "|"))][1:] == [
        "## First",
        "| 3 |",
        "## Second",
        "| 2 |",
    ]
    assert text.count("commit abc123") == 2
    assert "threads; **smoke size" in text


def test_the_aim_is_the_devices_own():
    claim = Claim("x", cpu=3, gpu=8)
    assert [claim.aim(torch.device(name)) for name in ("cpu", "cuda")] == [3, 8]


def test_every_benchmark_is_listed():
    scripts = {
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if "\nif __name__ ==" in path.read_text(encoding="utf-8")
    }
    own_targets = {"__main__", "trainer_parity", "prepare_spark"}  # which `make` runs by themselves
    assert scripts - own_targets == set(BENCHMARKS)


@pytest.mark.parametrize("name", [*BENCHMARKS, "trainer_parity"])
def test_each_runs_at_its_smoke_size_and_its_versions_agree(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--results", str(tmp_path)])
    runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    (page,) = tmp_path.iterdir()
    assert "smoke size" in page.read_text()


def test_a_changed_checkout_is_named_so_but_for_stored_results(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    monkeypatch.delenv("PRORL_COMMIT", raising=False)
    assert commit(tmp_path) == "unknown (no git repository here)"
    results, code = tmp_path / RESULTS / "a.md", tmp_path / "code.py"
    results.parent.mkdir(parents=True)
    for file in (results, code):
        file.write_text("one")
    git("init")
    git("add", ".")
    git("commit", "--message", "all")
    head = git("rev-parse", "--short", "HEAD")
    results.write_text("two")
    assert commit(tmp_path) == head
    code.write_text("two")
    assert commit(tmp_path) == f"{head}-dirty"
    monkeypatch.setenv("PRORL_COMMIT", "abc1234")
    assert commit(tmp_path) == "abc1234"
