"""Time to train SASRec to the validation MRR@10 of RecBole's own Trainer, on MovieLens-100K.

    python -m benchmarks.simulator_training [--quick] [--results <folder>]

RecBole trains for 6 epochs. Both train on all but the last two items of every user of the raw log, and
validate on the last but one, after every epoch, over all items. RecBole makes a padded row of every prefix;
ours takes the loss at every position of windows. Ours is timed until it first reaches RecBole's figure,
validations included. Each runs once.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.harness import Claim, Disagreement, Options, command_line, prepare, publish
from benchmarks.models import DATASET, TINY_SASREC
from prorl.checkpoint import Checkpoint
from prorl.config.simulator import Simulator
from prorl.layout import Layout
from prorl.params import read_params
from prorl.paths.sequences import Sequences
from prorl.simulators.ranking import ranking_metrics
from prorl.simulators.recbole_training import fit_by_recbole
from prorl.simulators.training import last_item_ranks, train_simulator
from prorl.simulators.windows import of_users
from prorl.training import Session

CLAIM = Claim("SASRec to RecBole's validation MRR@10", cpu=8, gpu=8)
RECBOLE_EPOCHS = 6
TOLERANCE = 1e-6  # of MRR@10 of the same weights
SEED = 2026


def main() -> None:
    """Train both ways, and check that both validations say the same of RecBole's weights."""
    options = prepare(CLAIM.title, command_line(CLAIM.title).parse_args())
    sequences, settings, epochs = setting(options)
    validation = without_last(sequences, 1)
    recbole = fit_by_recbole(
        *("SASRec", without_last(sequences, 2), validation, int(sequences.items.max())),
        settings.replace(epochs=epochs, patience=epochs),
        SEED,
    )
    best = max(recbole.mrr)
    print(
        f"RecBole: MRR@10 {', '.join(f'{mrr:.4f}' for mrr in recbole.mrr)}, {recbole.seconds:.1f} s",
        flush=True,
    )
    same = ranking_metrics(last_item_ranks(recbole.simulator, validation, settings.max_length))["mrr@10"]
    if not abs(same - best) <= TOLERANCE:
        raise Disagreement(
            f"MRR@10 of RecBole's weights: {best:.6f} by RecBole, {same:.6f} by us, "
            f"allowed {TOLERANCE:g} apart"
        )
    # An untimed run of one epoch makes everything that is made lazily.
    time_to(0.0, of_users(sequences, np.arange(1, 9)), settings)
    seconds, n_epochs, mrr = time_to(best, sequences, settings)
    ratio, aim = f"{recbole.seconds / seconds:.1f}x", f">= {CLAIM.aim(options.device):g}x"
    lines = [
        "| version | validation MRR@10 | epochs | seconds | ours is faster by | aim |",
        "|---|---|---|---|---|---|",
        f"| **ours** | {mrr:.4f} | {n_epochs} | {seconds:.1f} | | |",
        f"| RecBole's Trainer | {best:.4f} | {epochs} | {recbole.seconds:.1f} | {ratio} | {aim} |",
    ]
    print("\n".join(lines))
    n_rows = len(sequences.items) - 3 * len(sequences)
    note = (
        f"{len(sequences)} users, {int(sequences.items.max())} items; "
        f"RecBole trains on {n_rows:,} rows of {settings.max_length} items"
    )
    publish(
        CLAIM.title,
        [*lines, "", f"{note}. Both validations give RecBole's weights the same MRR@10."],
        options,
    )


def setting(options: Options) -> tuple[Sequences, Simulator, int]:
    """Sequences, settings and RecBole's epochs."""
    settings = read_params().section(Simulator)
    if options.quick:
        generator = np.random.default_rng(0)
        items = np.cumsum(generator.integers(1, 3, 40 * 12)) % 30
        return (
            sequences_of(np.repeat(np.arange(40), 12), items),
            settings.replace(max_length=8, SASRec=TINY_SASREC),
            1,
        )
    path = Layout(DATASET).raw / "ml-100k.inter"
    if not path.exists():
        sys.exit(f"{path}: no such file; `make repro` makes the data that benchmarks use")
    log = pd.read_csv(path, sep="\t").sort_values(["user_id:token", "timestamp:float"], kind="stable")
    return (
        sequences_of(log["user_id:token"].to_numpy(), log["item_id:token"].to_numpy()),
        settings,
        RECBOLE_EPOCHS,
    )


def sequences_of(user: np.ndarray, item: np.ndarray) -> Sequences:
    """Sequences of a log sorted by user, then time; items numbered anew."""
    _, counts = np.unique(user, return_counts=True)
    items = 1 + np.unique(item, return_inverse=True)[1]
    return Sequences(items.astype(np.int32), np.concatenate([[0], np.cumsum(counts)]))


def without_last(sequences: Sequences, n: int) -> Sequences:
    """The sequences without the last `n` items of each user."""
    parts = [sequences.of(user)[:-n] for user in range(1, len(sequences) + 1)]
    return Sequences(np.concatenate(parts), np.concatenate([[0], np.cumsum([len(part) for part in parts])]))


class Reached(Exception):
    """Ends our training at the figure asked for."""

    def __init__(self, epoch: int, mrr: float):
        super().__init__(epoch, mrr)
        self.epoch, self.mrr = epoch, mrr


class Until(Checkpoint):
    """Checkpoints of a run that ends once its validation MRR@10 is `mrr`."""

    def __init__(self, folder: Path, mrr: float):
        self.path, self._unfinished = folder / "checkpoint.safetensors", folder / "unfinished"
        self.mrr = mrr

    def save(self, tensors: dict, state: dict) -> None:
        """Store the state, or end the run."""
        super().save(tensors, state)
        if state["best_score"] >= self.mrr:
            raise Reached(state["step"], state["best_score"])


def time_to(mrr: float, sequences: Sequences, settings: Simulator) -> tuple[float, int, float]:
    """Seconds and epochs of our training to a validation MRR@10 of at least `mrr`, and the MRR@10 reached."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Until(Path(folder), mrr)
        data = without_last(sequences, 2), without_last(sequences, 1), int(sequences.items.max())
        started = time.perf_counter()
        try:
            session = Session("simulator/SASRec", checkpoint, Path(folder) / "curves", every_seconds=15)
            train_simulator("SASRec", *data, settings, SEED, session)
        except Reached as end:
            return time.perf_counter() - started, end.epoch, end.mrr
    raise Disagreement(f"ours stopped without an MRR@10 of {mrr:.4f}, which RecBole reaches")


if __name__ == "__main__":
    main()
