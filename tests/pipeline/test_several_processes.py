"""The training stages under a launcher of two processes, which write each output once."""

import pytest

from tests.pipeline.clones import ALWAYS, DATASET


@pytest.mark.slow
def test_two_processes_train_every_model(pipeline, untouched):
    untouched.dvc("pull")
    before = untouched.read(f"reports/{DATASET}/finetune.json")
    untouched.set(launch="accelerate launch --multi_gpu --num_processes 2 --main_process_port 0")
    trained = [
        f"simulator@{DATASET}-SASRec",
        f"simulator@{DATASET}-GRU4Rec",
        f"pretrain@{DATASET}",
        f"finetune@{DATASET}",
    ]
    always, *ran, evaluate, gate, release, report = untouched.repro()
    last = [f"{stage}@{DATASET}" for stage in ("evaluate", "gate", "release", "report")]
    assert [always, evaluate, gate, release, report] == [ALWAYS, *last]
    judged = [f"validate@{DATASET}-{name}" for name in ("SASRec", "GRU4Rec")]
    vectors = [f"{stage}@{DATASET}" for stage in ("embed", "reduce", "quantize")]
    assert sorted(ran) == sorted([*vectors, *trained, *judged, f"guide@{DATASET}-search"])
    after = untouched.read(f"reports/{DATASET}/finetune.json")
    assert after["steps"] == before["steps"]
    assert untouched.files("models").keys() == pipeline.clone.files("models").keys()
