"""What is found of a simulator on held-out users."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
import torch

from prorl.config.validate import Validate
from prorl.errors import DataError
from prorl.evaluation.validation import validated
from prorl.paths.mining import attribute_words
from prorl.simulators.protocol import Scores
from tests.tiny_models import PARAMS, random_instances, random_simulator, sequences_of

N_ITEMS = 24
SETTINGS = PARAMS.section(Validate).replace(
    users=6,
    history_length=4,
    positions=5,
    negatives=3,
    continuations=2,
    length=5,
    bootstrap_resamples=100,
    batch_size=7,
)
WORDS = attribute_words(pa.array([[f"a{i % 3}"] for i in range(N_ITEMS)]), ignored=[])
_, SEQUENCES = random_instances(20, N_ITEMS, per_user=1)
USERS = {"train": np.arange(1, 9), "validation": np.arange(9, 15), "test": np.arange(15, 21)}


def found_of(simulator, sequences=SEQUENCES, users=USERS, settings=SETTINGS, seed=0):
    return validated(simulator, sequences, users, WORDS, settings, torch.device("cpu"), seed)


@dataclass
class Follower:
    """A simulator of its own, without `item_scores`: it ranks the item by number after the last first, and
    accepts it alone.
    """

    n_items: int = N_ITEMS

    def score(self, history, path, target, *, ends=False):
        following = history[:, -1] % self.n_items + 1
        acceptance = torch.where(path == following[:, None, None], 0.9, 0.1)
        rank = torch.where(target == following, 1, self.n_items)[:, None, None].repeat(1, path.shape[1], 2)
        return Scores(torch.zeros(rank.shape), rank, acceptance)


def test_a_judge_that_knows_what_comes_next_is_found_to():
    """Users take items in the order of their numbers, which the simulator expects: it is never wrong."""
    logs = sequences_of(*([*range(start, start + 12)] for start in range(1, 13)))
    users = {name: np.arange(first, first + 4) for name, first in zip(USERS, (1, 5, 9), strict=True)}
    found = found_of(Follower(), logs, users)
    assert found["next_item"]["mrr@10"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert found["auc"]["acceptance"]["mean"] == 1.0
    before = found["calibration"]["before"]
    assert [b["real"] for b in before["bins"]] == [0.0, 1.0]
    assert before["ece"]["mean"] == pytest.approx(0.1)
    assert found["calibration"]["temperature"] < 0.1, "certainty would be right"
    assert found["calibration"]["after"]["ece"]["mean"] < 1e-3
    assert found["continuations"] == {
        "none": "the simulator has no item_scores to sample from (RankingSimulator)"
    }


def test_the_temperature_is_fitted_on_validation_users_alone():
    """Test users do the opposite of what validation users do: the temperature makes it worse for them."""
    going_on, standing_still = range(1, 10), [3, 7, 3, 7, 3, 7, 3, 7, 3]
    logs = sequences_of(*[[*going_on]] * 4, *[standing_still] * 2)
    users = {"train": np.array([1, 2]), "validation": np.array([3, 4]), "test": np.array([5, 6])}
    calibration = found_of(Follower(), logs, users)["calibration"]
    assert calibration["temperature"] < 0.1
    assert calibration["after"]["log_loss"]["mean"] > calibration["before"]["log_loss"]["mean"]


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_simulators_of_the_library_are_asked_everything(name):
    found = found_of(random_simulator(N_ITEMS, name, max_length=12))
    assert found["users"] == {"validation": 6, "test": 6}
    assert found["places"] == {"validation": 30, "test": 30}
    assert set(found["next_item"]) == {"mrr@10", "recall@10", "ndcg@10"}
    assert found["auc"]["sampled"] == 3
    assert found["calibration"]["ratio"] == 1.0
    for when in ("before", "after"):
        shares = [b["share"] for b in found["calibration"][when]["bins"]]
        assert sum(shares) == pytest.approx(1.0)
    stretches = found["continuations"]
    assert stretches["stretches"] == 2 * 6
    for statistic in ("attribute_repeats", "popularity", "item_repeats"):
        own = stretches[statistic]
        assert 0 <= own["ks"]["low"] <= own["ks"]["high"] <= 1
        assert 0 <= own["ks_of_real"] <= 1
        assert own["real"]["mean"] != own["simulated"]["mean"]


def test_the_same_seed_asks_every_simulator_the_same_and_gives_the_same():
    one, other = (random_simulator(N_ITEMS, name, max_length=12) for name in ("SASRec", "GRU4Rec"))
    first = found_of(one)
    assert first == found_of(one)
    assert first != found_of(one, seed=1)
    second = found_of(other)
    assert first["auc"]["popularity"] == second["auc"]["popularity"]
    for statistic in ("attribute_repeats", "popularity"):
        assert first["continuations"][statistic]["real"] == second["continuations"][statistic]["real"]


def test_only_so_many_users_are_asked_about():
    found = found_of(random_simulator(N_ITEMS, max_length=12), settings=SETTINGS.replace(users=2))
    assert found["users"] == {"validation": 2, "test": 2}
    assert found["places"] == {"validation": 10, "test": 10}


def test_where_no_user_has_a_stretch_that_long_it_is_said():
    found = found_of(random_simulator(N_ITEMS, max_length=12), settings=SETTINGS.replace(length=8))
    assert found["continuations"] == {"none": "no validation user has 12 items"}
    assert found["auc"]["acceptance"]["mean"] > 0


def test_users_with_too_few_items_are_refused():
    with pytest.raises(DataError, match="none of 6 held-out users has more than 10 items"):
        found_of(random_simulator(N_ITEMS, max_length=20), settings=SETTINGS.replace(history_length=10))
