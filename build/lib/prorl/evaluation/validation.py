"""Can a judge be believed? What a simulator says of users that it was not trained on, and what they did."""

from typing import Any

import numpy as np
import torch

from prorl.config.validate import Validate
from prorl.evaluation.calibration import Mixture
from prorl.evaluation.continuations import ks_distance, ks_of_pairs, simulated, statistics
from prorl.evaluation.places import Places, auc, next_item, stretches
from prorl.metrics.intervals import UserBootstrap
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed
from prorl.simulators.protocol import RankingSimulator, Simulator

JUDGED = ("validation", "test")  # the splits that temperature is fitted on, and all else is told of


def validated(
    simulator: Simulator,
    sequences: Sequences,
    users: dict[str, np.ndarray],
    attribute_words: np.ndarray,
    settings: Validate,
    device: torch.device,
    seed: int,
) -> dict[str, Any]:
    """What is found of `simulator`, which lies on `device`; intervals are `{"mean", "low", "high"}`.

    `users` of each split, counted from 1; attribute_words [n+1, w]. What is drawn depends on `seed` alone, so
    that all simulators are asked the same. Raises `DataError` where the users of a split have too few items.
    """
    n_items = simulator.n_items
    counts = np.bincount(
        np.concatenate([sequences.of(user) for user in users["train"]]), minlength=n_items + 1
    )
    held_out = {split: _some(users[split], settings.users, seed, split) for split in JUDGED}
    places = {
        split: Places.drawn(
            sequences,
            held_out[split],
            n_items,
            settings.history_length,
            settings.positions,
            settings.negatives,
            derived_seed(seed, "validate", split),
        )
        for split in JUDGED
    }
    answers = {split: own.ask(simulator, device, settings.batch_size) for split, own in places.items()}
    test = answers["test"]
    bootstrap = _bootstrap(test.user, settings, seed)
    mixtures = {split: Mixture.of(own.acceptance, settings.ratio) for split, own in answers.items()}
    temperature = mixtures["validation"].fitted_temperature()
    return {
        "users": {split: len(np.unique(own.user)) for split, own in answers.items()},
        "places": {split: len(own.user) for split, own in answers.items()},
        "history_length": settings.history_length,
        "next_item": {name: bootstrap.mean(values) for name, values in next_item(test.rank).items()},
        "auc": {
            "acceptance": auc(test.acceptance, bootstrap),
            "popularity": auc(counts[places["test"].items], bootstrap),
            "sampled": settings.negatives,
        },
        "calibration": {
            "ratio": settings.ratio,
            "temperature": temperature,
            "before": mixtures["test"].calibration(1.0, settings.bins, bootstrap),
            "after": mixtures["test"].calibration(temperature, settings.bins, bootstrap),
        },
        "continuations": _continuations(
            simulator, sequences, held_out, attribute_words, counts, settings, device, seed
        ),
    }


def _some(users: np.ndarray, n: int, seed: int, split: str) -> np.ndarray:
    """`n` of `users`, in order; all of them where there are no more."""
    rng = np.random.default_rng(derived_seed(seed, "validate", split, "users"))
    return np.sort(rng.permutation(users)[:n])


def _bootstrap(user: np.ndarray, settings: Validate, seed: int) -> UserBootstrap:
    return UserBootstrap.of_users(user, settings.bootstrap_resamples, derived_seed(seed, "bootstrap"))


def _continuations(
    simulator: Simulator,
    sequences: Sequences,
    held_out: dict[str, np.ndarray],
    attribute_words: np.ndarray,
    counts: np.ndarray,
    settings: Validate,
    device: torch.device,
    seed: int,
) -> dict[str, Any]:
    """Real stretches of test users against simulated ones after the same histories: means of the two, their
    distance, and beside it that of validation users' and test users' real ones.

    {"none": why} where there is nothing to compare.
    """
    if not isinstance(simulator, RankingSimulator):
        return {"none": "the simulator has no item_scores to sample from (RankingSimulator)"}
    h, length = settings.history_length, settings.length
    real = {
        split: stretches(
            sequences,
            users,
            h,
            length,
            settings.continuations,
            derived_seed(seed, "validate", split, "stretches"),
        )
        for split, users in held_out.items()
    }
    if few := [split for split, own in real.items() if not len(own)]:
        return {"none": f"no {few[0]} user has {h + length} items"}
    test = real["test"]
    sampled = simulated(
        simulator,
        test.history,
        length,
        derived_seed(seed, "validate", "simulated"),
        device,
        settings.batch_size,
    )
    bootstrap = _bootstrap(test.user, settings, seed)
    made_up = statistics(test.history, sampled, attribute_words, counts)
    of_users = {
        split: statistics(own.history, own.after, attribute_words, counts) for split, own in real.items()
    }
    return {
        "stretches": len(test),
        "length": length,
        **{
            name: {
                "real": bootstrap.mean(of_users["test"][name]),
                "simulated": bootstrap.mean(values),
                "ks": ks_of_pairs(of_users["test"][name], values, bootstrap),
                "ks_of_real": ks_distance(of_users["validation"][name], of_users["test"][name]),
            }
            for name, values in made_up.items()
        },
    }
