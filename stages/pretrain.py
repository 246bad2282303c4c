"""The policy pre-trained on mined paths, on a search's paths, and on its own as the search corrects them."""

import numpy as np
import torch

from prorl.config.decoding import Decoding
from prorl.config.logging import Logging
from prorl.config.policy import Policy, ctr_factor
from prorl.config.pretrain import Pretrain, SearchedPaths
from prorl.config.section import Precision
from prorl.devices import own_device, process
from prorl.evaluation.judge import Judge
from prorl.files import write_json
from prorl.guides.beam import BeamSearchGuide
from prorl.guides.lookahead import LookaheadGuide
from prorl.guides.search import SearchGuide
from prorl.instances import read_instances
from prorl.layout import IDS_FILE, Layout
from prorl.params import Params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import read_sequences
from prorl.policy.catalogue import Catalogue
from prorl.policy.checkpoints import load_catalogue, save_policy
from prorl.policy.guide import PolicyGuide
from prorl.policy.initial import new_policy
from prorl.policy.pretraining import in_steps, pretrain
from prorl.policy.sources import Search, Writer, mixture
from prorl.prompts import Demonstrations, Prompts
from prorl.runtime import derived_seed, run_stage
from prorl.simulators.protocol import BranchingSimulator, branching, vectors_of
from prorl.simulators.registry import own_class
from prorl.simulators.scoring import load_simulator
from prorl.t5.model import T5
from prorl.tables import ITEMS, read_table
from prorl.training import Session


def body(params: Params, dataset: str) -> None:
    settings, sizes = params.section(Pretrain, dataset), params.section(Policy, dataset)
    decoding, logging = params.section(Decoding), params.section(Logging)
    layout = Layout(dataset)
    folder, semantic_ids = layout.simulator(settings.simulator), layout.semantic_ids / IDS_FILE
    inputs = [layout.prepared, *map(layout.instances, ("train", "validation")), semantic_ids, folder]
    seeds = params.seed, params.training_seed
    session = Session.of(layout, "pretrain", __file__, inputs, [settings, sizes, decoding, *seeds], logging)

    name = settings.simulator
    device = own_device()
    simulator = load_simulator(folder, own_class(params, dataset, name), device)
    words = attribute_words(read_table(layout.items, ITEMS)["attributes"], ignored=[])
    asked, teacher = settings.search, None
    if asked.share:  # else any simulator will do
        searched = branching(simulator, name, f"{params.source}: pretrain.simulator")
        teacher = teacher_on(searched, decoding, asked, words)
    train, validation = (read_instances(layout.instances(split)) for split in ("train", "validation"))
    in_full = in_steps(settings, len(train))
    catalogue = load_catalogue(
        semantic_ids, decoding, sizes.target_tokens, sizes.acceptances, sizes.acceptance, sizes.identifiers
    )
    vectors = None
    if sizes.embeddings == "simulator":
        vectors = vectors_of(simulator, name, f"{params.source}: policy.embeddings simulator")
    policy = new_policy(sizes, catalogue, params.training_seed, vectors)
    demonstrations = mixture(
        train,
        validation,
        read_sequences(layout.interactions),
        simulator.n_items,
        decoding.max_length,
        in_full,
        params.training_seed,
        None if teacher is None else demonstrating(teacher, asked, sizes, device),
        catalogue.acceptance_at,
        logging.every_seconds,
        session.checkpoint,
        writing(policy, catalogue.to(device), settings.precision),
    )
    prompts = Prompts.of(validation, device)
    some = prompts.sample(settings.validation_prompts, derived_seed(params.seed, "validation prompts"))
    on_device = catalogue.to(device)

    def judged(current: T5, users: Prompts) -> dict[str, float]:
        guide = PolicyGuide(current.eval(), on_device, settings.precision)
        size = settings.batch_size
        judge = Judge(users, {name: simulator}, words, decoding.max_length, len(users), size, params.seed)
        return judge.greedy_means(guide)[name]

    training = pretrain(
        policy,
        catalogue,
        demonstrations,
        in_full,
        params.training_seed,
        session,
        lambda current: judged(current, some),
    )
    shown = {"paths": 0}
    if teacher:
        n_fresh = (
            demonstrations.n_batches(training["steps"]) * demonstrations.counts(settings.batch_size)["search"]
        )
        shown = {"paths": n_fresh if asked.fresh else asked.paths, "fresh": asked.fresh, "share": asked.share}
        shown |= {"seen": asked.seen, "own_paths_after": asked.own_paths_after}
        shown |= teacher.statistics(demonstrations.validation["search"].to(device))
    reached = judged(policy, prompts)  # by all processes
    if not process().is_main_process:  # of several that train, one writes
        return
    save_policy(layout.policy("pretrained"), policy, catalogue, semantic_ids)
    write_json(layout.metrics("pretrain"), {**training, "search": shown, "validation": reached})
    session.checkpoint.remove()


def teacher_on(
    simulator: BranchingSimulator, decoding: Decoding, asked: SearchedPaths, words: np.ndarray
) -> SearchGuide:
    """The search on `simulator` that is `asked` for; `words` are the items' attributes as bits, [n+1, w]."""
    parts = simulator, decoding, asked.n_candidates, asked.weights, words
    if asked.teacher == "lookahead":
        return LookaheadGuide(*parts, ahead=asked.ahead)
    return BeamSearchGuide(*parts, width=asked.width) if asked.teacher == "beam" else SearchGuide(*parts)


def demonstrating(teacher: SearchGuide, asked: SearchedPaths, sizes: Policy, device: torch.device) -> Search:
    """The demonstrations of `teacher`, whose weight of CTR grows with the acceptance."""

    def search(prompts: Prompts, acceptance: float | None, followed: torch.Tensor | None) -> Demonstrations:
        own = teacher
        if acceptance is not None and sizes.acceptance is not None:
            own = teacher.weighing(ctr_factor(acceptance, sizes.acceptance))
        return own.demonstrations(prompts.to(device), asked.temperature, followed)

    return search


def writing(policy: T5, catalogue: Catalogue, precision: Precision) -> Writer:
    """The greedy paths of `policy`, as it is by then."""

    def write(prompts: Prompts, acceptance: float | None) -> torch.Tensor:
        return PolicyGuide(policy, catalogue.at(acceptance), precision).paths(prompts)

    return write


if __name__ == "__main__":
    run_stage("pretrain", body)
