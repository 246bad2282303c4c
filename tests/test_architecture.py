"""The order of the rooms, and dvc.yaml against the code: the modules and params each stage depends on."""

import ast
import sys

import pytest

from prorl.code import STATED_ELSEWHERE, imported_names
from prorl.config.sections import SECTIONS
from prorl.presets import round_trip_yaml
from tools.stage_dependencies import DVC_FILE, ROOT, dependencies_of, is_module, settings_read

FLOORS = [
    *("code", "config", "params", "registries", "layout", "errors", "extras", "files", "titles"),
    *("tables", "instances", "runtime", "devices"),
    *("curves", "checkpoint", "training", "optimizers"),
    *("datasets", "paths", "spark", "items", "semantic_ids", "prompts"),
    *("simulators", "metrics", "guide", "t5", "policy", "guides", "rl", "offpolicy", "evaluation", "bundle"),
    "reports",
    *(
        "agreements",
        "check",
        "names",
        "presets",
        "worktrees",
        "starting",
        "experiments",
        "outside",
        "serving",
        "cli",
    ),
]
OPTIONAL = ("similarity", "language_model", "profiles")  # stages that the default run does without
MODULES = sorted((ROOT / "prorl").rglob("*.py"))
SCRIPTS = sorted((ROOT / "stages").glob("*.py"))
STAGES = round_trip_yaml().load(DVC_FILE)["stages"]


def name_of(path):
    return str(path.relative_to(ROOT))


def floor(module: str) -> int:
    """The place in `FLOORS` of `prorl.<room>...`."""
    return FLOORS.index(module.split(".")[1])


def test_no_script_hides_a_module_of_python():
    """The folder of a running script comes first where modules are looked for."""
    assert not {script.stem for script in SCRIPTS} & set(sys.stdlib_module_names)


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
        "check.py",
    ):  # stages read sections, so that their params can be read from the scripts
        assert "params.section" not in path.read_text(encoding="utf-8")


def test_every_script_is_the_script_of_one_stage_with_its_name():
    assert {name: stage["deps"][0] for name, stage in STAGES.items()} == {
        path.stem: f"stages/{path.name}" for path in SCRIPTS
    }
    for name, stage in STAGES.items():
        start = "${launch}" if stage["cmd"].startswith("${launch}") else "python"
        assert stage["cmd"] == " ".join(
            [start, f"stages/{name}.py", *(f"'${{item.{axis}}}'" for axis in stage["matrix"])]
        ), "a name reaches the shell in quotes"
        own = f"${{{name}.datasets}}" if name in OPTIONAL else "${datasets}"
        assert stage["matrix"]["dataset"] == own, "an optional stage is there for the data sets it lists"


@pytest.mark.parametrize("name", STAGES)
def test_stage_depends_on_exactly_the_modules_its_script_imports_and_the_params_it_reads(name):
    modules, params = dependencies_of(STAGES[name])
    found = [dep for dep in STAGES[name]["deps"] if is_module(dep)], STAGES[name].get("params", [])
    assert found == (modules, params), "run `python -m tools.stage_dependencies --write`"


def test_no_stage_depends_on_what_dvc_yaml_states_itself():
    deps = {dep for stage in STAGES.values() for dep in stage["deps"]}
    assert not {dep for dep in deps if dep.startswith(STATED_ELSEWHERE)}
    assert all((ROOT / path).exists() for path in STATED_ELSEWHERE)


def test_a_stage_that_reads_outside_files_alone_depends_on_its_file_of_inputs():
    written = [next(iter(out)) for out in STAGES["inputs"]["outs"]]
    readers = {}
    for path in written:
        readers[path] = [
            name
            for name, stage in STAGES.items()
            for dep in stage["deps"]
            if dep == path or dep.startswith(f"{path}/")
        ]
    folder = "reports/${item.dataset}/inputs"
    of_simulators = ["simulator", "validate"]  # which read what one simulator needs
    assert readers == {f"{folder}/simulator": of_simulators} | {
        f"{folder}/{name}" if name == "guide" else f"{folder}/{name}.json": [name]
        for name in STAGES
        if name not in ("inputs", "similarity", *of_simulators, "gate", "release", "report")
    }
    for name in of_simulators:
        assert f"{folder}/simulator/${{item.simulator}}.json" in STAGES[name]["deps"]
    assert f"{folder}/guide/${{item.guide}}.json" in STAGES["guide"]["deps"]


def test_inputs_always_runs_and_keeps_what_it_reads():
    assert [name for name, stage in STAGES.items() if stage.get("always_changed")] == ["inputs"]
    assert next(iter(STAGES)) == "inputs"
    assert all(next(iter(out.values()))["persist"] for out in STAGES["inputs"]["outs"])


def test_a_template_is_a_dependency_of_the_stages_that_import_the_package_it_lies_in():
    for template in (ROOT / "prorl").rglob("*.jinja"):
        package = name_of(template.parent / "__init__.py")
        readers = {name for name, stage in STAGES.items() if package in stage["deps"]}
        assert readers == {name for name, stage in STAGES.items() if name_of(template) in stage["deps"]}


@pytest.mark.parametrize("name", [name for name in STAGES if name != "inputs"])
def test_stage_reads_its_own_section_and_depends_on_no_other_data_sets_entry(name):
    _, sections = settings_read(ROOT / STAGES[name]["deps"][0])
    assert name in sections
    assert not any(SECTIONS[param].per_data_set for param in STAGES[name]["params"] if param in SECTIONS), (
        "a section as a whole holds all data sets' entries"
    )
    assert not any(param.startswith("logging") for param in STAGES[name]["params"])


def test_what_is_trained_does_not_read_the_test_split():
    for name in ("simulator", "pretrain", "finetune", "guide"):
        assert not any(
            "test.parquet" in dep or dep.rstrip("/").endswith("instances/${item.dataset}")
            for dep in STAGES[name]["deps"]
        )
    readers = [name for name, stage in STAGES.items() if any("test.parquet" in dep for dep in stage["deps"])]
    assert readers == ["evaluate"]


@pytest.mark.parametrize("name", STAGES)
def test_reports_belong_to_git_and_everything_else_to_dvc(name):
    for kind in ("outs", "metrics", "plots"):
        for out in STAGES[name].get(kind, []):
            path, options = next(iter(out.items())) if isinstance(out, dict) else (out, {})
            in_git = options.get("cache") is False
            assert in_git == path.startswith("reports/"), path
            assert not path.endswith("runtime.json"), "time, host and memory are no output"


def test_the_summary_alone_is_what_dvc_knows_as_metrics():
    metrics = [next(iter(out)) for stage in STAGES.values() for out in stage.get("metrics", [])]
    assert metrics == ["reports/${item.dataset}/summary.json"]


def test_every_stage_that_takes_long_is_in_the_run_cache_of_dvc():
    """DVC leaves out a stage with an output that is neither cached nor a metric nor a plot."""
    left_out = {
        name
        for name, stage in STAGES.items()
        for out in stage.get("outs", [])
        if not isinstance(out, str) and next(iter(out.values())).get("cache") is False
    }
    assert left_out == {"inputs", "validate", "evaluate", "report"}
