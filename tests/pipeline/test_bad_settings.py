"""A mistake in params.yaml ends `dvc repro` with one line that says what is wrong, a status that is not 0,
and no output.
"""

import os

import pytest

from tests.pipeline.clones import ALWAYS, DATASET

MISTAKES = {
    "wrong type": (
        {"finetune": {"steps": "many"}},
        "finetune.steps: got 'many' (str), allowed: a whole number",
    ),
    "out of range": (
        {"finetune": {"gamma": 2}},
        "finetune.gamma: got 2.0 (float), allowed: a number above 0 and at most 1",
    ),
    "unknown key": ({"mine": {"min_rn": 2}}, "mine.min_rn: unknown key; did you mean 'min_run'?"),
    "unknown source": ({"fetch": {"source": "ml-10m"}}, "'ml-10m'"),
    "nothing left": ({"prepare": {"min_user_interactions": 100000}}, "min_user_interactions"),
}


@pytest.mark.parametrize(("settings", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_leaves_no_output(untouched, settings, message):
    untouched.set(**settings)
    failed = untouched.run("dvc", "repro", f"prepare@{DATASET}", check=False)
    assert failed.returncode != 0
    said = [line for line in failed.stderr.splitlines() if line.startswith(("inputs@", "prepare@"))]
    assert len(said) == 1, failed.stderr
    assert message in said[0]
    assert "Traceback" not in failed.stderr
    assert not untouched.files("data/prepared")
    assert (
        not [path for path in untouched.files("reports") if path.endswith("runtime.json")]
        or "prepare@" in said[0]
    )


def test_all_mistakes_are_told_before_the_first_stage_and_what_was_right_is_not_checked_again(untouched):
    def check():
        return untouched.run("python", "stages/inputs.py", DATASET, check=False)

    right = (untouched.root / "params.yaml").read_bytes()
    assert check().returncode == 0
    checked = untouched.root / ".cache/checked"
    state = checked.read_text(encoding="utf-8")
    checker = untouched.root / "prorl/check.py"
    source, stat = checker.read_text(encoding="utf-8"), checker.stat()
    checker.write_text("!".ljust(len(source.encode()), "#"), encoding="utf-8")
    os.utime(checker, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert check().returncode == 0, "the checker is not imported"
    checker.write_text(source, encoding="utf-8")

    untouched.set(mine={"min_rn": 2}, finetune={"gamma": 2})
    failed = check()
    assert failed.returncode == 1
    assert [line.split(":")[2] for line in failed.stderr.splitlines()] == [" mine.min_rn", " finetune.gamma"]
    assert all(line.startswith(f"{ALWAYS}: params.yaml: ") for line in failed.stderr.splitlines())
    assert checked.read_text(encoding="utf-8") == state
    (untouched.root / "params.yaml").write_bytes(right)
    assert check().returncode == 0
    assert checked.read_text(encoding="utf-8") != state, "the checker was written again"


def test_a_data_set_without_entries_is_named(untouched):
    untouched.set(datasets=[DATASET, "ml-10m"])
    failed = untouched.run("dvc", "repro", f"fetch@{DATASET}", check=False)
    assert failed.returncode != 0
    assert "ml-10m: got None, allowed: a mapping, `{}` where nothing differs" in failed.stderr
    assert not untouched.files("data")


def test_a_failed_stage_leaves_none_of_its_outputs_and_the_others_as_they_were(pipeline):
    clone = pipeline.colleague
    before = set(clone.files("models"))
    with clone.changed():
        clone.set(finetune={"init_from": "models/none"})
        failed = clone.run("dvc", "repro", f"finetune@{DATASET}", check=False)
        left = set(clone.files("models"))
    assert failed.returncode != 0
    assert "models/none" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert left == {path for path in before if not path.startswith(f"models/policies/{DATASET}/prorl")}
    assert clone.repro() == [ALWAYS]
