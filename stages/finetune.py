"""The pre-trained policy fine-tuned by the rectified policy gradient, with a simulator as its users."""

from pathlib import Path

from prorl.config.decoding import Decoding
from prorl.config.finetune import Finetune
from prorl.config.logging import Logging
from prorl.config.policy import Policy
from prorl.evaluation.judge import Judge
from prorl.files import write_json
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import user_sequences
from prorl.policy.checkpoints import IDS_FILE, load_policy, save_policy
from prorl.policy.guide import PolicyGuide
from prorl.policy.released import load_released
from prorl.prompts import Prompts
from prorl.rl.rollouts import PromptSource
from prorl.rl.trainer import finetune
from prorl.runtime import derived_seed, run_stage
from prorl.simulators.scoring import load_simulator
from prorl.tables import INTERACTIONS, ITEMS, read_instances, read_table
from prorl.training import Checkpoint, process, tensorboard_folder


def body(params: Params, dataset: str) -> None:
    settings, decoding, logging = (
        params.section(Finetune, dataset),
        params.section(Decoding),
        params.section(Logging),
    )
    prepared, instances, reports = (
        Path("data/prepared") / dataset,
        Path("data/instances") / dataset,
        Path("reports") / dataset,
    )
    policies, simulator_folder = (
        Path("models/policies") / dataset,
        Path("models/simulators") / dataset / settings.simulator,
    )
    start = Path(settings.init_from) if settings.init_from else policies / "pretrained"
    if start.suffix == ".pth":
        semantic_ids = Path("data/semantic_ids") / dataset / IDS_FILE
        policy, catalogue = load_released(start, params.section(Policy, dataset), semantic_ids, decoding)
    else:
        semantic_ids = start / IDS_FILE
        policy, catalogue = load_policy(start, decoding)
    train, validation = (read_instances(instances / f"{split}.parquet") for split in ("train", "validation"))
    inputs = [
        prepared,
        instances / "train.parquet",
        instances / "validation.parquet",
        simulator_folder,
        start,
        semantic_ids,
    ]
    checkpoint = Checkpoint(
        f"finetune-{dataset}", inputs, settings, decoding, params.seed, params.training_seed, script=__file__
    )

    device = process().device
    simulator = load_simulator(simulator_folder).to(device)
    sequences = user_sequences(read_table(prepared / "interactions.parquet", INTERACTIONS))
    words = attribute_words(read_table(prepared / "items.parquet", ITEMS)["attributes"], ignored=[])
    prompts = Prompts.of(validation, device).sample(
        settings.validation_prompts, derived_seed(params.seed, "validation prompts")
    )
    batch_size = settings.prompts_per_step * settings.n_rollouts
    judge = Judge(
        prompts,
        {settings.simulator: simulator},
        words,
        decoding.max_length,
        len(prompts),
        batch_size,
        params.seed,
    )
    on_device = catalogue.to(device)
    training = finetune(
        policy,
        catalogue,
        simulator,
        PromptSource(
            train,
            sequences,
            simulator.n_items,
            settings.targets,
            settings.prompts_per_step,
            params.training_seed,
        ),
        settings,
        lambda current: judge.greedy_means(PolicyGuide(current, on_device, settings.precision))[
            settings.simulator
        ],
        params.training_seed,
        checkpoint,
        reports / "curves/finetune",
        logging.every_seconds,
        tensorboard_folder(logging, f"finetune@{dataset}"),
    )
    if not process().is_main_process:  # of several that train, one writes
        return
    save_policy(policies / "prorl", policy, catalogue, semantic_ids)
    write_json(reports / "finetune.json", training)
    checkpoint.remove()


if __name__ == "__main__":
    run_stage("finetune", body)
