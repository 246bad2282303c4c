"""Tables in many parts: read as one, in the order of names, with errors that name the part."""

import numpy as np
import pyarrow as pa
import pytest

from prorl.errors import DataError
from prorl.instances import read_instances, users_by_split
from prorl.paths.sequences import read_sequences, user_sequences
from prorl.simulators.windows import of_users
from prorl.tables import (
    INTERACTIONS,
    PROMPTED_INSTANCES,
    USER_SPLITS,
    n_rows,
    part_path,
    read_table,
    write_table,
)

LOG = pa.table(
    {"user": [1, 1, 2, 2, 2, 5, 5], "item": [3, 4, 3, 2, 1, 9, 8], "timestamp": [1, 2, 3, 4, 5, 6, 7]}
)


def parts(folder, table, cuts, schema):
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, table.num_rows], strict=True)):
        write_table(part_path(folder, number), table.slice(start, stop - start), schema)
    return folder


@pytest.mark.parametrize("cuts", [[2], [2, 5], [3], [1, 2, 2, 4], [6]])
def test_a_folder_of_parts_is_one_table_and_gives_the_sequences_of_the_whole(tmp_path, cuts):
    folder = parts(tmp_path / "interactions.parquet", LOG, cuts, INTERACTIONS)
    whole = LOG.cast(INTERACTIONS)
    assert read_table(folder, INTERACTIONS).equals(whole)
    assert n_rows(folder) == 7
    expected, found = user_sequences(whole), read_sequences(folder)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    assert (found.items.dtype, found.offsets.dtype) == (expected.items.dtype, expected.offsets.dtype)
    assert found.lengths.tolist() == [2, 3, 0, 0, 2]


def test_a_table_that_is_one_file_gives_the_same_sequences(tmp_path):
    write_table(tmp_path / "one.parquet", LOG, INTERACTIONS)
    found = read_sequences(tmp_path / "one.parquet")
    np.testing.assert_array_equal(found.offsets, user_sequences(LOG).offsets)


@pytest.mark.parametrize("order", [[1, 0], [0, 0]])
def test_parts_that_are_not_sorted_by_user_are_named(tmp_path, order):
    for number, start in enumerate(order):
        write_table(part_path(tmp_path / "log", number), LOG.slice(3 * start, 3), INTERACTIONS)
    with pytest.raises(DataError, match=r"part-00001.parquet: interactions are not sorted by user"):
        read_sequences(tmp_path / "log")


def test_a_folder_without_parts_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"a folder without a part, allowed: part-00000.parquet and those after"
    ):
        read_table(tmp_path, INTERACTIONS)


def test_a_part_without_a_column_is_named(tmp_path):
    folder = parts(tmp_path / "log", LOG, [3], INTERACTIONS)
    with pytest.raises(DataError, match=r"part-00000.parquet: column 'raw_id' is missing"):
        read_table(folder, USER_SPLITS)


def test_a_file_takes_the_place_of_a_folder(tmp_path):
    folder = parts(tmp_path / "log", LOG, [3], INTERACTIONS)
    write_table(folder, LOG, INTERACTIONS)
    assert folder.is_file()


def test_users_by_split(tmp_path):
    names = ["train", "test", "train", "validation", "left_out"]
    table = pa.table({"user": [1, 2, 3, 4, 5], "raw_id": list("abcde"), "split": names})
    found = users_by_split(parts(tmp_path / "splits", table, [2], USER_SPLITS))
    assert {name: users.tolist() for name, users in found.items()} == {
        "train": [1, 3],
        "validation": [4],
        "test": [2],
        "left_out": [5],
    }
    assert found["train"].dtype == np.int32


def test_instances_of_parts_whose_longest_runs_differ(tmp_path):
    table = pa.table(
        {
            "user": [1, 1, 2],
            "history": [[1, 2], [2, 3], [3, 4]],
            "run": [[5, 6], [7, 8], [9, 8, 7]],
            "random_target": [4, 5, 6],
        }
    )
    found = read_instances(parts(tmp_path / "test.parquet", table, [2, 2], PROMPTED_INSTANCES))
    assert found.run.tolist() == [[5, 6, 0], [7, 8, 0], [9, 8, 7]]
    assert found.length.tolist() == [2, 2, 3]
    assert found.history.tolist() == [[1, 2], [2, 3], [3, 4]]
    assert found.random_target is not None
    assert found.random_target.tolist() == [4, 5, 6]


def test_histories_that_differ_in_length_between_parts_are_refused(tmp_path):
    for number, history in enumerate(([1, 2], [1, 2, 3])):
        row = pa.table({"user": [1], "history": [history], "run": [[5, 6]], "random_target": [4]})
        write_table(part_path(tmp_path / "test", number), row, PROMPTED_INSTANCES)
    with pytest.raises(DataError, match="histories of 2 and 3 items; all must have the same length"):
        read_instances(tmp_path / "test")


def test_sequences_of_some_users_are_those_one_by_one():
    sequences, users = user_sequences(LOG), np.array([5, 1, 3, 2], dtype=np.int32)
    found = of_users(sequences, users)
    assert [found.of(place + 1).tolist() for place in range(4)] == [
        sequences.of(user).tolist() for user in users
    ]
    assert found.items.dtype == sequences.items.dtype
