"""The pipeline in two clones: the same bytes with the same number of threads, others with another seed."""

import pytest

from prorl.presets import round_trip_yaml
from tests.pipeline.clones import DATASET, Clone, clone_of_working_tree
from tests.pipeline.test_killed_run import hashes

TIMES = f"reports/{DATASET}/runtime.json"


def run_anew(root, **settings) -> Clone:
    """A clone in which every stage has run, by itself."""
    clone = clone_of_working_tree(root)
    clone.set(**settings)
    clone.repro()
    return clone


def written(clone: Clone) -> dict[str, str]:
    """Hashes of all that the stages have written, but for times and memory."""
    found = hashes(clone.files("data", "models", "reports"))
    assert found.pop(TIMES)
    return found


@pytest.mark.slow
def test_two_runs_in_two_clones_write_the_same_bytes(pipeline, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    expected = written(pipeline.clone)
    assert f"models/policies/{DATASET}/prorl/model.safetensors" in expected
    assert written(run_anew(tmp_path / "second")) == expected


@pytest.mark.slow
def test_two_runs_with_two_threads_write_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # so that threads which wait do not spin
    first, second = (written(run_anew(tmp_path / name)) for name in ("first", "second"))
    assert first == second


@pytest.mark.slow
def test_another_seed_gives_other_models_and_metrics(pipeline, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seed = round_trip_yaml().load(pipeline.clone.root / "params.yaml")["seed"]
    other = run_anew(tmp_path / "other", seed=seed + 1)
    expected, found = written(pipeline.clone), written(other)
    for path in (
        f"models/simulators/{DATASET}/SASRec/model.safetensors",
        f"models/policies/{DATASET}/pretrained/model.safetensors",
        f"models/policies/{DATASET}/prorl/model.safetensors",
        f"reports/{DATASET}/finetune.json",
        f"reports/{DATASET}/evaluation.json",
    ):
        assert found[path] != expected[path], path
    assert found[f"data/raw/{DATASET}/ml-100k.inter"] == expected[f"data/raw/{DATASET}/ml-100k.inter"]
