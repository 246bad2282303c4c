"""The headline numbers of one data set, few enough that two commits are compared on one screen.

They are what DVC knows as metrics; all others stand in the stages' own JSON files.
"""

from typing import Any

from prorl.errors import DataError
from prorl.metrics.registry import decimals_of
from prorl.reports.inputs import ReportInputs

# Guides shown beside `prorl`. Names are short, and numbers have few decimals, one more than in tables, so
# that a line of `dvc metrics diff` has 80 characters at most.
COMPARED = {"start": "pretrained", "search": "search"}


def summary(inputs: ReportInputs, simulators: list[str]) -> dict[str, Any]:
    """Numbers by name, nested; all of guides and simulators are those of test users.

    `prorl`: IoI, IoR and CTR under every one of `simulators`, Coherence, and the share of distinct paths.
    `start`, the pre-trained policy, and `search`, where evaluated: IoI and CTR under the first simulator, and
    Coherence.
    `mrr@10`: by simulator. `instances`: those to train on. `distinct_codes`: different codes among all items,
    without the final code.
    Raises `DataError` where evaluation or training lacks one of `simulators`.
    """
    for name in simulators:
        if name not in inputs.evaluation["prorl"] or name not in inputs.simulators:
            raise DataError(
                f"reports of {inputs.dataset}: nothing about simulator {name!r}; run the stages again"
            )
    first, quantized = simulators[0], inputs.quantize
    prorl = {name: _means(inputs, "prorl", name, "ioi", "ior", "ctr") for name in simulators}
    compared = {
        name: {first: _means(inputs, guide, first, "ioi", "ctr")} | _means(inputs, guide, first, "coherence")
        for name, guide in COMPARED.items()
        if guide in inputs.evaluation
    }
    return {
        "prorl": prorl | _means(inputs, "prorl", first, "coherence", "distinct"),
        **compared,
        "mrr@10": {name: round(inputs.simulators[name]["test"]["mrr@10"], 4) for name in simulators},
        "instances": inputs.mine["instances"]["train"],
        "distinct_codes": round(quantized["distinct_share"] * quantized["items"]),
    }


def _means(inputs: ReportInputs, guide: str, simulator: str, *metrics: str) -> dict[str, float]:
    judged = inputs.evaluation[guide][simulator]
    return {metric: round(judged[metric]["mean"], decimals_of(metric) + 1) for metric in metrics}
