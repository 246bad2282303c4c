"""Guides times simulators on the test prompts, towards random and harder targets.

The only stage that reads the test split.
"""

from prorl.config.decoding import Decoding
from prorl.config.evaluate import Evaluate
from prorl.config.guardrails import Guardrails
from prorl.config.guide import Guide
from prorl.config.heads import POLICIES
from prorl.config.logging import Logging
from prorl.devices import own_device
from prorl.evaluation.evaluate import evaluate
from prorl.evaluation.frontier import frontier
from prorl.evaluation.judge import Judge
from prorl.evaluation.targets import percentile_targets
from prorl.files import atomic_file, write_json
from prorl.guide import GuideContext
from prorl.guides.data import guide_data
from prorl.guides.registry import build_guides
from prorl.items.blocked import blocked_items
from prorl.layout import Layout
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import user_sequences
from prorl.policy.guide import PolicyGuide
from prorl.prompts import Prompts
from prorl.runtime import run_stage
from prorl.simulators.protocol import ranking
from prorl.simulators.registry import own_class
from prorl.simulators.scoring import load_simulator
from prorl.tables import INTERACTIONS, ITEMS, read_instances, read_table


def body(params: Params, dataset: str) -> None:
    """Judge all guides."""
    settings, layout, device = params.section(Evaluate, dataset), Layout(dataset), own_device()
    items = read_table(layout.items, ITEMS)
    blocked = blocked_items(items.to_pandas(), params.section(Guardrails, dataset), params.source)
    decoding = params.section(Decoding).blocking(blocked)
    simulators = {
        name: load_simulator(layout.simulator(name), own_class(params, dataset, name), device)
        for name in params.simulators
    }
    words = attribute_words(items["attributes"], ignored=[])
    context = GuideContext(
        simulators,
        decoding,
        words,
        guide_data(layout),
        device,
        settings.precision,
        params.seed,
        params.source,
        layout.guides,
    )
    guides = {
        **{n: PolicyGuide.load(layout.policy(n), decoding, device, settings.precision) for n in POLICIES},
        **build_guides(params.guides, params.section(Guide), context),
    }
    prompts = Prompts.of(read_instances(layout.instances("test")), device)
    harder = {}
    if settings.target_percentiles:
        sequences = user_sequences(read_table(layout.interactions, INTERACTIONS))
        first = params.simulators[0]
        ranks = ranking(simulators[first], first, "evaluate.target_percentiles")
        harder = percentile_targets(ranks, prompts, sequences, settings.target_percentiles)
    judge = Judge(
        prompts,
        simulators,
        words,
        decoding.max_length,
        settings.diversity_pairs,
        settings.batch_size,
        params.seed,
    )
    evaluation = evaluate(guides, judge, harder, settings, params.section(Logging).every_seconds, blocked)
    with atomic_file(layout.per_prompt) as temporary:
        evaluation.per_prompt.to_parquet(temporary, index=False)
    write_json(layout.metrics("comparison"), evaluation.comparison)
    write_json(layout.metrics("evaluation"), evaluation.results)
    write_json(layout.metrics("frontier"), frontier(guides, judge))


if __name__ == "__main__":
    run_stage("evaluate", body)
