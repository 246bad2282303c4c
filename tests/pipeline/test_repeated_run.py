"""The same seed gives the same results, and a stage needs nothing but what dvc.yaml says it depends on."""

import shutil

import pytest

from tests.pipeline.clones import Clone
from tests.pipeline.test_pipeline import DATASET, SIMULATORS, STAGES
from tests.stage_dependencies import round_trip_yaml


def resolved(path, simulator, params):
    """`path` of dvc.yaml with its variables filled in."""
    values = {"item.dataset": DATASET, "item.simulator": simulator, "launch": params["launch"]}
    values |= {f"{stage}.simulator": params[stage]["simulator"] for stage in ("pretrain", "finetune")}
    for name, value in values.items():
        path = path.replace(f"${{{name}}}", value)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(name for name in STAGES if name != "simulator"), *(f"simulator-{name}" for name in SIMULATORS)])
def test_a_stage_run_again_with_its_dependencies_alone_writes_the_same_bytes(pipeline, tmp_path, name):
    stage, _, simulator = name.partition("-")
    params = round_trip_yaml().load(pipeline.clone.root / "params.yaml")
    alone = Clone(tmp_path)
    for path in ["params.yaml", *STAGES[stage]["deps"]]:
        source, target = pipeline.clone.root / resolved(path, simulator, params), tmp_path / resolved(path, simulator, params)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
    given = set(alone.files("data", "models", "reports"))
    alone.run(*resolved(STAGES[stage]["cmd"], simulator, params).split())
    written = {path: file for path, file in alone.files("data", "models", "reports").items() if path not in given}
    written.pop(f"reports/{DATASET}/runtime.json")
    assert written
    for path, file in written.items():
        assert file.read_bytes() == (pipeline.clone.root / path).read_bytes(), path
