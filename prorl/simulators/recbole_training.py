"""Trains the library's simulators by RecBole's own data layer and Trainer: the obvious way, for comparison.

RecBole makes a padded row of every prefix of the training users and takes the loss at its last position,
which takes many times as long as `prorl.simulators.training`. Steps are of RecBole's own size, 2,048 rows,
and Adam is its optimiser; epochs, patience, learning rate, weight decay and sizes are those of the settings.
It stops by its own MRR@10 on the last item of validation users, for which its BERT4Rec does not read the
oldest item.

RecBole splits each user's sequence. Here users are split, so `build` of its data set is replaced, and nothing
else. Its weights are the same modules' as ours, but for the order of items, which it numbers as they appear.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prorl.config.simulator import Simulator as SimulatorSettings
from prorl.curves import Curves
from prorl.errors import DataError, TrainingError
from prorl.paths.sequences import Sequences
from prorl.runtime import derived_seed
from prorl.simulators.padded import PaddedSimulator
from prorl.simulators.registry import library_model
from prorl.simulators.scoring import InnerProductSimulator, simulator_of

DATASET = "log"
TOP_K = 10  # of RecBole's metrics
TRAINING, VALIDATION = "t", "v"  # that the tokens of users start with
NUMPY_NAMES = (
    *("bool", "int", "float", "complex", "object", "str", "long", "unicode"),
    *("float_", "complex_", "unicode_"),
)  # that RecBole sets
PER_ITEM = ("item_embedding.weight", "output_bias")  # weights with a row for each item, padding first


@dataclass(frozen=True)
class Trained:
    """The simulator with the weights of its best epoch, RecBole's own validation MRR@10 after each epoch, and
    the seconds of training and validations together.
    """

    simulator: InnerProductSimulator | PaddedSimulator
    mrr: list[float]
    seconds: float

    @property
    def best_epoch(self) -> int:
        """The first epoch with the best MRR@10, counted from 1."""
        return 1 + int(np.argmax(self.mrr))


def train_by_recbole(
    name: str,
    train: Sequences,
    validation: Sequences,
    n_items: int,
    settings: SimulatorSettings,
    seed: int,
    curves_folder: Path,
) -> tuple[InnerProductSimulator | PaddedSimulator, dict]:
    """As `train_simulator`, by RecBole's Trainer: simulator `name` and `{"best_epoch", "epochs"}`. It starts
    anew where it was interrupted.
    """
    trained = fit_by_recbole(
        name, train, validation, n_items, settings, derived_seed(seed, "simulator", name)
    )
    curves = Curves(curves_folder)
    for epoch, mrr in enumerate(trained.mrr, 1):
        curves.log(epoch, {"validation/mrr@10": mrr})
    curves.close()
    return trained.simulator, {"best_epoch": trained.best_epoch, "epochs": len(trained.mrr)}


def fit_by_recbole(
    name: str,
    train: Sequences,
    validation: Sequences,
    n_items: int,
    settings: SimulatorSettings,
    seed: int,
) -> Trained:
    """Train simulator `name` on all prefixes of `train`, with the last item of `validation` to stop by.

    Reading and preparing the data is not timed. Raises `DataError` for fewer items than it ranks,
    and `TrainingError` where its loss is not a number.
    """
    if n_items < TOP_K:
        allowed = f"own below {TOP_K}, the number that RecBole ranks"
        raise DataError(f"simulator.trainer: got recbole with {n_items} items, allowed: {allowed}")
    ours: Any = library_model(name)(getattr(settings, name), n_items, settings.max_length)
    with _surroundings() as folder:
        # Here, since it is only in these surroundings that RecBole's data layer can be used.
        from recbole.config import Config
        from recbole.data import data_preparation
        from recbole.data.dataset import SequentialDataset
        from recbole.trainer import Trainer
        from recbole.utils import get_model, init_seed

        class OfSplitUsers(SequentialDataset):
            """All prefixes of training users, and the longest of each validation user."""

            def build(self) -> list:
                """Data sets for training, validation and, as RecBole wants one, testing: the second again."""
                self._change_feat_format()
                users: Any = self.inter_feat[self.uid_field]
                is_last = torch.cat([users[1:] != users[:-1], torch.ones(1, dtype=torch.bool)])
                tokens = self.id2token(self.uid_field, users.numpy())
                trains = torch.from_numpy(np.char.startswith(tokens.astype(str), TRAINING))
                rows = (trains, ~trains & is_last, ~trains & is_last)
                return [self.copy(self.inter_feat[chosen.nonzero()[:, 0]]) for chosen in rows]

        _write_log(folder / DATASET, train, validation, n_items)
        config = Config(
            name, DATASET, config_dict=_settings(name, settings, ours.max_seq_length, seed, folder)
        )
        init_seed(config["seed"], config["reproducibility"])
        dataset = OfSplitUsers(config)
        data: Any = data_preparation(config, dataset)
        train_data, valid_data, _ = data
        model = get_model(name)(config, train_data.dataset).to(config["device"])
        trainer, mrr = Trainer(config, model), []
        best: dict[str, torch.Tensor] = {}

        def after_epoch(epoch: int, score: float) -> None:
            if not mrr or score > max(mrr):
                best.update({key: value.detach().cpu().clone() for key, value in model.state_dict().items()})
            mrr.append(float(score))

        started = time.perf_counter()
        try:
            trainer.fit(train_data, valid_data, saved=False, show_progress=False, callback_fn=after_epoch)
        except ValueError as error:
            if "nan" not in str(error):  # what RecBole says of a loss
                raise
            told = f"{error}, at epoch {len(mrr) + 1}; RecBole's trainer keeps no checkpoint"
            raise TrainingError(f"simulator {name}: {told}") from error
        seconds = time.perf_counter() - started
        order = dataset.token2id(dataset.iid_field, [str(item) for item in range(1, n_items + 1)])
    ours.load_state_dict(_in_order(best, np.concatenate([[0], order])))
    return Trained(simulator_of(ours), mrr, seconds)


def _settings(
    name: str, settings: SimulatorSettings, max_length: int, seed: int, folder: Path
) -> dict[str, Any]:
    """What RecBole is told beyond its defaults."""
    return {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id"]},
        "MAX_ITEM_LIST_LENGTH": max_length,
        "train_neg_sample_args": None,
        "epochs": settings.epochs,
        "stopping_step": settings.patience,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "seed": seed,
        "metric_decimal_place": 8,
        "show_progress": False,
        **getattr(settings, name).model_dump(),
    }


def _in_order(weights: dict[str, torch.Tensor], order: np.ndarray) -> dict[str, torch.Tensor]:
    """`weights`, of whose rows for padding and items `order[i]` is that of item i; further rows stay."""
    rows = torch.from_numpy(order)
    return {
        name: torch.cat([value[rows], value[len(rows) :]]) if name in PER_ITEM else value
        for name, value in weights.items()
    }


def _write_log(folder: Path, train: Sequences, validation: Sequences, n_items: int) -> None:
    """The sequences as RecBole reads them; an interaction's place in its user's sequence is its time. All
    items are listed, also those that no sequence holds.
    """
    folder.mkdir()
    with open(folder / f"{DATASET}.inter", "w", encoding="utf-8") as stream:
        stream.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for start, sequences in ((TRAINING, train), (VALIDATION, validation)):
            for user in range(1, len(sequences) + 1):
                for place, item in enumerate(sequences.of(user)):
                    stream.write(f"{start}{user}\t{item}\t{place}\n")
    items = "".join(f"{item}\n" for item in range(1, n_items + 1))
    (folder / f"{DATASET}.item").write_text(f"item_id:token\n{items}", encoding="utf-8")


@contextlib.contextmanager
def _surroundings() -> Iterator[Path]:
    """What RecBole 1.2.1's data layer needs.

    These are NumPy's old names, an empty command line, and a folder to write into.
    """
    before, arguments = {name: vars(np)[name] for name in NUMPY_NAMES if name in vars(np)}, sys.argv
    np.float_, np.complex_, np.unicode_ = np.float64, np.complex128, np.str_  # pyright: ignore
    sys.argv = arguments[:1]
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            yield Path(folder)
    finally:
        sys.argv = arguments
        for name in NUMPY_NAMES:
            if name in before:
                setattr(np, name, before[name])
            elif name in vars(np):
                delattr(np, name)
