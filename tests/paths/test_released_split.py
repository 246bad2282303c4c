"""The released split of users, and `prepare` that takes it."""

import json

import numpy as np
import pytest

from prorl.errors import DataError
from prorl.paths.preparing import prepare
from prorl.paths.released_files import matches
from prorl.paths.released_split import OUTSIDE, released_split
from tests.paths.test_preparing import LOG, SETTINGS, log_of
from tests.tiny_models import sequences_of

ITEMS = list("abcdefg")
USERS = ["u1", "u2", "u3", "u4", "u5", "u6", "u7"]
SEQUENCES = sequences_of(
    [1, 2, 3, 4], [2, 1, 3, 4], [3, 1, 2, 5], [5, 6, 1, 2], [6, 5, 4, 3], [1, 3, 5, 6], [2, 1, 3, 5]
)
MAPS = {"itemid2title": {}, "raw_item_id2attribute": {}, "id2attribute": {}}


def write(folder, train, validation, test):
    """Released files with these users of training and validation entries, and histories of test entries."""

    def named(user):
        items = SEQUENCES.of(USERS.index(user) + 1)
        return {"user": user, "inters": [ITEMS[i - 1] for i in items[:2]], "proc_path": ["a", "b"]}

    entries = {
        "train": [named(user) for user in train],
        "val": [named(user) for user in validation],
        "test": [{"inters": list(h), "proc_path": ["c", "d"], "target": "d"} for h in test],
    }
    for ending, value in {**entries, "datamaps": MAPS}.items():
        (folder / f"x.{ending}").write_text(json.dumps(value))
    return str(folder / "x")


def test_users_are_where_the_release_has_them(tmp_path):
    """The history "fe" is of u5 alone, "ab" of u1, u3 and u4, "ga" of nobody."""
    start = write(tmp_path, ["u1", "u7", "u6"], ["u4", "u6"], ["fe", "ab", "ga"])
    split, counts = released_split(start, SEQUENCES, ITEMS, USERS)
    # u1 may be the user of "ab"; u4, who may too, is not trained on anyway
    assert split.tolist() == [OUTSIDE, OUTSIDE, OUTSIDE, 1, 2, OUTSIDE, 0]
    assert counts == {
        "ids": {"items": "raw", "users": "raw"},
        "test_histories": {"of_one_user": 1, "of_no_user": 1, "of_several_users": 1},
        "users_left_out": {
            "in_no_file": 2,  # u2 and u3
            "in_several_splits": 1,  # u6
            "with_a_test_history_of_several_users": 1,
        },
    }


def test_prepare_takes_the_split(tmp_path):
    files = {
        "train": [{"user": "ann", "inters": ["i30", "i10"], "proc_path": ["i10", "i20"]}],
        "val": [{"user": "cid", "inters": ["i30", "i10"], "proc_path": ["i10", "i20"]}],
        "test": [{"inters": ["i20", "i10"], "proc_path": ["i10", "i30"], "target": "i30"}],
        "datamaps": MAPS,
    }
    for ending, value in files.items():
        (tmp_path / f"x.{ending}").write_text(json.dumps(value))
    prepared = prepare(log_of(LOG), SETTINGS.replace(split_from=str(tmp_path / "x")), seed=1)
    assert dict(zip(*prepared.splits.select(["raw_id", "split"]).to_pydict().values(), strict=True)) == {
        "ann": "train",
        "bob": "test",
        "cid": "validation",
    }
    assert prepared.statistics["split_from"]["test_histories"]["of_one_user"] == 1
    random = prepare(log_of(LOG), SETTINGS, seed=1)
    assert "split_from" not in random.statistics
    assert random.interactions == prepared.interactions
    files["train"].append({"user": "bob", "inters": ["i20", "i30"], "proc_path": ["i10", "i20"]})
    (tmp_path / "x.train").write_text(json.dumps(files["train"]))
    with pytest.raises(DataError, match=r"x.train: entry 1: the history is not in .* user 'bob'"):
        prepare(log_of(LOG), SETTINGS.replace(split_from=str(tmp_path / "x")), seed=1)
    (tmp_path / "x.val").unlink()
    with pytest.raises(DataError, match=r"x.val: no such file; prepare.split_from names the common start"):
        prepare(log_of(LOG), SETTINGS.replace(split_from=str(tmp_path / "x")), seed=1)


def test_stretches_are_found_in_every_sequence_that_holds_them():
    rng = np.random.default_rng(0)
    sequences = sequences_of(*(rng.integers(1, 4, rng.integers(1, 9)).tolist() for _ in range(30)))
    for width in (1, 2, 3):
        stretch = rng.integers(1, 5, (40, width))
        expected = [
            (row, user)
            for row, asked in enumerate(stretch.tolist())
            for user in range(1, 31)
            if any(
                sequences.of(user)[at : at + width].tolist() == asked
                for at in range(len(sequences.of(user)) - width + 1)
            )
        ]
        assert list(zip(*(part.tolist() for part in matches(sequences, stretch)), strict=True)) == expected


def test_a_split_without_users_is_an_error(tmp_path):
    start = write(tmp_path, ["u1"], ["u4"], ["ga"])
    with pytest.raises(DataError, match=r"x: users per split: {'train': 1, 'validation': 1, 'test': 0}"):
        released_split(start, SEQUENCES, ITEMS, USERS)
