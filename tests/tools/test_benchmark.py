"""What `make benchmark` shares with the checkout, and what it brings back."""

import pytest

from prorl import worktrees
from prorl.config.heads import POLICIES
from prorl.files import read_json, write_json
from prorl.layout import KEPT
from prorl.presets import round_trip_yaml
from prorl.worktrees import share_cache
from tests.reports.test_tables import with_search
from tests.reports.written_inputs import SIMULATORS, Written, read_all, write_all, write_guide
from tools import benchmark
from tools.stage_dependencies import ROOT


def test_a_worktree_shares_the_dvc_cache_and_what_was_fitted_and_judged(tmp_path, monkeypatch):
    asked = []

    def dvc(folder, *arguments):
        asked.append((folder, *arguments))
        return "/the/cache\n"

    monkeypatch.setattr(worktrees, "dvc", dvc)
    root, worktree = tmp_path / "root", tmp_path / "root" / ".presets" / "a"
    fitted, judged = KEPT
    (root / judged / "ml-100k").mkdir(parents=True)
    (worktree / fitted / "own").mkdir(parents=True)
    for _ in range(2):
        share_cache(root, worktree)
    assert asked[:2] == [
        (root, "cache", "dir"),
        (worktree, "config", "--local", "cache.dir", "/the/cache"),
    ]
    assert (worktree / judged / "ml-100k").is_dir()
    assert (worktree / judged).is_symlink()
    assert (worktree / fitted / "own").is_dir(), "what it has itself stays"


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """A folder in which the pipeline has run with one guide, as the current one."""
    write_all(tmp_path)
    write_guide(tmp_path, "search")
    found = with_search(read_all(tmp_path))
    for name in ("evaluation", "comparison", "lengths", "validation"):
        write_json(tmp_path / "reports" / f"{name}.json", getattr(found, name))
    times = {"prorl": 2.5, "pretrained": 2.25, "search": 7.125}
    write_json(tmp_path / "reports" / "runtime.json", {"milliseconds per prompt": times})
    yaml = round_trip_yaml()
    params = yaml.load(ROOT / "params.yaml")
    params["guides"], params["simulators"] = ["search"], list(SIMULATORS)
    yaml.dump(params, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "Layout", lambda dataset: Written(dataset, tmp_path))
    return tmp_path


def test_the_ranking_is_brought_back_with_this_machines_times(ran):
    benchmark.bring_back(ran / "back")
    text = (ran / "back" / "ml-100k" / "guides.md").read_text(encoding="utf-8")
    assert "| ms per prompt |" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| search |") and "4,321" in line)
    assert row.endswith("| 7.12 |")
    document = read_json(ran / "back" / "ml-100k" / "guides.json")
    assert set(document) == {*POLICIES, "search"}
    assert set(document["search"]) == set(SIMULATORS)
    assert set(document["search"]["SASRec"]["ioi"]) == {"mean", "low", "high"}


def test_nothing_is_brought_back_from_a_run_that_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "TABLES", tmp_path / "back")
    monkeypatch.setattr(benchmark.preset, "main", lambda arguments: 3)
    assert benchmark.main([]) == 3
    assert not (tmp_path / "back").exists()
