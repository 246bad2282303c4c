"""How long a released run may be: a random target may follow a whole one, in the test instances alone."""

import json

import numpy as np
import pyarrow as pa
import pytest

from prorl.config.mine import Mine
from prorl.errors import DataError
from prorl.paths.instances import mine

IDS = [str(raw_id) for raw_id in range(11, 26)]
ITEMS = pa.table(
    {"item": np.arange(1, 16, dtype=np.int32), "raw_id": IDS, "attributes": [["War"]] * len(IDS)}
)
SPLITS = pa.table(
    {
        "user": np.array([1, 2, 3], dtype=np.int32),
        "raw_id": ["a", "b", "c"],
        "split": ["train", "validation", "test"],
    }
)
INTERACTIONS = pa.table(
    {
        "user": np.repeat([1, 2, 3], 4).astype(np.int32),
        "item": np.tile(np.arange(1, 5, dtype=np.int32), 3),
        "timestamp": np.arange(12),
    }
)
MAPS = {"itemid2title": {}, "raw_item_id2attribute": {}, "id2attribute": {}}


@pytest.fixture
def released(tmp_path):
    """Import one instance of each split whose runs have these many items."""

    def run(**n_items):
        for ending in ("train", "val", "test"):
            path = IDS[2 : 2 + n_items.get(ending, 2)]
            whose = {"target": path[-1]} if ending == "test" else {"user": "a"}
            entry = {"inters": IDS[:2], "proc_path": path, **whose}
            (tmp_path / f"x.{ending}").write_text(json.dumps([entry]))
        (tmp_path / "x.datamaps").write_text(json.dumps(MAPS))
        settings = Mine(
            engine="local",
            import_=str(tmp_path / "x"),
            history_length=2,
            min_run=2,
            max_run=10,
            feasibility="attributes",
            ignored_attributes=[],
        )
        return mine(INTERACTIONS, ITEMS, SPLITS, settings, (1, "mine", "x"))[0]

    return run


def test_a_whole_run_and_its_random_target_are_a_test_instance(released):
    tables = released(train=10, val=10, test=11)
    assert tables["train"]["run"].to_pylist() == tables["validation"]["run"].to_pylist() == [[*range(3, 13)]]
    assert tables["test"]["run"].to_pylist() == [[*range(3, 14)]]
    assert tables["test"]["random_target"].to_pylist() == [13]


@pytest.mark.parametrize(("ending", "n", "longest"), [("train", 11, 10), ("val", 11, 10), ("test", 12, 11)])
def test_a_longer_run_is_refused(released, ending, n, longest):
    with pytest.raises(
        DataError, match=rf"x.{ending}: entry 0: proc_path has {n} items, allowed: 2 to {longest}"
    ):
        released(**{ending: n})
