"""The obvious way to train a simulator: RecBole's own data layer and Trainer.

Sequences are given as one of its `.inter` files.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from prorl.config.simulator import SASRecSizes
from prorl.paths.sequences import Sequences
from prorl.simulators.recbole_models import CausalSASRec, SASRec
from prorl.simulators.scoring import InnerProductSimulator

DATASET = "log"
NUMPY_NAMES = (
    "bool",
    "int",
    "float",
    "complex",
    "object",
    "str",
    "long",
    "unicode",
    "float_",
    "complex_",
    "unicode_",
)  # that RecBole sets


@dataclass(frozen=True)
class Trained:
    """Seconds of training and validations together, validation MRR@10 after each epoch, and the simulator."""

    seconds: float
    mrr: list[float]
    simulator: InnerProductSimulator


def train(sequences: Sequences, sizes: SASRecSizes, max_length: int, epochs: int) -> Trained:
    """Train RecBole's SASRec, by its defaults, on all but each user's last two items.

    It validates on the last but one. Reading and preparing the data is not timed.
    """
    with _surroundings() as folder:
        # Here, since it is only in these surroundings that RecBole's data layer can be used.
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.trainer import Trainer
        from recbole.utils import init_seed

        _write_log(folder / DATASET, sequences)
        settings = {
            "data_path": str(folder),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": max_length,
            "epochs": epochs,
            "train_neg_sample_args": None,
            "metric_decimal_place": 8,
            "show_progress": False,
            **sizes.model_dump(),
        }
        config = Config(model="SASRec", dataset=DATASET, config_dict=settings)
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        train_data, valid_data, _ = data_preparation(config, dataset)
        model = SASRec(config, train_data.dataset).to(config["device"])
        trainer = Trainer(config, model)
        mrr: list[float] = []
        started = time.perf_counter()
        trainer.fit(
            train_data, valid_data, show_progress=False, callback_fn=lambda epoch, score: mrr.append(score)
        )
        seconds = time.perf_counter() - started
    n_items = int(sequences.items.max())
    order = dataset.token2id(dataset.iid_field, [str(item) for item in range(1, n_items + 1)])
    return Trained(seconds, mrr, _simulator(model, order, sizes, max_length))


def _simulator(
    model: nn.Module, order: np.ndarray, sizes: SASRecSizes, max_length: int
) -> InnerProductSimulator:
    """RecBole's `model`, whose row `order[i]` is item i + 1, as a simulator."""
    causal = CausalSASRec(sizes, len(order), max_length)
    weights = {name: value.cpu() for name, value in model.state_dict().items()}
    name = "item_embedding.weight"
    causal.load_state_dict(weights | {name: weights[name][torch.from_numpy(np.concatenate([[0], order]))]})
    return InnerProductSimulator(causal)


def _write_log(folder: Path, sequences: Sequences) -> None:
    """The sequences as RecBole reads them; an interaction's place in its user's sequence is its time."""
    folder.mkdir()
    place = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    rows = np.column_stack([sequences.users, sequences.items, place])
    header = "user_id:token\titem_id:token\ttimestamp:float"
    np.savetxt(folder / f"{DATASET}.inter", rows, fmt="%d", delimiter="\t", header=header, comments="")


@contextlib.contextmanager
def _surroundings() -> Iterator[Path]:
    """What RecBole 1.2.1's data layer needs.

    These are NumPy's old names, an empty command line, and a folder to write into.
    """
    before, arguments = {name: vars(np)[name] for name in NUMPY_NAMES if name in vars(np)}, sys.argv
    np.float_, np.complex_, np.unicode_ = np.float64, np.complex128, np.str_
    sys.argv = arguments[:1]
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            yield Path(folder)
    finally:
        sys.argv = arguments
        for name in NUMPY_NAMES:
            if name in before:
                setattr(np, name, before[name])
            else:
                delattr(np, name)
