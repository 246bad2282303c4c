"""A mistake in params.yaml ends `dvc repro` with one line that says what is wrong, a status that is not 0,
and no output.
"""

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
