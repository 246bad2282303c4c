"""The order of the rooms, and dvc.yaml against the code: the modules and params each stage depends on."""

import ast

import pytest

from prorl.config.sections import SECTIONS
from tests.stage_dependencies import (
    DVC_FILE,
    ROOT,
    imported_names,
    is_module,
    modules_of,
    params_of,
    round_trip_yaml,
    settings_read,
)

FLOORS = [
    *(
        "config",
        "params",
        "registries",
        "layout",
        "files",
        "presets",
        "worktrees",
        "tables",
        "runtime",
        "training",
    ),
    *("datasets", "paths", "items", "semantic_ids", "prompts", "simulators", "metrics", "guide"),
    *("t5", "policy", "guides", "rl", "evaluation", "reports", "experiments", "cli"),
]
MODULES = sorted((ROOT / "prorl").rglob("*.py"))
SCRIPTS = sorted((ROOT / "stages").glob("*.py"))
STAGES = round_trip_yaml().load(DVC_FILE)["stages"]


def name_of(path):
    return str(path.relative_to(ROOT))


def floor(module: str) -> int:
    """The place in `FLOORS` of `prorl.<room>...`."""
    return FLOORS.index(module.split(".")[1])


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_import_from_their_own_floor_and_those_above_it(path):
    room = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if room == "prorl.__init__":
        assert imported_names(path) == set()
        return
    assert {name for name in imported_names(path) if name != "prorl" and floor(name) > floor(room)} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_library_never_imports_stages_and_never_reads_the_data_sets_overrides_itself(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.split(".")[0] == "stages" for name in imported)
    if path.name not in (
        "params.py",
        "cli.py",
    ):  # stages read sections, so that their params can be read from the scripts
        assert "params.section" not in path.read_text(encoding="utf-8")


def test_every_script_is_the_script_of_one_stage_with_its_name():
    assert {name: stage["deps"][0] for name, stage in STAGES.items()} == {
        path.stem: f"stages/{path.name}" for path in SCRIPTS
    }
    for name, stage in STAGES.items():
        assert f" stages/{name}.py " in stage["cmd"]
        assert stage["matrix"]["dataset"] == "${datasets}"


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_exactly_the_modules_its_script_imports(name):
    modules = [dep for dep in STAGES[name]["deps"] if is_module(dep)]
    assert modules == modules_of(ROOT / STAGES[name]["deps"][0]), (
        "run `python -m tests.stage_dependencies --write`"
    )


def test_a_template_is_a_dependency_of_the_stages_that_import_the_package_it_lies_in():
    for template in (ROOT / "prorl").rglob("*.jinja"):
        package = name_of(template.parent / "__init__.py")
        readers = {name for name, stage in STAGES.items() if package in stage["deps"]}
        assert readers == {name for name, stage in STAGES.items() if name_of(template) in stage["deps"]}


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_exactly_the_params_its_script_reads(name):
    script = ROOT / STAGES[name]["deps"][0]
    expected = params_of(script, list(STAGES[name]["matrix"]))
    assert STAGES[name].get("params", []) == expected, "run `python -m tests.stage_dependencies --write`"


@pytest.mark.parametrize("name", STAGES)
def test_stage_reads_its_own_section_and_depends_on_no_other_data_sets_entry(name):
    _, sections = settings_read(ROOT / STAGES[name]["deps"][0])
    assert name in sections
    of_data_sets = [section for section in sections if SECTIONS[section].per_data_set]
    assert not any(param in of_data_sets for param in STAGES[name]["params"]), (
        "a section as a whole holds all data sets' entries"
    )
    assert not any(param.startswith("logging") for param in STAGES[name]["params"])


def test_pretraining_and_finetuning_do_not_read_the_test_split():
    for name in ("simulator", "pretrain", "finetune"):
        assert not any(
            "test.parquet" in dep or dep.rstrip("/").endswith("instances/${item.dataset}")
            for dep in STAGES[name]["deps"]
        )
    readers = [name for name, stage in STAGES.items() if any("test.parquet" in dep for dep in stage["deps"])]
    assert readers == ["evaluate"]


@pytest.mark.parametrize("name", STAGES)
def test_metrics_and_pages_belong_to_git_and_everything_else_to_dvc(name):
    for kind in ("outs", "metrics", "plots"):
        for out in STAGES[name].get(kind, []):
            path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            in_git = options.get("cache") is False
            assert in_git == path.startswith("reports/"), path
            assert not path.endswith("runtime.json"), "time, host and memory are no output"
