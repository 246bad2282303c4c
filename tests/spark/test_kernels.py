"""The kernels without Spark: the k-core by counts against the one in memory, and what is refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prorl.errors import DataError
from prorl.paths.sequences import Removed, k_core
from prorl.spark.kernels import EXAMPLE, SEQUENCED, UNDESCRIBED, USERS_AFTER, USERS_BEFORE, Filter, sequenced
from prorl.spark.preparing import Count, _Counted, _k_core
from prorl.spark.splits import ROWS, ROWS_OF_FILE, Reading, pieces_of
from tests.spark.logs import settings, write

SETTINGS = settings(min_user_interactions=3, min_item_interactions=4)


class Parts:
    """A log [e] dealt to parts by user, whose parts are counted one by one."""

    def __init__(self, user, item, n_parts=3):
        order = np.argsort(user, kind="stable")
        user, item = user[order], item[order]
        self.n_items = int(item.max()) + 1
        self.parts = [
            pa.table(
                {
                    "user": user[user % n_parts == part],
                    "item": item[user % n_parts == part].astype(np.int32),
                    "timestamp": np.zeros((user % n_parts == part).sum(), dtype=np.int64),
                    "raw_id": pa.nulls(int((user % n_parts == part).sum()), pa.string()),
                },
                schema=SEQUENCED,
            )
            for part in range(n_parts)
        ]

    def count(self, items, earlier, min_user):
        counts, before, after = np.zeros(self.n_items, dtype=np.int64), 0, 0
        for part in self.parts:
            found = Filter(items, earlier, min_user).counted(part)
            item, n = found["item"].to_numpy(), found["n"].to_numpy()
            np.add.at(counts, item[item >= 0], n[item >= 0])
            before += n[item == USERS_BEFORE].sum()
            after += n[item == USERS_AFTER].sum()
        return _Counted(int(after), counts, int(before))


@pytest.mark.parametrize("seed", range(30))
def test_the_k_core_by_counts_keeps_and_counts_what_that_in_memory_does(seed):
    random = np.random.default_rng(seed)
    n = int(random.integers(30, 400))
    user = (random.random(n) ** 2 * n / 4).astype(np.int64)
    item = (random.random(n) ** 2 * n / 5).astype(np.int64)
    expected = k_core(user, item, 3, 4)
    log, dropped = Parts(user, item), {}
    everything = log.count(np.ones(log.n_items, dtype=bool), None, 1)
    core = _k_core(log, everything, SETTINGS, dropped)
    assert dropped == {"users_below_minimum": expected.users, "items_below_minimum": expected.items}
    assert core.rounds == expected.rounds
    np.testing.assert_array_equal(core.left.items, np.bincount(item[expected.kept], minlength=log.n_items))
    kept = sorted(
        pair
        for part in log.parts
        for pair in zip(
            *(part[name].to_numpy()[core.filter.kept(part)].tolist() for name in ("user", "item")),
            strict=True,
        )
    )
    assert kept == sorted(zip(user[expected.kept].tolist(), item[expected.kept].tolist(), strict=True))


def test_the_first_items_without_description_carry_their_first_positions():
    rows = {
        "position": [40, 10, 30, 20, 50],
        "user": ["b", "a", "a", "b", "a"],
        "item": [-1, 0, -1, -1, -1],
        "raw_item": ["x", None, "x", "z", "y"],
        "timestamp": [1, 1, 1, 1, 1],
    }
    found = sequenced(pa.table(rows, schema=ROWS), "keep").to_pylist()
    assert {row["raw_id"] for row in found if row["user"] == UNDESCRIBED} == {"x", "y", "z"}
    shown = [(row["raw_id"], row["timestamp"]) for row in found if row["user"] == EXAMPLE]
    assert shown == [("z", 20), ("x", 30)]


def test_a_count_less_another_by_hand():
    removed = Removed()
    Count(5, np.array([3, 2, 0, 1])).less(Count(4, np.array([2, 0, 0, 1])), removed)
    assert removed == Removed(interactions=3, users=1, items=1)


def test_rows_carry_their_position_in_files_in_the_order_of_names(tmp_path):
    folder = write(tmp_path)
    form = SETTINGS.tabular
    pieces = pieces_of(str(folder), form)
    reading = Reading(str(folder), form, pa.array(["i7"]))
    rows = pa.concat_tables([reading.rows(piece) for piece in pieces])
    assert [piece.path.rsplit("/", 1)[1] for piece in pieces[:4]] == ["day-1.parquet"] * 3 + ["day-2.parquet"]
    position = rows["position"].to_numpy()
    log = pa.concat_tables([pq.read_table(folder / f"day-{number}.parquet") for number in (1, 2, 3)])
    sizes = [pq.read_metadata(folder / f"day-{number}.parquet").num_rows for number in (1, 2, 3)]
    places = np.concatenate([file * ROWS_OF_FILE + np.arange(size) for file, size in enumerate(sizes)])
    usable = np.array(
        [bool(u and i) for u, i in zip(log["user"].to_pylist(), log["item"].to_pylist(), strict=True)]
    )
    np.testing.assert_array_equal(position[position >= 0], places[usable])
    assert rows["user"].to_pylist()[0] == log["user"][0].as_py()
    described = rows.filter(pa.compute.equal(rows["item"], 0))["raw_item"]
    assert set(described.to_pylist()) == {None}


def test_a_format_without_a_stable_position_is_refused(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/part-0.orc").touch()
    with pytest.raises(
        DataError, match=r"part-0.orc: a row of such a file has no stable position.*allowed: .*parquet"
    ):
        pieces_of(str(tmp_path / "log"), SETTINGS.tabular)
    (tmp_path / "log/part-0.orc").rename(tmp_path / "log/part-0.csv")
    (tmp_path / "log/part-1.parquet").touch()
    with pytest.raises(DataError, match=r"part-1.parquet: allowed: parts of one format, part-0.csv is .csv"):
        pieces_of(str(tmp_path / "log"), SETTINGS.tabular)


def test_ids_with_decimals_are_refused(tmp_path):
    pq.write_table(pa.table({"user": [1.0], "item": ["a"], "timestamp": [1]}), tmp_path / "log.parquet")
    with pytest.raises(
        DataError, match=r"column 'user' is double, allowed with prepare.engine: spark: texts or"
    ):
        pieces_of(str(tmp_path / "log.parquet"), SETTINGS.tabular)


def test_parts_whose_columns_differ_are_refused(tmp_path):
    (tmp_path / "log").mkdir()
    pq.write_table(pa.table({"user": ["a"], "item": ["a"], "timestamp": [1]}), tmp_path / "log/a.parquet")
    pq.write_table(pa.table({"user": [1], "item": ["a"], "timestamp": [1]}), tmp_path / "log/b.parquet")
    with pytest.raises(DataError, match=r"b.parquet: columns are .*int64.*allowed: as in the first file"):
        pieces_of(str(tmp_path / "log"), SETTINGS.tabular)


def test_a_bad_time_names_its_row_in_the_file(tmp_path):
    rows = {"user": ["a"] * 5, "item": ["a"] * 5, "timestamp": pa.array([1, 2, 3, None, 5])}
    pq.write_table(pa.table(rows), tmp_path / "log.parquet", row_group_size=2)
    pieces = pieces_of(str(tmp_path / "log.parquet"), SETTINGS.tabular)
    reading = Reading(str(tmp_path / "log.parquet"), SETTINGS.tabular, pa.array(["a"]))
    with pytest.raises(DataError, match=r"log.parquet: row 4: timestamp is None"):
        reading.rows(pieces[1])
