"""What a simulator says of a path: log P(target), rank(target) and acceptance, at every prefix, in one causal pass.

Shape key: `b` prompts, `m` paths per prompt, `t` path position, `h` history, `d` simulator state, `n` items.

`Simulator` is the protocol that rewards and evaluation need; a recommender of your own takes RecBole's place by having `score`.
`InnerProductSimulator` implements it for any causal model whose score of an item is an inner product of state and item vector, and
also ranks candidates for the next step, which the search for paths needs.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from prorl.files import atomic_folder, read_json, write_json
from prorl.simulators.recbole_models import SIMULATORS, SIZES
from prorl.tables import DataError

BLOCK_ELEMENTS = 2**24  # scores held at once: 64 MiB of float32


@dataclass(frozen=True)
class Scores:
    """What a simulator says of paths.

    log_prob [b, m, t+1] and rank [b, m, t+1] of the target after 0..t items of the path, from softmax over all items, padding
    excluded; natural log; rank 1 is best. acceptance [b, m, t], the probability that the user takes each item.
    Beyond the end of a path log_prob and rank keep their last value and acceptance is 0.
    """

    log_prob: torch.Tensor
    rank: torch.Tensor
    acceptance: torch.Tensor


class Simulator(Protocol):
    """Stands in for users."""

    n_items: int

    def score(self, history: torch.Tensor, path: torch.Tensor, target: torch.Tensor) -> Scores:
        """Scores of `path` [b, m, t] (items, 0 behind the end) after `history` [b, h] (no padding) towards `target` [b]."""
        ...


def _full_precision(method: Callable) -> Callable:
    """Run `method` outside autocast, so that training is rewarded by the very function that evaluation judges by."""

    @functools.wraps(method)
    def outside(self, *arguments):
        with torch.autocast(self.vectors.device.type, enabled=False):
            return method(self, *arguments)

    return outside


class InnerProductSimulator:
    """A causal sequence model as `Simulator`: `P(i | S) = softmax over items of state(S) . vector(i)`."""

    def __init__(self, model: nn.Module):
        self.model = model.eval().requires_grad_(False)
        self.n_items = model.item_embedding.num_embeddings - 1

    @property
    def vectors(self) -> torch.Tensor:
        """Item vectors [n+1, d]; row 0 is padding."""
        return self.model.item_embedding.weight

    def to(self, device: torch.device) -> "InnerProductSimulator":
        """Move to `device`."""
        self.model.to(device)
        return self

    @torch.no_grad()
    @_full_precision
    def score(self, history: torch.Tensor, path: torch.Tensor, target: torch.Tensor) -> Scores:
        """See `Simulator.score`. The history is encoded once per prompt; what lies behind the end of a path is not scored."""
        b, m, t = path.shape
        states, memory = self.model.extend(history)
        start = states[:, -1]
        start_log_prob, start_rank = self.target_scores(start, target)
        rows = path.reshape(b * m, t)
        after, _ = self.model.extend(rows, self.model.repeat(memory, m))
        before = torch.cat([start.repeat_interleave(m, dim=0)[:, None], after[:, :-1]], dim=1)
        real = rows != 0
        acceptance = torch.sigmoid((before * self.vectors[rows]).sum(-1)) * real
        log_prob = start_log_prob.repeat_interleave(m)[:, None].repeat(1, t + 1)
        rank = start_rank.repeat_interleave(m)[:, None].repeat(1, t + 1)
        row, position = real.nonzero(as_tuple=True)
        log_prob[row, position + 1], rank[row, position + 1] = self.target_scores(after[row, position], target[row // m])
        last = torch.minimum(torch.arange(t + 1, device=path.device), real.sum(1, keepdim=True))
        return Scores(
            log_prob=log_prob.gather(1, last).view(b, m, t + 1),
            rank=rank.gather(1, last).view(b, m, t + 1),
            acceptance=acceptance.view(b, m, t),
        )

    @torch.no_grad()
    @_full_precision
    def target_scores(self, states: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """log P(target) [r] and rank [r] at `states` [r, d]. Memory stays bounded, whatever the number of states and items."""
        vectors = self.vectors[1:]
        own = (states * vectors[target - 1]).sum(-1)
        log_prob, rank = torch.empty_like(own), torch.empty(len(own), dtype=torch.int64, device=own.device)
        n_rows = max(1, min(len(states), BLOCK_ELEMENTS // min(self.n_items, 2**14)))
        for first in range(0, len(states), n_rows):
            rows = slice(first, first + n_rows)
            log_prob[rows], rank[rows] = self._target_scores_of_block(states[rows], target[rows], own[rows], vectors)
        return log_prob, rank

    @staticmethod
    def _target_scores_of_block(states, target, own, vectors) -> tuple[torch.Tensor, torch.Tensor]:
        n_columns = max(1, BLOCK_ELEMENTS // max(1, len(states)))
        normaliser = torch.full_like(own, -torch.inf)
        better = torch.zeros(len(own), dtype=torch.int64, device=own.device)
        for first in range(0, len(vectors), n_columns):
            scores = states @ vectors[first : first + n_columns].T
            normaliser = torch.logaddexp(normaliser, scores.logsumexp(-1))
            # The target itself is left out by index: its product may differ from `own` in the last bit.
            column = target - 1 - first
            inside = (column >= 0) & (column < scores.shape[1])
            scores[inside, column[inside]] = -torch.inf
            better += (scores > own[:, None]).sum(-1)
        return own - normaliser, 1 + better


def save_simulator(folder: Path, model: nn.Module, name: str, sizes: dict, max_length: int) -> None:
    """Write weights (safetensors) and `config.json` into `folder`, whole or not at all."""
    with atomic_folder(folder) as temporary:
        save_file({key: value.contiguous().cpu() for key, value in model.state_dict().items()}, temporary / "model.safetensors")
        n_items = model.item_embedding.num_embeddings - 1
        write_json(temporary / "config.json", {"name": name, "n_items": n_items, "max_length": max_length, "sizes": sizes})


def load_simulator(folder: Path) -> InnerProductSimulator:
    """The simulator in `folder`. Raises `DataError` for an unknown model or weights of another shape."""
    try:
        config = read_json(Path(folder) / "config.json")
    except FileNotFoundError as error:
        raise DataError(f"{error.filename}: no such file; a simulator is a folder as the simulator stage writes it") from error
    name = config["name"]
    if name not in SIMULATORS:
        raise DataError(f"{folder}/config.json: name: got {name!r}, allowed: {', '.join(SIMULATORS)}")
    expected = {field.name for field in dataclasses.fields(SIZES[name])}
    if config["sizes"].keys() != expected:
        raise DataError(f"{folder}/config.json: sizes: got {sorted(config['sizes'])}, allowed: {sorted(expected)}")
    model = SIMULATORS[name](SIZES[name](**config["sizes"]), config["n_items"], config["max_length"])
    try:
        model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    except RuntimeError as error:
        raise DataError(f"{folder}/model.safetensors: does not fit config.json: {error}") from error
    return InnerProductSimulator(model)
