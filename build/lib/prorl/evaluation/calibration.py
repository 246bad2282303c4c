"""Calibration: whether an acceptance of a half belongs to a real item half of the time, in a mixture of real
next items and sampled others; and the temperature that brings it nearest to that.

How many of the items are real depends on how many others are sampled beside them, so that calibration is
relative to a stated ratio of the two.

Sources: temperature scaling and expected calibration error, Guo et al. 2017.
Shape key: `q` places, `n` sampled items, `u` users, `k` bins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from prorl.metrics.intervals import UserBootstrap, interval

# acceptance is a float32; one of 0 or 1 is taken for the nearest that float32 tells from it
SMALLEST = 2.0**-24
LARGEST_LOG_TEMPERATURE = 6.0


@dataclass(frozen=True)
class Mixture:
    """Real and sampled items: logit [q, 1 + n] of each one's acceptance, the real item's first, and weight
    [1 + n], which makes of the n sampled items as many as the ratio has for each real one.
    """

    logit: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, acceptance: np.ndarray, ratio: float) -> "Mixture":
        """From acceptance [q, 1 + n]; `ratio` sampled items for each real one."""
        n_others = acceptance.shape[1] - 1
        p = np.clip(acceptance, SMALLEST, 1 - SMALLEST)
        return cls(np.log(p) - np.log1p(-p), np.array([1.0, *[ratio / n_others] * n_others]))

    def log_loss(self, temperature: float = 1.0) -> np.ndarray:
        """The weighted mean log loss of each place, [q], with logits over `temperature`."""
        scaled = self.logit / temperature
        scaled[:, 0] *= -1
        return np.logaddexp(0, scaled) @ self.weight / self.weight.sum()

    def fitted_temperature(self) -> float:
        """The temperature of the least log loss."""
        found = minimize_scalar(
            lambda log: self.log_loss(np.exp(log)).mean(),
            bounds=(-LARGEST_LOG_TEMPERATURE, LARGEST_LOG_TEMPERATURE),
            method="bounded",
            options={"xatol": 1e-9},
        )
        return float(np.exp(found.x))

    def calibration(self, temperature: float, n_bins: int, bootstrap: UserBootstrap) -> dict[str, Any]:
        """Expected calibration error and log loss with their intervals, and the bins.

        Bins are equally wide. The error is the mean over bins, by weight, of how far the bin's mean
        acceptance is from its share of real items. A bin without items is left out.
        """
        p = expit(self.logit / temperature)
        weight = np.broadcast_to(self.weight, p.shape)
        place = np.minimum((p * n_bins).astype(np.int64), n_bins - 1)
        cell = (bootstrap.group[:, None] * n_bins + place).ravel()
        real = np.zeros_like(p)
        real[:, 0] = 1
        n_users = bootstrap.weights.shape[1]
        accepted, taken, total = (
            np.bincount(cell, weights=(weight * part).ravel(), minlength=n_users * n_bins).reshape(
                n_users, n_bins
            )
            for part in (p, real, np.ones_like(p))
        )
        errors = np.abs(bootstrap.weights @ (accepted - taken)).sum(1) / (bootstrap.weights @ total).sum(1)
        ece = np.abs((accepted - taken).sum(0)).sum() / total.sum()
        bins = [
            {
                "from": k / n_bins,
                "to": (k + 1) / n_bins,
                "share": own / total.sum(),
                "acceptance": sums / own,
                "real": hits / own,
            }
            for k, (sums, hits, own) in enumerate(
                zip(accepted.sum(0).tolist(), taken.sum(0).tolist(), total.sum(0).tolist(), strict=True)
            )
            if own
        ]
        return {
            "ece": interval(ece, errors),
            "log_loss": bootstrap.mean(self.log_loss(temperature)),
            "bins": bins,
        }
