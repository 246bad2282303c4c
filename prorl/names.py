"""The registries that `prorl.check` looks names up in, by the setting that holds the names.

Importing this imports torch and RecBole, which takes seconds.
"""

from typing import Any

from prorl.check import Registries, findings_in
from prorl.config.section import ConfigError
from prorl.datasets import DATASETS
from prorl.metrics.registry import METRICS
from prorl.params import params_of
from prorl.rl.estimators import ESTIMATORS
from prorl.rl.rewards import REWARDS
from prorl.semantic_ids.quantisers import QUANTISERS
from prorl.simulators.registry import SIMULATORS, simulator_entry

REGISTRIES: Registries = {
    "simulators": SIMULATORS,
    "fetch.source": DATASETS,
    "quantize.method": QUANTISERS,
    "pretrain.select_on": METRICS,
    "finetune.estimator": ESTIMATORS,
    "finetune.weights": REWARDS,
    "finetune.select_on": METRICS,
    "selection.on": METRICS,
}


def every_finding(raw: dict[str, Any], source: str) -> list[str]:
    """Every mistake in the values `raw` of params.yaml, a line each; messages name them `source`.

    Names are looked up in `REGISTRIES`, and the classes of the user's own simulators are imported.
    """
    if found := findings_in(raw, source, REGISTRIES):
        return found
    params = params_of(raw, source)
    for dataset in params.datasets:
        for name in params.simulators:
            try:
                simulator_entry(params, dataset, name)
            except ConfigError as error:
                found.append(str(error))
    return list(dict.fromkeys(found))
