"""Workflow, hooks, citation, DVC's artifacts, the README's picture, against the project."""

import re
import shlex
import tomllib

import pytest
import yaml

from prorl import tables
from prorl.metrics.registry import METRICS
from tools.stage_dependencies import DVC_FILE, ROOT

STAGES = yaml.safe_load(DVC_FILE.read_text(encoding="utf-8"))["stages"]
OPTIONAL = {"similarity", "language_model", "profiles"}


def read(path: str):
    """The YAML of a file of the repository."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def project() -> dict:
    """What pyproject.toml says of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_workflow_runs_what_ci_runs_under_every_python_that_is_allowed():
    workflow = read(".github/workflows/ci.yml")
    assert workflow.keys() == {"name", True, "permissions", "concurrency", "jobs"}  # `on` is true in YAML
    [job] = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert project()["requires-python"] == ">=3.11,<3.13"
    assert job["steps"][-1]["run"] == ".ci/run"
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def test_hooks_are_programs_of_the_environment_so_that_nothing_is_fetched():
    [repo] = read(".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    for hook in repo["hooks"]:
        assert hook["language"] == "system"
        program, *rest = shlex.split(hook["entry"])
        assert program in (".venv/bin/ruff", ".venv/bin/python")
        if program.endswith("python"):
            assert rest[0] == "-m"
            assert (ROOT / f"{rest[1].replace('.', '/')}.py").is_file()
            assert rest[2:] == ["--write"]
            assert not hook["pass_filenames"]
        assert re.compile(hook.get("files", ""))


def test_the_citation_is_of_this_software_and_names_the_paper():
    citation, about = read("CITATION.cff"), project()
    assert citation["cff-version"] == "1.2.0"
    assert (citation["type"], citation["version"], citation["license"]) == (
        "software",
        about["version"],
        about["license"],
    )
    for work in (citation, *citation["references"]):
        assert work["title"]
        assert all(
            "name" in author or {"given-names", "family-names"} == set(author) for author in work["authors"]
        )
    [paper] = citation["references"]
    assert paper["url"] == "https://arxiv.org/abs/2605.28293"


def test_the_changelog_names_the_version():
    assert f"## Unreleased ({project()['version']})" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_artifacts_are_models_that_stages_write():
    artifacts = read("dvc.yaml")["artifacts"]
    outs = {
        out if isinstance(out, str) else next(iter(out))
        for stage in STAGES.values()
        for out in stage.get("outs", [])
    }
    written = {
        re.sub(r"\$\{item\.(?!dataset)\w+\}", "*", out.replace("${item.dataset}", "${datasets[0]}"))
        for out in outs
    }
    for name, artifact in artifacts.items():
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
        assert artifact.keys() == {"path", "type", "desc", "labels"}
        assert artifact["type"] == "model"
        folder, *_ = artifact["path"].rpartition("/")
        assert {artifact["path"], folder, f"{folder}/*"} & written, artifact["path"]
    assert {"prorl", "released", "pretrained", "sasrec", "gru4rec"} == artifacts.keys()


def test_the_readmes_picture_shows_every_stage_that_is_not_optional():
    [picture] = re.findall(
        r"^```mermaid\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S
    )
    assert set(re.findall(r"\w+", picture)) - {"flowchart", "LR"} == STAGES.keys() - OPTIONAL


def test_every_stage_is_told_in_the_map_of_the_house():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("## How a run flows")[2]
    rows = re.findall(r"^\| (`[^|]*`) \|", text, flags=re.MULTILINE)
    assert set(re.findall(r"\w+", " ".join(rows))) >= STAGES.keys()


def test_every_metric_has_a_line():
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    for name, metric in METRICS.items():
        [row] = re.findall(rf"^\| `{name}` \|(.*)\|$", text, flags=re.MULTILINE)
        _, better, simulated = (cell.strip() for cell in row.split("|"))
        assert better == (metric.better or ""), name
        assert bool(simulated) == metric.simulated, name


def test_every_curve_of_the_default_run_has_a_line():
    told = set(
        re.findall(r"`((?:train|validation)/[\w@]+)`", (ROOT / "docs/metrics.md").read_text(encoding="utf-8"))
    )
    curves = (ROOT / "reports/ml-100k/curves").rglob("plots/metrics/*/*.tsv")
    assert {f"{path.parent.name}/{path.stem}" for path in curves} <= told


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        ("items.parquet", tables.ITEMS),
        ("interactions.parquet", tables.INTERACTIONS),
        ("splits.parquet", tables.USER_SPLITS),
        ("similarity.parquet", tables.VERDICTS),
        ("train.parquet", tables.INSTANCES),
        ("semantic_ids.parquet", tables.SEMANTIC_IDS),
    ],
)
def test_columns_of_tables_are_told(file, schema):
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    [row] = re.findall(rf"^\| `data/[^|]*/{file}`[^|]*\|(.*)\|$", text, flags=re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == schema.names
