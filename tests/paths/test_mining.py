"""Mining against the obvious version, one user and one item at a time."""

import numpy as np
import pyarrow as pa
import pytest

from prorl.config.mine import Mine
from prorl.config.section import ConfigError, build
from prorl.errors import DataError
from prorl.paths.instances import mine
from prorl.paths.mining import (
    attribute_words,
    feasible_transitions,
    instance_table,
    later_positions,
    mine_runs,
    random_targets,
)
from prorl.paths.sequences import Sequences
from prorl.tables import INSTANCES, PROMPTED_INSTANCES

SETTINGS = Mine(
    engine="local",
    import_=None,
    history_length=3,
    min_run=2,
    max_run=4,
    feasibility="attributes",
    ignored_attributes=["Drama"],
)


def log_of(sequences: dict[int, list[int]]) -> Sequences:
    lengths = [len(items) for items in sequences.values()]
    flat = [item for items in sequences.values() for item in items]
    return Sequences(
        np.array(flat, dtype=np.int32), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    )


def random_log(generator, n_users, n_items, n_names):
    sequences = {
        u: generator.integers(1, n_items + 1, size=generator.integers(1, 40)).tolist()
        for u in range(1, n_users + 1)
    }
    names = ["Drama", *(f"genre {i}" for i in range(n_names))]
    # Long tail: later names are rarer, and some items have none at all.
    attributes = [
        [name for k, name in enumerate(names) if generator.random() < 0.6 / (k + 1)] for _ in range(n_items)
    ]
    return sequences, attributes


def naive_instances(sequences, attributes, ignored, history_length, min_run, max_run):
    """Walk through each user's items and keep the run whenever a transition is not feasible."""
    sets = {item: set(names) - set(ignored) for item, names in enumerate(attributes, start=1)}
    found = []
    for user, items in sequences.items():
        if len(items) <= history_length:
            continue
        run, first = [items[history_length]], history_length
        for position in range(history_length + 1, len(items)):
            if sets[items[position - 1]] & sets[items[position]]:
                run.append(items[position])
                continue
            if min_run <= len(run) <= max_run:
                found.append({"user": user, "history": items[first - history_length : first], "run": run})
            run, first = [items[position]], position
    return found


@pytest.mark.parametrize("n_names", [3, 200])  # one word of attributes, and several
@pytest.mark.parametrize("seed", range(5))
def test_mining_equals_the_walk_through_every_user(seed, n_names):
    sequences, attributes = random_log(np.random.default_rng(seed), n_users=60, n_items=30, n_names=n_names)
    log = log_of(sequences)
    words = attribute_words(pa.array(attributes, pa.list_(pa.string())), ["Drama"])
    later = later_positions(log, 3)
    runs = mine_runs(
        log, later, feasible_transitions(log.items, words, later), history_length=3, min_run=2, max_run=4
    )
    table = instance_table(log, runs, np.ones(len(runs.user), dtype=bool), 3)
    expected = naive_instances(sequences, attributes, ["Drama"], 3, 2, 4)
    assert len(expected) > 20
    assert table.to_pylist() == expected


def test_attribute_words_say_who_shares_what():
    attributes = [["Drama", "War"], ["Drama"], ["War", "Comedy"], [], [f"a{i}" for i in range(70)], ["a69"]]
    words = attribute_words(pa.array(attributes, pa.list_(pa.string())), ["Drama"])
    assert words.shape == (7, 2)  # 72 attributes without Drama
    assert not words[0].any()
    shares = (words[:, None] & words[None]).any(axis=2)
    sets = [set(), *(set(names) - {"Drama"} for names in attributes)]
    assert shares.tolist() == [[bool(a & b) for b in sets] for a in sets]


def test_no_attributes_at_all():
    words = attribute_words(pa.array([[], []], pa.list_(pa.string())), [])
    assert words.tolist() == [[0], [0], [0]]
    assert not feasible_transitions(np.array([1, 2, 1]), words, np.array([1, 2])).any()


def mined(sequences, feasible, min_run=2, max_run=3):
    log = log_of(sequences)
    later = later_positions(log, 2)
    runs = mine_runs(
        log, later, np.array(feasible, dtype=bool)[later], history_length=2, min_run=min_run, max_run=max_run
    )
    return instance_table(log, runs, np.ones(len(runs.user), dtype=bool), 2).to_pylist(), runs.statistics


def test_a_run_by_hand():
    # Positions 0, 1 are the first history; the transition into position 2 does not matter; 4 is the first
    # that is not feasible.
    instances, statistics = mined({1: [10, 11, 12, 13, 14, 15]}, [0, 0, 0, 1, 0, 1])
    assert instances == [{"user": 1, "history": [10, 11], "run": [12, 13]}]
    assert statistics["runs_open_at_end"] == 1
    assert statistics["runs_by_length"] == {"2": 1, "3": 0}


def test_a_long_run_is_dropped_not_cut():
    instances, statistics = mined({1: [1, 2, 3, 4, 5, 6, 7]}, [0, 0, 0, 1, 1, 1, 0])
    assert instances == []
    assert statistics["runs_too_long"] == 1


def test_no_run_crosses_from_one_user_to_the_next():
    # All transitions are feasible, also the one from user 1's last item to user 2's first: both runs stay
    # open.
    instances, statistics = mined({1: [1, 2, 3, 4], 2: [5, 6, 7, 8]}, [1] * 8)
    assert instances == []
    assert statistics["runs_open_at_end"] == 2


def test_short_users_are_counted_and_skipped():
    instances, statistics = mined(
        {1: [1], 2: [1, 2], 3: [1, 2, 3], 4: [1, 2, 3, 4, 5]}, [0] * 3 + [0, 0, 0] + [0, 0, 0, 1, 0]
    )
    assert instances == [{"user": 4, "history": [1, 2], "run": [3, 4]}]
    assert statistics["users_shorter_than_history"] == 1
    assert statistics["users_without_item_after_history"] == 1
    assert statistics["users"] == 4


@pytest.mark.parametrize("seed", range(3))
def test_random_targets_are_items_the_user_never_met(seed):
    generator = np.random.default_rng(seed)
    sequences = {u: generator.integers(1, 21, size=generator.integers(1, 60)).tolist() for u in range(1, 30)}
    user = generator.integers(1, 30, size=400)
    user = user[[len(set(sequences[u])) < 20 for u in user]]
    targets = random_targets(log_of(sequences), user, 20, seed)
    assert targets.dtype == np.int32
    assert targets.min() >= 1
    assert targets.max() <= 20
    assert not any(target in sequences[u] for u, target in zip(user, targets, strict=True))
    assert np.array_equal(targets, random_targets(log_of(sequences), user, 20, seed))
    assert not np.array_equal(targets, random_targets(log_of(sequences), user, 20, seed + 1))


@pytest.mark.parametrize("seed", range(3))
def test_random_targets_are_the_drawn_of_the_free_items(seed):
    generator = np.random.default_rng(seed)
    sequences = {u: generator.integers(1, 21, size=generator.integers(0, 25)).tolist() for u in range(1, 30)}
    free = {u: [item for item in range(1, 21) if item not in sequences[u]] for u in sequences}
    user = generator.permutation(np.repeat([u for u in free if free[u]], 7))
    drawn = np.random.default_rng(seed).integers(0, np.array([len(free[u]) for u in user]))
    expected = [free[u][n] for u, n in zip(user.tolist(), drawn.tolist(), strict=True)]
    assert random_targets(log_of(sequences), user, 20, seed).tolist() == expected


def test_random_targets_are_uniform_over_the_free_items():
    targets = random_targets(log_of({1: [2, 5, 5, 6], 2: [1]}), np.ones(30000, dtype=np.int64), 7, 0)
    free, counts = np.unique(targets, return_counts=True)
    assert free.tolist() == [1, 3, 4, 7]
    assert np.abs(counts - 7500).max() < 300  # four standard deviations


def test_a_user_of_all_items_has_no_random_target():
    with pytest.raises(DataError, match="user 2 interacted with all 3 items"):
        random_targets(log_of({1: [1], 2: [3, 1, 2]}), np.array([1, 2]), 3, 0)


def tables(sequences, attributes, splits):
    log = log_of(sequences)
    interactions = pa.table({"user": log.users, "item": log.items, "timestamp": np.arange(len(log.items))})
    items = pa.table(
        {
            "item": np.arange(1, len(attributes) + 1, dtype=np.int32),
            "attributes": pa.array(attributes, pa.list_(pa.string())),
        }
    )
    return interactions, items, pa.table({"user": np.array(list(sequences), dtype=np.int32), "split": splits})


def test_every_instance_lands_in_its_users_split():
    sequences, attributes = random_log(np.random.default_rng(7), n_users=40, n_items=60, n_names=3)
    splits = ["train"] * 30 + ["validation"] * 5 + ["test"] * 5
    mined, statistics = mine(*tables(sequences, attributes, splits), SETTINGS, (1, "mine", "x"))
    expected = naive_instances(sequences, attributes, ["Drama"], 3, 2, 4)
    for name, low, high in (("train", 1, 30), ("validation", 31, 35), ("test", 36, 40)):
        schema = INSTANCES if name == "train" else PROMPTED_INSTANCES
        table = mined[name].cast(schema)
        assert table.select(INSTANCES.names).to_pylist() == [
            row for row in expected if low <= row["user"] <= high
        ]
        assert statistics["instances"][name] == table.num_rows


def test_a_split_without_instance_is_an_error():
    sequences, attributes = random_log(np.random.default_rng(7), n_users=10, n_items=20, n_names=3)
    with pytest.raises(DataError, match="'test': 0"):
        mine(*tables(sequences, attributes, ["train"] * 5 + ["validation"] * 5), SETTINGS, (1,))


def test_run_bounds_must_fit_together():
    values = {"engine": "local", "import": None, "history_length": 3, "min_run": 5, "max_run": 4}
    values |= {"feasibility": "attributes", "ignored_attributes": []}
    with pytest.raises(ConfigError, match=r"mine.min_run: got 5, allowed: at most mine.max_run, 4"):
        build(Mine, values, "mine", "params.yaml")
