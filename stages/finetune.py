"""The pre-trained policy fine-tuned by the rectified policy gradient, with a simulator as its users."""

from pathlib import Path

from prorl.config.decoding import Decoding
from prorl.config.finetune import Finetune
from prorl.config.logging import Logging
from prorl.config.policy import Policy
from prorl.devices import own_device, process
from prorl.evaluation.judge import Judge
from prorl.files import write_json
from prorl.instances import read_instances
from prorl.layout import IDS_FILE, Layout
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import read_sequences
from prorl.policy.checkpoints import save_policy
from prorl.policy.guide import PolicyGuide
from prorl.policy.released import load_start, require_same_items
from prorl.prompts import Prompts
from prorl.rl.collapse import BEST_OF
from prorl.rl.rollouts import PromptSource
from prorl.rl.trainer import finetune
from prorl.runtime import derived_seed, run_stage
from prorl.simulators.registry import own_class
from prorl.simulators.scoring import load_simulator
from prorl.t5.model import T5
from prorl.tables import ITEMS, read_table
from prorl.training import Session


def body(params: Params, dataset: str) -> None:
    settings, sizes = params.section(Finetune, dataset), params.section(Policy, dataset)
    decoding, logging = params.section(Decoding), params.section(Logging)
    layout = Layout(dataset)
    folder = layout.simulator(settings.simulator)
    start = Path(settings.init_from) if settings.init_from else layout.policy("pretrained")
    own_ids = layout.semantic_ids / IDS_FILE
    policy, catalogue, semantic_ids = load_start(start, sizes, own_ids, decoding)
    inputs = [layout.prepared, *map(layout.instances, ("train", "validation")), folder, start, semantic_ids]
    seeds = params.seed, params.training_seed
    session = Session.of(layout, "finetune", __file__, inputs, [settings, sizes, decoding, *seeds], logging)

    device = own_device()
    simulator = load_simulator(folder, own_class(params, dataset, settings.simulator), device)
    require_same_items(start, catalogue, simulator.n_items, settings.simulator)
    train, validation = (read_instances(layout.instances(split)) for split in ("train", "validation"))
    words = attribute_words(read_table(layout.items, ITEMS)["attributes"], ignored=[])
    sequences = read_sequences(layout.interactions)
    source = PromptSource(
        train, sequences, simulator.n_items, settings.targets, settings.prompts_per_step, params.training_seed
    )
    prompts = Prompts.of(validation, device).sample(
        settings.validation_prompts, derived_seed(params.seed, "validation prompts")
    )
    judge = Judge(
        prompts,
        {settings.simulator: simulator},
        words,
        decoding.max_length,
        len(prompts),
        settings.prompts_per_step * settings.n_rollouts,
        params.seed,
    )
    on_device = catalogue.to(device)
    sampled = settings.stop_on_collapse is not None and settings.stop_on_collapse.best_of is not None

    def validate(current: T5) -> dict[str, float]:
        guide = PolicyGuide(current, on_device, settings.precision)
        means = judge.greedy_means(guide)[settings.simulator]
        if sampled:
            means[BEST_OF] = judge.best_of_means(guide, settings.n_rollouts)[settings.simulator]
        return means

    training = finetune(
        policy,
        catalogue,
        simulator,
        words,
        source,
        validate,
        settings,
        params.training_seed,
        session,
    )
    if not process().is_main_process:  # of several that train, one writes
        return
    save_policy(layout.policy("prorl"), policy, catalogue, semantic_ids)
    write_json(layout.metrics("finetune"), training)
    session.checkpoint.remove()


if __name__ == "__main__":
    run_stage("finetune", body)
