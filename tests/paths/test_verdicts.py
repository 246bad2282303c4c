"""Verdicts on pairs of items, and mining by them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from prorl.config.mine import Mine
from prorl.errors import DataError
from prorl.params import read_params
from prorl.paths.instances import mine
from prorl.paths.mining import attribute_words
from prorl.paths.verdicts import (
    agreement,
    judged_transitions,
    occurring_pairs,
    share_attribute,
    verdict_table,
)
from prorl.tables import VERDICTS
from tests.tiny_models import sequences_of

SEQUENCES = sequences_of([1, 2, 3, 2, 3], [3], [3, 1, 1, 2])
PAIRS = [[1, 1], [1, 2], [2, 3], [3, 1], [3, 2]]


def test_pairs_are_those_of_one_user_each_once():
    assert occurring_pairs(SEQUENCES).tolist() == PAIRS
    assert occurring_pairs(sequences_of([1], [2])).shape == (0, 2)


def test_transitions_are_as_judged():
    feasible = np.array([True, False, True, False, True])
    verdicts = verdict_table(np.array(PAIRS), np.zeros(5), feasible).cast(VERDICTS)
    positions = np.array([1, 2, 3, 4, 7, 8, 9])
    found = judged_transitions(SEQUENCES.items, verdicts.take(np.array([4, 2, 0, 1, 3])), positions)
    assert found.tolist() == [False, True, True, True, False, True, False]


@pytest.mark.parametrize("rows", [slice(0, 4), slice(0, 0)])
def test_a_pair_without_a_verdict_is_an_error(rows):
    table = verdict_table(np.array(PAIRS).reshape(-1, 2)[rows], np.zeros(5)[rows], np.ones(5, bool)[rows])
    with pytest.raises(DataError, match=r"no verdict on whether item \d may follow item \d; allowed"):
        judged_transitions(SEQUENCES.items, table, np.array([1, 2, 3]))


def test_agreement_with_attributes_by_hand():
    words = attribute_words(pa.array([["War"], ["War", "Love"], ["Love"]]), [])
    shared = share_attribute(words, np.array(PAIRS))
    assert shared.tolist() == [True, True, True, False, True]
    assert agreement(np.array([True, False, False, False, True]), shared) == {
        "feasible": 0.4,
        "feasible_by_attributes": 0.8,
        "agreement_with_attributes": 0.6,
    }


def test_runs_follow_the_verdicts_and_not_the_attributes():
    """Nobody's items share an attribute; every other verdict is yes."""
    users, items = 3, 12
    table = {
        "user": np.repeat(np.arange(1, users + 1, dtype=np.int32), items),
        "item": np.tile(np.arange(1, items + 1, dtype=np.int32), users),
        "timestamp": np.arange(users * items),
    }
    table["item"][-1] = 1  # the last user never meets item 12, nor the others item 13
    catalogue = pa.table({"raw_id": [str(i) for i in range(13)], "attributes": [[]] * 13})
    splits = pa.table({"split": ["train", "validation", "test"]})
    settings = read_params(Path(__file__).parents[2] / "params.yaml").section(Mine)
    settings = settings.replace(history_length=3, min_run=2, max_run=4, feasibility="similarity")
    pairs = occurring_pairs(sequences_of(*table["item"].reshape(users, items).tolist()))
    verdicts = verdict_table(pairs, np.zeros(len(pairs)), pairs[:, 1] % 3 != 0)
    tables, statistics = mine(pa.table(table), catalogue, splits, settings, (1,), verdicts)
    assert tables["train"]["run"].to_pylist() == [[4, 5], [6, 7, 8], [9, 10, 11]]
    assert tables["train"]["history"].to_pylist() == [[1, 2, 3], [3, 4, 5], [6, 7, 8]]
    assert statistics["instances"]["train"] == 3
