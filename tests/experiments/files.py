"""Experiments made by tests."""

from prorl.experiments.definition import Experiment, read_experiment
from prorl.presets import round_trip_yaml

SMALL = {
    "title": "A title",
    "source": "where the figures stand",
    "claim": "what the paper says",
    "seeds": [1, 2],
    "targets": ["evaluate"],
    "common": ["finetune.steps=200"],
    "reference": "first",
    "metrics": ["ior", "ctr"],
    "rows": {
        "first": {"label": "First", "published": {"ior": 7}},
        "second": {"label": "Second", "set": ["finetune.gamma=0.5"]},
        "sampled": {"label": "Sampled", "policy": "pretrained", "decoding": "rollout@3"},
    },
}


def write(root, name="own", **changes) -> Experiment:
    """Write `SMALL` with `changes` as the experiment `name` of the repository at `root`; gives it as it is
    read.
    """
    (root / "experiments").mkdir(exist_ok=True)
    round_trip_yaml().dump(SMALL | changes, root / "experiments" / f"{name}.yaml")
    return read_experiment(root, name)
