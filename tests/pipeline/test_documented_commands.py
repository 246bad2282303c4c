"""Commands of README and docs that need a repository in which the pipeline has run."""

import pytest

from tests.docs.commands import blocks, commands
from tools.stage_dependencies import ROOT

RUN = (
    "dvc repro mine@ml-100k",
    "dvc params diff HEAD~1",
    "dvc metrics diff HEAD~1",
    "dvc push models/policies/ml-100k/prorl models/simulators/ml-100k/SASRec",
)


@pytest.mark.parametrize("line", RUN)
def test_a_command_does_what_it_says(pipeline, line):
    assert line in {" ".join(command.words) for command in commands()}, "it is on no page any more"
    pipeline.clone.run(*line.split())
    assert pipeline.clone.run("git", "status", "--porcelain").stdout == ""


def test_a_policy_is_got_by_name_and_version(untouched):
    lines = {" ".join(command.words) for command in commands()}
    assert {"gto register prorl", "dvc artifacts get WORD prorl --out policy"} <= lines
    untouched.run("gto", "register", "prorl")
    assert untouched.run("git", "tag").stdout == "prorl@v0.0.1\n"
    untouched.dvc("artifacts", "get", ".", "prorl", "--out", "policy")
    assert {path.name for path in (untouched.root / "policy").iterdir()} >= {
        "prorl.json",
        "model.safetensors",
    }


def test_the_readme_guides_somebody(pipeline):
    [line] = [
        command
        for command in commands()
        if command.where.startswith("README") and command.words[1] == "guide"
    ]
    assert "Alien" in pipeline.clone.run(*line.words).stdout
    [(_, code)] = blocks(ROOT / "README.md", "python")
    printed = pipeline.clone.run("python", "-c", code).stdout
    assert len(printed.splitlines()) == 8
