"""Guides times simulators on the test prompts, towards random and harder targets.

The only stage that reads the test split.
"""

from collections.abc import Mapping

from prorl.config.decoding import Decoding
from prorl.config.evaluate import Evaluate
from prorl.config.guardrails import Guardrails
from prorl.config.heads import POLICIES
from prorl.config.logging import Logging
from prorl.config.selection import Selection
from prorl.devices import own_device
from prorl.evaluation.evaluate import Kept, evaluate, greedy_results, timed
from prorl.evaluation.fitting import validation_prompts
from prorl.evaluation.frontier import frontier
from prorl.evaluation.judge import Judge
from prorl.evaluation.judged import MILLISECONDS
from prorl.evaluation.kept import Store, digest
from prorl.evaluation.made_from import of_data, of_guide, of_policy, of_simulator
from prorl.evaluation.precision import chosen
from prorl.evaluation.targets import percentile_targets
from prorl.files import atomic_file, read_json, write_json
from prorl.guide import GuideContext
from prorl.guides.data import guide_data
from prorl.guides.registry import own_kinds, written_guides
from prorl.instances import read_instances
from prorl.items.blocked import blocked_items
from prorl.layout import Layout
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import read_sequences
from prorl.policy.guide import PolicyGuide
from prorl.prompts import Prompts
from prorl.runtime import run_stage
from prorl.simulators.protocol import ranking
from prorl.simulators.registry import own_class
from prorl.simulators.scoring import load_simulator
from prorl.tables import ITEMS, read_table


def body(params: Params, dataset: str) -> None:
    """Judge all guides."""
    settings, every_seconds = params.section(Evaluate, dataset), params.section(Logging).every_seconds
    layout, device = Layout(dataset), own_device()
    precision = chosen(settings.precision, device)
    items = read_table(layout.items, ITEMS)
    blocked = blocked_items(items.to_pandas(), params.section(Guardrails, dataset), params.source)
    decoding = params.section(Decoding).blocking(blocked)
    classes = {name: own_class(params, dataset, name) for name in params.simulators}
    simulators = {name: load_simulator(layout.simulator(name), own, device) for name, own in classes.items()}
    words = attribute_words(items["attributes"], ignored=[])
    data = guide_data(layout)
    context = GuideContext(
        simulators,
        decoding,
        words,
        data,
        device,
        precision,
        params.seed,
        params.source,
        layout.guides,
    )
    policies = {n: PolicyGuide.load(layout.policy(n), decoding, device, precision) for n in POLICIES}
    others = written_guides(params.guides, context, own_kinds(params))
    guides = {**policies, **{name: guide for name, (_, guide) in others.items()}}

    of_simulators = {name: of_simulator(layout, name, own) for name, own in classes.items()}
    rules, of_tables = [decoding, precision, params.seed, device.type], of_data(layout)
    of_guides = {name: digest(of_policy(layout, name), rules) for name in POLICIES}
    for name, (named, _) in others.items():
        made_from = of_guide(named, named.options[0], of_tables, of_simulators)
        of_guides[name] = digest(made_from, layout.guide(name), rules)
    kept = Kept(Store(layout.kept_judgements), of_guides, of_simulators)

    def judge_of(prompts: Prompts) -> Judge:
        return Judge(
            prompts,
            simulators,
            words,
            decoding.max_length,
            settings.diversity_pairs,
            settings.batch_size,
            params.seed,
        )

    prompts = Prompts.of(read_instances(layout.instances("test")), device)
    harder = {}
    if settings.target_percentiles:
        sequences = read_sequences(layout.interactions)
        first = params.simulators[0]
        ranks = ranking(simulators[first], first, "evaluate.target_percentiles")
        harder = percentile_targets(ranks, prompts, sequences, settings.target_percentiles)
    judge = judge_of(prompts)
    evaluation = evaluate(guides, judge, harder, settings, every_seconds, kept, blocked)
    with atomic_file(layout.per_prompt) as temporary:
        evaluation.per_prompt.to_parquet(temporary, index=False)
    write_json(layout.metrics("comparison"), evaluation.comparison)
    write_json(layout.metrics("evaluation"), evaluation.results)
    write_json(layout.metrics("lengths"), evaluation.lengths)
    write_json(layout.metrics("frontier"), frontier(guides, judge, kept))
    validation = judge_of(
        validation_prompts(data.validation, params.section(Selection), params.seed).to(device)
    )
    results = greedy_results(guides, validation, settings, every_seconds, kept)
    write_json(layout.metrics("validation"), results)
    record_times(layout, timed(guides, judge, kept))


def record_times(layout: Layout, milliseconds: Mapping[str, float]) -> None:
    """Put milliseconds per prompt into runtime.json, which belongs to one machine."""
    runtime = read_json(layout.runtime) if layout.runtime.exists() else {}
    runtime[MILLISECONDS] = {name: round(value, 3) for name, value in milliseconds.items()}
    write_json(layout.runtime, runtime)


if __name__ == "__main__":
    run_stage("evaluate", body)
