"""Instances in the released format."""

import json

import numpy as np
import pyarrow as pa
import pytest

from prorl.config.mine import Mine
from prorl.errors import DataError
from prorl.paths.instances import mine
from prorl.tables import INSTANCES, PROMPTED_INSTANCES

ITEMS = pa.table(
    {
        "item": np.arange(1, 7, dtype=np.int32),
        "raw_id": ["11", "12", "13", "14", "15", "16"],
        "attributes": [["War"], ["War", "Drama"], [], ["War"], ["War"], ["War"]],
    }
)
SPLITS = pa.table(
    {
        "user": np.array([1, 2, 3], dtype=np.int32),
        "raw_id": ["a", "b", "7"],
        "split": ["train", "validation", "test"],
    }
)
INTERACTIONS = pa.table(
    {
        "user": np.repeat([1, 2, 3], 4).astype(np.int32),
        "item": np.array([1, 2, 3, 4] * 3, dtype=np.int32),
        "timestamp": np.arange(12),
    }
)
TRAIN = [
    {"user": "a", "inters": ["11", "12"], "proc_path": ["13", "14"]},
    {"user": 7, "inters": [12, 11], "proc_path": [13, 14, 15]},
]
VALIDATION = [{"user": "b", "inters": ["11", "12"], "proc_path": ["13", "14"]}]
TEST = [
    {"inters": ["11", "12"], "proc_path": ["13", "16"], "target": "16"},
    {"inters": ["12", "13"], "proc_path": ["13", "15"], "target": 15},
]
MAPS = {
    "itemid2title": {"1": "Eleven"},
    "raw_item_id2attribute": {"11": [0], "12": [0], "13": [], "14": [0], "15": [0]},
    "id2attribute": {"0": "War", "1": "Drama"},
}


@pytest.fixture
def released(tmp_path):
    """Write the four files and import them; each may be replaced."""

    def run(**changed):
        files = {"train": TRAIN, "val": VALIDATION, "test": TEST, "datamaps": MAPS, **changed}
        for ending, value in files.items():
            (tmp_path / f"x.{ending}").write_text(value if isinstance(value, str) else json.dumps(value))
        settings = Mine(
            import_=str(tmp_path / "x"), history_length=2, min_run=2, max_run=3, ignored_attributes=[]
        )
        return mine(INTERACTIONS, ITEMS, SPLITS, settings, (1, "mine", "x"))

    return run


def test_raw_ids_become_ours(released):
    tables, statistics = released()
    assert tables["train"].cast(INSTANCES).to_pylist() == [
        {"user": 1, "history": [1, 2], "run": [3, 4]},
        {"user": 3, "history": [2, 1], "run": [3, 4, 5]},
    ]
    [validation] = tables["validation"].cast(PROMPTED_INSTANCES).to_pylist()
    assert validation.pop("random_target") in (5, 6)  # the items that user 2 never met
    assert validation == {"user": 2, "history": [1, 2], "run": [3, 4]}
    assert tables["test"].cast(PROMPTED_INSTANCES).to_pylist() == [
        {"user": 4, "history": [1, 2], "run": [3, 6], "random_target": 6},
        {"user": 5, "history": [2, 3], "run": [3, 5], "random_target": 5},
    ]
    assert statistics == {
        "instances": {"train": 2, "validation": 1, "test": 2},
        "users_by_prepared_split": {
            "train": {"train": 1, "validation": 0, "test": 1},
            "validation": {"train": 0, "validation": 1, "test": 0},
            "test": {"train": 0, "validation": 0, "test": 0},
        },
        "items_with_same_attributes": 4,
        "items_with_other_attributes": 1,
        "items_not_in_datamaps": 1,
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"train": [{**TRAIN[0], "inters": ["11", "99"]}]},
            r"x.train: entry 0: item '99' is unknown, allowed: one of the 6",
        ),
        (
            {"val": [{**VALIDATION[0], "user": "z"}]},
            r"x.val: entry 0: user 'z' is unknown, allowed: one of the 3",
        ),
        (
            {"train": [TRAIN[0], {"user": "a", "inters": ["11", "12"]}]},
            r"x.train: entry 1: 'proc_path' is missing",
        ),
        (
            {"train": [{**TRAIN[0], "inters": ["11"]}]},
            r"inters has 1 items, allowed: mine.history_length = 2",
        ),
        ({"train": [{**TRAIN[0], "proc_path": ["11"]}]}, r"proc_path has 1 items, allowed: 2 to 3"),
        (
            {"test": [{**TEST[0], "target": "11"}]},
            r"x.test: entry 0: target is '11', allowed: the last of proc_path, '16'",
        ),
        ({"test": {}}, r"x.test: found dict, allowed: a list"),
        ({"test": "["}, r"x.test: not JSON"),
        ({"datamaps": {"itemid2title": {}}}, r"x.datamaps: 'raw_item_id2attribute' is missing"),
    ],
)
def test_what_does_not_fit_is_named(released, changed, message):
    with pytest.raises(DataError, match=message):
        released(**changed)


def test_a_missing_file_is_named(released, tmp_path):
    released()
    (tmp_path / "x.val").unlink()
    settings = Mine(
        import_=str(tmp_path / "x"), history_length=2, min_run=2, max_run=3, ignored_attributes=[]
    )
    with pytest.raises(DataError, match=r"x.val: no such file; mine.import names"):
        mine(INTERACTIONS, ITEMS, SPLITS, settings, (1,))
