"""Small made-up results of guides under two judges, in which the policy passes every gate."""

import numpy as np
import pandas as pd

from prorl.config.gate import Gate
from prorl.config.selection import Selection
from tests.tiny_models import PARAMS

JUDGE, HOME = "GRU4Rec", "SASRec"
N_PROMPTS = 24
SETTINGS = PARAMS.section(Gate).replace(
    strict=False,
    distinct=0.9,
    best_of=10,
    best_of_lost=0.1,
    above_start=0.0,
    above_rival=0.0,
    ctr_lost=0.02,
    agreement=0.5,
    repeats=0.0,
    coherence=0.8,
)
SELECTION = PARAMS.section(Selection).replace(simulator=JUDGE, on={"ioi": 1.0, "ctr": 10.0})
# guide -> its metrics by the main judge; the other judge ranks all alike
MEANS = {
    "pretrained": {"ioi": 2.0, "ctr": 0.90},
    "prorl": {"ioi": 3.0, "ctr": 0.91},
    "popular": {"ioi": 0.5, "ctr": 0.80},
    "search": {"ioi": 2.5, "ctr": 0.90},
    "steered": {"ioi": 9.0, "ctr": 0.95},
}
STEERED_BY = {"search": [HOME], "steered": [JUDGE, HOME], "popular": []}


def rows_of(changes=None):
    """The table of `evaluate`: two prompts of each user, all guides, both judges.

    `changes`: {(guide, column): what its values are shifted by, or a function of the prompts' numbers}; a
    path is changed as a whole.
    """
    noise = np.random.default_rng(0).normal(0, 0.02, N_PROMPTS)
    number = np.arange(N_PROMPTS)
    parts = []
    for guide, means in MEANS.items():
        for judge in (HOME, JUDGE):
            columns = {
                "ioi": means["ioi"] + noise,
                "ctr": means["ctr"] + noise / 10,
                "distinct": np.ones(N_PROMPTS),
                "repeats": np.zeros(N_PROMPTS),
                "coherence": 0.9 + noise / 10,
                "rollout@10/ioi": means["ioi"] + 1 + noise if guide in ("pretrained", "prorl") else np.nan,
                "path": [[1 + n, 2 + n, 3 + n] for n in number],
            }
            for (changed, column), change in (changes or {}).items():
                if changed == guide and column == "path":
                    columns[column] = change
                elif changed == guide:
                    columns[column] = columns[column] + (change(number) if callable(change) else change)
            parts.append(
                pd.DataFrame(
                    {
                        "policy": guide,
                        "simulator": judge,
                        "prompt": number,
                        "user": 1 + number // 2,
                        **columns,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def validation_of(changes=None):
    """Means on validation prompts, as `evaluate` writes them; `changes`: {guide: {metric: mean}}."""
    means = {guide: own | (changes or {}).get(guide, {}) for guide, own in MEANS.items()}
    return {
        guide: {
            judge: {metric: {"mean": mean, "low": mean, "high": mean} for metric, mean in own.items()}
            for judge in (HOME, JUDGE)
        }
        for guide, own in means.items()
    }
