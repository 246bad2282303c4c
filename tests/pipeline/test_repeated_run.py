"""The same seed gives the same results, and a stage needs nothing but what dvc.yaml says it depends on."""

import shlex
import shutil
from pathlib import Path

import pytest

from prorl.code import STATED_ELSEWHERE
from prorl.presets import round_trip_yaml
from tests.pipeline.clones import DATASET, Clone
from tests.pipeline.test_pipeline import SIMULATORS, STAGES


def resolved(path, simulator, params):
    """`path` of dvc.yaml with its variables filled in."""
    values = {
        "item.dataset": DATASET,
        "item.simulator": simulator,
        "item.guide": simulator,
        "launch": params["launch"],
    }
    for section, settings in params.items():
        if isinstance(settings, dict):
            values |= {f"{section}.{key}": value for key, value in settings.items() if isinstance(value, str)}
    for name, value in values.items():
        path = path.replace(f"${{{name}}}", value)
    assert "$" not in path, f"{path}: a variable that the test does not fill in"
    return path


def alone(clone: Clone, name: str, root: Path) -> tuple[Clone, list[str]]:
    """The stage `name` (`mine`, `simulator-SASRec`) with what it depends on in `clone`, the library's modules
    that dvc.yaml stands in for, and nothing else, at `root`; and its command.
    """
    stage, _, simulator = name.partition("-")
    params = round_trip_yaml().load(clone.root / "params.yaml")
    for path in ["params.yaml", *STATED_ELSEWHERE, *STAGES[stage]["deps"]]:
        source, target = (
            clone.root / resolved(path, simulator, params),
            root / resolved(path, simulator, params),
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
    return Clone(root), shlex.split(resolved(STAGES[stage]["cmd"], simulator, params))


def written_since(clone: Clone, given: set[str]) -> dict[str, Path]:
    """The stage's output files: those not in `given`, but for times and memory, and what a killed run left
    unfinished.
    """
    files = clone.files("data", "models", "reports")
    passing = {
        path
        for path in files
        if path.endswith((".partial", f"{DATASET}/runtime.json")) or ".partial/" in path
    }
    return {path: file for path, file in files.items() if path not in given | passing}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *(name for name in STAGES if name not in ("inputs", "simulator", "validate", "guide")),
        "guide-search",
        *(f"{stage}-{name}" for stage in ("simulator", "validate") for name in SIMULATORS),
    ],
)
def test_a_stage_run_again_with_its_dependencies_alone_writes_the_same_bytes(pipeline, tmp_path, name):
    clone, command = alone(pipeline.clone, name, tmp_path)
    given = set(clone.files("data", "models", "reports"))
    clone.run(*command)
    written = written_since(clone, given)
    assert written
    for path, file in written.items():
        assert file.read_bytes() == (pipeline.clone.root / path).read_bytes(), path
