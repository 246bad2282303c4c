"""The registries that `prorl.check` looks names up in, by the setting that holds the names.

Importing this imports torch and RecBole, which takes seconds.
"""

from prorl.check import Registries
from prorl.datasets import DATASETS
from prorl.metrics.registry import METRICS
from prorl.rl.estimators import ESTIMATORS
from prorl.rl.rewards import REWARDS
from prorl.semantic_ids.quantisers import QUANTISERS
from prorl.simulators.registry import SIMULATORS

REGISTRIES: Registries = {
    "simulators": SIMULATORS,
    "fetch.source": DATASETS,
    "quantize.method": QUANTISERS,
    "finetune.estimator": ESTIMATORS,
    "finetune.weights": REWARDS,
    "finetune.select_on": METRICS,
}
