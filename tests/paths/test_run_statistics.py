"""The counts of runs that are kept and dropped."""

import numpy as np

from prorl.paths.mining import later_positions, mine_runs
from tests.tiny_models import sequences_of


def test_runs_are_counted_by_length_and_those_at_the_bounds_are_kept():
    """One user with runs of 1, 2, 3, 4, 4, 5 and 6 items behind a history of one; the last is left open."""
    lengths = [1, 2, 3, 4, 4, 5, 6, 1]
    sequences = sequences_of(list(range(1, sum(lengths) + 2)))
    starts = np.cumsum([1, *lengths[:-1]])
    later = later_positions(sequences, 1)
    runs = mine_runs(sequences, later, ~np.isin(later, starts), history_length=1, min_run=2, max_run=4)
    assert runs.length.tolist() == [2, 3, 4, 4]
    assert runs.start.tolist() == [2, 4, 7, 11]
    assert runs.statistics == {
        "users": 1,
        "users_shorter_than_history": 0,
        "users_without_item_after_history": 0,
        "runs_open_at_end": 1,
        "runs_too_short": 1,
        "runs_too_long": 2,
        "runs_by_length": {"2": 1, "3": 1, "4": 2},
        "instances": 4,
    }
