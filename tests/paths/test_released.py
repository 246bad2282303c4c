"""Instances in the released format."""

import json

import numpy as np
import pyarrow as pa
import pytest

from prorl.config.mine import Mine
from prorl.errors import DataError
from prorl.params import read_params
from prorl.paths.instances import mine
from prorl.tables import INSTANCES, PROMPTED_INSTANCES
from tools.stage_dependencies import ROOT

ITEMS = pa.table(
    {
        "item": np.arange(1, 7, dtype=np.int32),
        "raw_id": ["11", "12", "13", "14", "15", "16"],
        "attributes": [["War"], ["War", "Drama"], [], ["War"], ["War"], ["War"]],
    }
)
SPLITS = pa.table(
    {
        "user": np.array([1, 2, 3, 4], dtype=np.int32),
        "raw_id": ["a", "b", "7", "t"],
        "split": ["train", "validation", "left_out", "test"],
    }
)
SEQUENCES = [[1, 2, 3, 4], [1, 2, 3, 4], [2, 1, 3, 4, 5], [3, 4, 1, 6]]
INTERACTIONS = pa.table(
    {
        "user": np.repeat([1, 2, 3, 4], [len(items) for items in SEQUENCES]).astype(np.int32),
        "item": np.array([item for items in SEQUENCES for item in items], dtype=np.int32),
        "timestamp": np.arange(17),
    }
)
TRAIN = [
    {"user": "a", "inters": ["11", "12"], "proc_path": ["13", "14"]},
    {"user": 7, "inters": [12, 11], "proc_path": [13, 14, 15]},
]
VALIDATION = [{"user": "b", "inters": ["11", "12"], "proc_path": ["13", "14"]}]
TEST = [
    {"inters": ["11", "12"], "proc_path": ["13", "16"], "target": "16"},  # of a and b
    {"inters": ["14", "11"], "proc_path": ["16", "15"], "target": 15},  # of t alone
    {"inters": ["15", "16"], "proc_path": ["13", "12"], "target": "12"},  # of nobody
    {"inters": ["13", "14"], "proc_path": ["11", "12", "16"], "target": "16"},  # of all four
    {"inters": [14, 11], "proc_path": ["12", "16"], "target": "16"},  # of t, who had item 16
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
        return mine(INTERACTIONS, ITEMS, SPLITS, settings_of(tmp_path), (1, "mine", "x"))

    return run


def settings_of(folder):
    return (
        read_params(ROOT / "params.yaml")
        .section(Mine)
        .replace(import_=str(folder / "x"), history_length=2, min_run=2, max_run=3, ignored_attributes=[])
    )


def test_raw_ids_become_ours(released):
    tables, statistics = released()
    assert tables["train"].cast(INSTANCES).to_pylist() == [
        {"user": 1, "history": [1, 2], "run": [3, 4]},
        {"user": 3, "history": [2, 1], "run": [3, 4, 5]},
    ]
    [validation] = tables["validation"].cast(PROMPTED_INSTANCES).to_pylist()
    assert validation.pop("random_target") in (5, 6)  # the items that user 2 never met
    assert validation == {"user": 2, "history": [1, 2], "run": [3, 4]}
    test = tables["test"].cast(PROMPTED_INSTANCES).to_pylist()
    # Of several users or none: numbered after the four there are.
    assert [row["user"] for row in test] == [5, 4, 6, 7, 4]
    assert test[1] == {"user": 4, "history": [4, 1], "run": [6, 5], "random_target": 5}
    assert [row["random_target"] for row in test] == [6, 5, 2, 6, 6]
    assert statistics == {
        "ids": {"items": "raw", "users": "raw"},
        "instances": {"train": 2, "validation": 1, "test": 5},
        "users": {"train": 2, "validation": 1, "test": 1},
        "test_histories": {"of_one_user": 2, "of_no_user": 1, "of_several_users": 2},
        "test_targets_that_the_user_had": 1,
        "users_by_prepared_split": {
            "train": {"train": 1, "validation": 0, "test": 0, "left_out": 1},
            "validation": {"train": 0, "validation": 1, "test": 0, "left_out": 0},
            "test": {"train": 0, "validation": 0, "test": 1, "left_out": 0},
        },
        "items_with_same_attributes": 4,
        "items_with_other_attributes": 1,
        "items_not_in_datamaps": 1,
    }


def internal(entries, *, items=None, users=None):
    """The same entries, with items and users by internal ids."""

    def named(entry):
        changed = dict(entry)
        if items:
            changed |= {name: [items[str(i)] for i in entry[name]] for name in ("inters", "proc_path")}
            changed |= {"target": items[str(entry["target"])]} if "target" in entry else {}
        if users and "user" in entry:
            changed["user"] = users[str(entry["user"])]
        return changed

    return [named(entry) for entry in entries]


def test_internal_ids_lead_through_the_maps(released):
    """Internal ids may look like raw ones: here user 7 is somebody else by its internal id."""
    expected, statistics = released()
    users = {"a": "7", "b": "t", "7": "b", "t": "a"}
    items = {"11": "15", "12": "16", "13": "11", "14": "12", "15": "13", "16": "14"}
    maps = {**MAPS, "id2user": {internal: raw for raw, internal in users.items()}}
    files = {"train": TRAIN, "val": VALIDATION, "test": TEST}
    tables, found = released(
        **{ending: internal(of, users=users) for ending, of in files.items()}, datamaps=maps
    )
    assert tables == expected
    assert found == statistics | {"ids": {"items": "raw", "users": "internal"}}

    maps["id2item"] = {internal: raw for raw, internal in items.items()}
    maps["raw_item_id2attribute"] = {
        items[raw]: attributes for raw, attributes in MAPS["raw_item_id2attribute"].items()
    }
    tables, found = released(
        **{ending: internal(of, users=users, items=items) for ending, of in files.items()}, datamaps=maps
    )
    assert tables == expected
    assert found == statistics | {"ids": {"items": "internal", "users": "internal"}}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"train": [{**TRAIN[0], "inters": ["11", "99"]}]},
            r"x.train: entry 0: item '99' is unknown, allowed: one of the 6",
        ),
        (
            {"val": [{**VALIDATION[0], "user": "z"}]},
            r"x.val: entry 0: user 'z' is unknown, allowed: one of the 4",
        ),
        (
            {"val": [VALIDATION[0], {**VALIDATION[0], "inters": ["11", "15"]}]},
            r"x.val: entry 1: the history is not in the sequence of user 'b'",
        ),
        (
            {"test": [{**TEST[0], "inters": ["11"]}]},
            r"x.test: entry 0: inters has 1 items, allowed: 2, as many as in the first",
        ),
        (
            {"train": [TRAIN[0], {"user": "a", "inters": ["11", "12"]}]},
            r"x.train: entry 1: 'proc_path' is missing",
        ),
        (
            {
                "train": [{**TRAIN[0], "inters": ["11"]}],
                "val": [{**VALIDATION[0], "inters": ["11"]}],
                "test": [{**TEST[0], "inters": ["11"]}],
            },
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
    with pytest.raises(DataError, match=r"x.val: no such file; mine.import names"):
        mine(INTERACTIONS, ITEMS, SPLITS, settings_of(tmp_path), (1,))
