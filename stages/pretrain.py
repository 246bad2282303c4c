"""The policy pre-trained on mined paths and on paths found by search on a simulator."""

from pathlib import Path

import torch

from prorl.config.decoding import Decoding
from prorl.config.logging import Logging
from prorl.config.policy import Policy
from prorl.config.pretrain import Pretrain
from prorl.evaluation.judge import Judge
from prorl.files import write_json
from prorl.guides.search import SearchGuide
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import user_sequences
from prorl.policy.checkpoints import IDS_FILE, load_catalogue, save_policy
from prorl.policy.guide import PolicyGuide
from prorl.policy.pretraining import pretrain
from prorl.prompts import Prompts, mined, random_prompts
from prorl.runtime import derived_seed, run_stage
from prorl.simulators.scoring import load_simulator
from prorl.t5.model import T5, T5Sizes
from prorl.tables import INTERACTIONS, ITEMS, read_instances, read_table
from prorl.training import Checkpoint, process, tensorboard_folder


def body(params: Params, dataset: str) -> None:
    settings, sizes, decoding = (
        params.section(Pretrain, dataset),
        params.section(Policy, dataset),
        params.section(Decoding),
    )
    logging = params.section(Logging)
    every_seconds = logging.every_seconds
    prepared, instances, reports = (
        Path("data/prepared") / dataset,
        Path("data/instances") / dataset,
        Path("reports") / dataset,
    )
    semantic_ids, simulator_folder = (
        Path("data/semantic_ids") / dataset / IDS_FILE,
        Path("models/simulators") / dataset / settings.simulator,
    )
    inputs = [
        prepared,
        instances / "train.parquet",
        instances / "validation.parquet",
        semantic_ids,
        simulator_folder,
    ]
    checkpoint = Checkpoint(
        f"pretrain-{dataset}",
        inputs,
        settings,
        sizes,
        decoding,
        params.seed,
        params.training_seed,
        script=__file__,
    )

    simulator = load_simulator(simulator_folder)
    words = attribute_words(read_table(prepared / "items.parquet", ITEMS)["attributes"], ignored=[])
    search = SearchGuide(simulator, decoding, settings.search_candidates, settings.search_weights, words)
    sequences = user_sequences(read_table(prepared / "interactions.parquet", INTERACTIONS))
    mined_from = {split: read_instances(instances / f"{split}.parquet") for split in ("train", "validation")}
    demonstrations = {
        split: {"mined": mined(part, decoding.max_length)} for split, part in mined_from.items()
    }
    shares = (
        {"mined": 1 - settings.search_share, "search": settings.search_share}
        if settings.search_paths
        else {"mined": 1.0}
    )
    if settings.search_paths:
        for split, n_paths in (
            ("train", settings.search_paths),
            ("validation", -(-settings.search_paths // 10)),
        ):
            seed = derived_seed(params.training_seed, "search", split)
            prompts = random_prompts(mined_from[split], sequences, simulator.n_items, n_paths, seed)
            demonstrations[split]["search"] = search.demonstrations(prompts, every_seconds)

    catalogue = load_catalogue(semantic_ids, decoding, sizes.target_tokens)
    torch.manual_seed(derived_seed(params.training_seed, "pretrain", "weights"))
    vocabulary = catalogue.vocabulary
    n_ids = vocabulary.size_with_target_tokens if sizes.target_tokens == "separate" else vocabulary.size
    policy = T5(
        T5Sizes(n_ids, sizes.n_layers, sizes.d_model, sizes.d_ff, sizes.d_kv, sizes.n_heads, sizes.dropout)
    )
    training = pretrain(
        policy,
        catalogue,
        demonstrations["train"],
        demonstrations["validation"],
        shares,
        settings,
        params.training_seed,
        checkpoint,
        reports / "curves/pretrain",
        every_seconds,
        tensorboard_folder(logging, f"pretrain@{dataset}"),
    )
    device = next(policy.parameters()).device
    prompts = Prompts.of(mined_from["validation"], device)
    judge = Judge(
        prompts,
        {settings.simulator: simulator.to(device)},
        words,
        decoding.max_length,
        len(prompts),
        settings.batch_size,
        params.seed,
    )
    validation = judge.greedy_means(PolicyGuide(policy.eval(), catalogue.to(device), settings.precision))[
        settings.simulator
    ]
    if not process().is_main_process:  # of several that train, one writes
        return
    save_policy(Path("models/policies") / dataset / "pretrained", policy, catalogue, semantic_ids)
    found = search.statistics(demonstrations["train"]["search"]) if settings.search_paths else {"paths": 0}
    write_json(reports / "pretrain.json", {**training, "search": found, "validation": validation})
    checkpoint.remove()


if __name__ == "__main__":
    run_stage("pretrain", body)
