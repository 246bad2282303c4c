"""Whether the policy may be released: every gate, passed or failed. Under `gate.strict` the stage fails
unless all are passed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prorl.config.evaluate import Evaluate
from prorl.config.gate import Gate
from prorl.config.guardrails import Guardrails
from prorl.config.guide import Guide
from prorl.config.heads import POLICIES
from prorl.config.selection import Selection
from prorl.errors import DataError
from prorl.evaluation.gates import columns_read, failed, gated
from prorl.evaluation.results import read_results
from prorl.files import read_json, write_json
from prorl.items.blocked import blocked_items
from prorl.layout import Layout
from prorl.params import Params
from prorl.runtime import derived_seed, run_stage
from prorl.tables import ITEMS, read_frame


def body(params: Params, dataset: str) -> None:
    """Judge the policy, and write every gate before failing for any."""
    settings, selection = params.section(Gate, dataset), params.section(Selection)
    layout = Layout(dataset)
    guides = params.section(Guide).named
    found = gated(
        read_results(
            layout.per_prompt,
            *columns_read(settings, selection),
            params.section(Evaluate, dataset).bootstrap_resamples,
            derived_seed(params.seed, "bootstrap"),
        ),
        read_json(layout.metrics("validation")),
        {name: [guides[name]["simulator"]] for name in params.guides if "simulator" in guides[name]},
        blocked_items(read_frame(layout.items, ITEMS), params.section(Guardrails, dataset), params.source),
        settings,
        selection,
        variants(guides, layout),
    )
    path = layout.metrics("gate")
    write_json(path, found)
    if short := failed(found):
        of_all = f"{len(short)} of {len(found['gates'])} gates"
        told = f"{found['policy']} does not pass {of_all}: {'; '.join(short)}"
        if settings.strict:
            raise DataError(f"{path}: gate.strict: {told}")
        print(f"gate@{dataset}: {told}")


def variants(guides: Mapping[str, Mapping[str, Any]], layout: Layout) -> list[str]:
    """The guides that are a policy of the pipeline, under other rules or told another acceptance.

    guides: {name: settings}.
    """
    own = {layout.policy(name) for name in POLICIES}
    return [
        name
        for name, settings in guides.items()
        if settings.get("kind", name) == "policy" and Path(settings.get("path", "")) in own
    ]


if __name__ == "__main__":
    run_stage("gate", body)
