"""Simulators by this project's trainer and by RecBole's own, side by side, on the data of `make repro`.

    python -m benchmarks.trainer_parity [--quick] [--results <folder>] [--simulators <name> ..] [--epochs <n>]

Both train on the same users, from the same settings, and stop by the last item of the same validation users;
`--epochs` bounds both. Time is that of training and validations. Then both judge the same paths, those that
the fine-tuned policy writes for the validation prompts: whoever trains a judge, its verdict should be much
the same. RecBole makes a padded row of every prefix, which takes many times as long.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Options, command_line, prepare, publish
from benchmarks.models import DATASET, TINY_SASREC, tiny_models
from benchmarks.simulator_training import SEED, Until, sequences_of
from prorl.config.decoding import Decoding
from prorl.config.simulator import Simulator
from prorl.evaluation.judge import greedy_paths
from prorl.instances import read_instances
from prorl.layout import Layout
from prorl.metrics.judging import judged_metrics
from prorl.params import read_params
from prorl.paths.mining import attribute_words
from prorl.paths.sequences import Sequences, user_sequences
from prorl.policy.guide import PolicyGuide
from prorl.prompts import Prompts
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.recbole_training import fit_by_recbole
from prorl.simulators.training import last_item_ranks, train_simulator
from prorl.simulators.windows import of_users
from prorl.tables import INTERACTIONS, ITEMS, SPLITS, USER_SPLITS, read_frame, read_table
from prorl.training import Session

TITLE = "Simulators by our trainer and by RecBole's own"
JUDGED = ("ioi", "ctr")
BATCH_SIZE = 512


@dataclass(frozen=True)
class Setting:
    """Users' sequences by split, the number of items, settings, and paths [p, t] of prompts to judge."""

    sequences: dict[str, Sequences]
    n_items: int
    simulator: Simulator
    prompts: Prompts
    paths: torch.Tensor
    attribute_words: np.ndarray


@dataclass(frozen=True)
class Result:
    """One trainer's simulator, its seconds, and its best epoch among how many."""

    simulator: Any
    seconds: float
    best_epoch: int
    epochs: int


def main() -> None:
    """Train all simulators both ways, judge by them, and store the table."""
    parser = command_line(TITLE)
    parser.add_argument("--simulators", nargs="+", default=read_params().simulators, metavar="NAME")
    parser.add_argument("--epochs", type=int, metavar="N", help="at most; those of params.yaml otherwise")
    arguments = parser.parse_args()
    options = prepare(TITLE, arguments)
    chosen = setting(options)
    if arguments.epochs is not None:
        chosen = Setting(**{**vars(chosen), "simulator": chosen.simulator.replace(epochs=arguments.epochs)})
    head = ("simulator", "trainer", "MRR@10, validation / test", "Recall@10, validation / test")
    lines = [
        f"| {' | '.join((*head, 'best epoch', 'seconds', 'IoI', 'CTR'))} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    notes = []
    for name in arguments.simulators:
        results = {"**ours**": by_ours(name, chosen), "RecBole's Trainer": by_recbole(name, chosen)}
        judged = judge(chosen, {trainer: result.simulator for trainer, result in results.items()})
        for trainer, result in results.items():
            lines.append(row(name, trainer, result, judged[trainer], chosen))
            print(lines[-1], flush=True)
        ours, theirs = (judged[trainer]["ioi"] for trainer in results)
        seconds = [result.seconds for result in results.values()]
        notes.append(
            f"- {name}: IoI of the same paths correlates by {np.corrcoef(ours, theirs)[0, 1]:.3f}; "
            f"RecBole's Trainer takes {seconds[1] / seconds[0]:.1f} times as long"
        )
    users = ", ".join(f"{len(own)} {split}" for split, own in chosen.sequences.items())
    notes.append(f"- {users} users, {chosen.n_items} items; {len(chosen.paths)} paths judged")
    publish(TITLE, [*lines, "", *notes], options)


def setting(options: Options) -> Setting:
    """What to train and judge on; ends the process where `make repro` has not made it yet."""
    settings = read_params().section(Simulator, DATASET)
    if options.quick:
        models = tiny_models(options.device)
        steps = np.random.default_rng(0).integers(1, 3, 40 * 12)
        users = sequences_of(np.repeat(np.arange(40), 12), np.cumsum(steps) % models.simulator.n_items)
        parts = zip(SPLITS, np.split(np.arange(1, 41), [30, 35]), strict=True)
        prompts = models.numbered_prompts(len(models.target))
        guide, words = PolicyGuide(models.policy, models.catalogue), models.attribute_words.cpu().numpy()
        return Setting(
            {split: of_users(users, own) for split, own in parts},
            models.simulator.n_items,
            settings.replace(max_length=20, epochs=1, SASRec=TINY_SASREC),
            prompts,
            greedy_paths(guide, prompts, models.catalogue.decoding.max_length, BATCH_SIZE),
            words.view(np.uint64),
        )
    layout, decoding = Layout(DATASET), read_params().section(Decoding)
    for path in (layout.interactions, layout.splits, layout.instances("validation"), layout.policy("prorl")):
        if not path.exists():
            sys.exit(f"{path}: no such file or folder; `make repro` makes what this benchmark uses")
    sequences = user_sequences(read_frame(layout.interactions, INTERACTIONS))
    users = read_frame(layout.splits, USER_SPLITS)
    items = read_table(layout.items, ITEMS)
    prompts = Prompts.of(read_instances(layout.instances("validation")), options.device)
    guide = PolicyGuide.load(layout.policy("prorl"), decoding, options.device, "float32")
    return Setting(
        {split: of_users(sequences, users.user[users.split == split].to_numpy()) for split in SPLITS},
        len(items),
        settings,
        prompts,
        greedy_paths(guide, prompts, decoding.max_length, BATCH_SIZE),
        attribute_words(items["attributes"], ignored=[]),
    )


def by_ours(name: str, chosen: Setting) -> Result:
    """Simulator `name` by this project's trainer."""
    with tempfile.TemporaryDirectory() as folder:
        session = Session(f"simulator/{name}", Until(Path(folder), inf), Path(folder) / "curves", 15)
        data = chosen.sequences["train"], chosen.sequences["validation"], chosen.n_items
        started = time.perf_counter()
        simulator, trained = train_simulator(name, *data, chosen.simulator, SEED, session)
        return Result(simulator, time.perf_counter() - started, trained["best_epoch"], trained["epochs"])


def by_recbole(name: str, chosen: Setting) -> Result:
    """Simulator `name` by RecBole's Trainer."""
    data = chosen.sequences["train"], chosen.sequences["validation"], chosen.n_items
    trained = fit_by_recbole(name, *data, chosen.simulator, SEED)
    return Result(trained.simulator, trained.seconds, trained.best_epoch, len(trained.mrr))


def judge(chosen: Setting, simulators: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """{trainer: {metric: [p]}} of the same paths."""
    device = chosen.prompts.target.device
    judged = judged_metrics(
        JUDGED,
        {name: simulator.to(device) for name, simulator in simulators.items()},
        chosen.prompts,
        chosen.paths[:, None],
        chosen.attribute_words,
        n_pairs=1,
        seed=SEED,
        batch_size=BATCH_SIZE,
    )
    return {name: {metric: own[:, 0] for metric, own in metrics.items()} for name, metrics in judged.items()}


def row(name: str, trainer: str, result: Result, judged: dict[str, np.ndarray], chosen: Setting) -> str:
    """The row of one trainer."""
    metrics = [
        ranking_metrics(last_item_ranks(result.simulator, own, chosen.simulator.max_length))
        for own in (chosen.sequences["validation"], chosen.sequences["test"])
    ]
    cells = [name, trainer]
    cells += [" / ".join(f"{own[metric]:.4f}" for own in metrics) for metric in ("mrr@10", "recall@10")]
    cells += [f"{result.best_epoch} of {result.epochs}", f"{result.seconds:.1f}"]
    return f"| {' | '.join([*cells, *(f'{judged[metric].mean():.3f}' for metric in JUDGED)])} |"


if __name__ == "__main__":
    main()
