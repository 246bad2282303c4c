"""Policies times simulators on the test prompts, towards random and harder targets.

The only stage that reads the test split.
"""

from pathlib import Path

from accelerate import PartialState

from prorl.config.decoding import Decoding
from prorl.config.evaluate import Evaluate
from prorl.config.logging import Logging
from prorl.config.section import ConfigError
from prorl.evaluation.evaluate import Judge, evaluate
from prorl.evaluation.prompts import JudgedPrompts
from prorl.evaluation.targets import percentile_targets
from prorl.files import atomic_file, write_json
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import user_sequences
from prorl.policy.checkpoints import load_policy
from prorl.policy.decoding import PolicyGuide
from prorl.runtime import run_stage
from prorl.simulators.scoring import load_simulator
from prorl.tables import INTERACTIONS, ITEMS, DataError, read_instances, read_table


def body(params: Params, dataset: str) -> None:
    settings, decoding = params.section(Evaluate, dataset), params.section(Decoding)
    reports, device = Path("reports") / dataset, PartialState().device
    own = {name: f"models/policies/{dataset}/{name}" for name in ("pretrained", "prorl")}
    if taken := own.keys() & settings.policies.keys():
        raise ConfigError(
            f"{params.source}: evaluate.policies: the name {min(taken)!r} is that of a policy of the pipeline"
        )
    simulators = {
        name: load_simulator(Path("models/simulators") / dataset / name).to(device)
        for name in params.simulators
    }
    guides = {}
    for name, folder in (own | settings.policies).items():
        policy, catalogue = load_policy(Path(folder), decoding)
        for simulator, users in simulators.items():
            if catalogue.trie.n_items != users.n_items:
                raise DataError(
                    f"{folder}: a policy over {catalogue.trie.n_items} items; simulator {simulator} has {users.n_items}"
                )
        guides[name] = PolicyGuide(policy.to(device).eval(), catalogue.to(device), settings.precision)
    words = attribute_words(
        read_table(Path("data/prepared") / dataset / "items.parquet", ITEMS)["attributes"], ignored=[]
    )
    prompts = JudgedPrompts.of(read_instances(Path("data/instances") / dataset / "test.parquet"), device)
    harder = {}
    if settings.target_percentiles:
        sequences = user_sequences(
            read_table(Path("data/prepared") / dataset / "interactions.parquet", INTERACTIONS)
        )
        ranking = simulators[params.simulators[0]]
        targets = percentile_targets(
            ranking, prompts.history, prompts.user, sequences, settings.target_percentiles
        )
        harder = {
            f"target@{percentile}": target
            for percentile, target in zip(settings.target_percentiles, targets, strict=True)
        }
    judge = Judge(
        prompts,
        simulators,
        words,
        decoding.max_length,
        settings.diversity_pairs,
        settings.batch_size,
        params.seed,
    )
    evaluation = evaluate(guides, judge, harder, settings, params.section(Logging).every_seconds)
    with atomic_file(Path("data/evaluation") / dataset / "per_prompt.parquet") as temporary:
        evaluation.per_prompt.to_parquet(temporary, index=False)
    write_json(reports / "comparison.json", evaluation.comparison)
    write_json(reports / "evaluation.json", evaluation.results)


if __name__ == "__main__":
    run_stage("evaluate", body)
