"""A preset runs the real pipeline in a worktree of its own and leaves the checkout as it is."""

import pytest

from prorl.presets import round_trip_yaml
from tests.pipeline.clones import TINY, Clone, clone_of_working_tree, stages_run

# Those with entries per data set.
SECTIONS = [*(name for name, value in TINY.items() if isinstance(value, dict)), "fetch", "mine"]


@pytest.fixture
def checkout(tmp_path) -> Clone:
    """A clone in which nothing has run, with a preset for the first stages."""
    clone = clone_of_working_tree(tmp_path / "checkout")
    own = {"datasets": ["own"], **{section: {"own": {}} for section in SECTIONS}}
    own["fetch"]["own"] = {"source": "ml-100k"}
    own["prepare"] |= {"min_user_interactions": 150}
    round_trip_yaml().dump(own, clone.root / "presets" / "own.yaml")
    return clone


def run_preset(checkout, *arguments):
    """What the stages of preset `own` print; the names of those that ran, but the one that always does."""
    printed = checkout.run("python", "tools/preset.py", "own", *arguments).stdout
    return printed, [name for name in stages_run(printed) if name != "inputs@own"]


def contents(checkout):
    """The bytes of every file of the checkout; the site's cache of DVC is only here inside it."""
    elsewhere = (".git/", ".presets/", ".dvc/tmp/site/")
    return {
        name: path.read_bytes()
        for name, path in checkout.files(".").items()
        if not name.startswith(elsewhere)
    }


def test_a_preset_runs_in_its_worktree_and_the_checkout_stays_as_it_is(checkout):
    before = contents(checkout)
    printed, ran = run_preset(checkout, "prepare@own")
    assert "preset own: in .presets/own" in printed
    assert ran == ["fetch@own", "prepare@own"]
    worktree = Clone(checkout.root / ".presets" / "own")
    assert worktree.read("reports/own/prepare.json")["kept"]["users"] < 300
    assert (worktree.root / "data/prepared/own/items.parquet").exists()
    assert contents(checkout) == before
    assert checkout.run("git", "status", "--porcelain").stdout == "?? presets/own.yaml\n"

    assert run_preset(checkout, "prepare@own")[1] == [], "nothing has changed"
    script = checkout.root / "stages/prepare.py"
    with open(script, "a", encoding="utf-8") as stream:
        stream.write("    import pathlib\n\n    import prorl\n\n")
        stream.write("    pathlib.Path('imported').write_text(prorl.__file__)\n")
    refused = checkout.run("python", "tools/preset.py", "own", check=False)
    assert refused.returncode != 0
    assert refused.stderr == (
        "preset: uncommitted changes in stages/prepare.py; what runs is the last commit: commit them first\n"
    )
    checkout.run("git", "commit", "--quiet", "--all", "--message", "Another script")
    assert run_preset(checkout, "prepare@own")[1] == ["prepare@own"], "what was fetched is still there"
    assert (worktree.root / "imported").read_text() == str(worktree.root / "prorl" / "__init__.py")
    assert not (checkout.root / "data").exists(), "the checkout's own pipeline is its own"


def test_an_unknown_preset_is_one_line_and_makes_no_worktree(checkout):
    failed = checkout.run("python", "tools/preset.py", "ml-10m", check=False)
    assert failed.returncode != 0
    assert (
        failed.stderr == "preset: no preset 'ml-10m'; there are: "
        "amazon-books-paper, amazon-books, benchmark, ml-100k-gpu, ml-1m-gpu, ml-1m-paper, ml-1m, own, "
        "released, steam-paper, steam\n"
    )
    assert not (checkout.root / ".presets").exists()


def test_a_preset_with_the_shared_cache_starts_from_what_has_run_in_the_checkout(checkout):
    round_trip_yaml().dump({"datasets": ["ml-100k"]}, checkout.root / "presets" / "same.yaml")
    assert stages_run(checkout.dvc("repro", "fetch@ml-100k")) == ["inputs@ml-100k", "fetch@ml-100k"]
    printed = checkout.run("python", "tools/preset.py", "--shared", "same", "fetch@ml-100k").stdout
    assert stages_run(printed) == ["inputs@ml-100k"]
    worktree = checkout.root / ".presets" / "same"
    assert (worktree / "data/raw/ml-100k").is_dir()
    assert (worktree / ".cache/judged").resolve() == (checkout.root / ".cache/judged").resolve()
