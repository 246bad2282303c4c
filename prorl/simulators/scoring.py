"""What a simulator says of a path: log P(target), rank(target) and acceptance, at every prefix, in one causal
pass; and how simulators are stored.

`InnerProductSimulator` makes a `Simulator` of any causal model whose score of an item is an inner product of
state and item vector. It also shows its states and branches from them, which a search for paths needs.

Shape key: `b` prompts, `m` paths per prompt, `t` path position, `h` history, `d` simulator state, `n` items,
`r` rows: paths, or states.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from prorl.checkpoint import read_config, read_weights, require_fit, whole_number
from prorl.config.section import build
from prorl.errors import DataError
from prorl.files import atomic_folder, write_json
from prorl.simulators.blocks import (
    READ_AT_ONCE,
    SCORES_AT_ONCE,
    SharedVectors,
    at_least_float32,
    at_once,
    full_precision,
    of_like_length,
    target_scores,
)
from prorl.simulators.padded import PaddedSimulator
from prorl.simulators.padded_models import PaddedModel
from prorl.simulators.protocol import Memory, OwnSimulator, Scores, Simulator
from prorl.simulators.registry import SIMULATORS, Own, found_class

OWN_FOLDER = "own"  # in a simulator's folder, beside our config.json: all that a user's own class saves


class InnerProductSimulator(Simulator):
    """A causal sequence model as `Simulator`: `P(i | S) = softmax over items of state(S) . vector(i)`."""

    model: Any  # an nn.Module that is a BranchingModel, selects memory and has an `item_embedding`

    def __init__(self, model: Any):
        self.model = model.eval().requires_grad_(False)
        self.n_items: int = model.item_embedding.num_embeddings - 1
        self._shared = SharedVectors()

    @property
    def vectors(self) -> torch.Tensor:
        """Item vectors [n+1, d]; row 0 is padding."""
        return self.model.item_embedding.weight

    def to(self, device: torch.device | str) -> "InnerProductSimulator":
        """Move to `device`."""
        self.model.to(device)
        return self

    @torch.no_grad()
    @full_precision
    def score(
        self, history: torch.Tensor, path: torch.Tensor, target: torch.Tensor, *, ends: bool = False
    ) -> Scores:
        """See `Simulator.score`.

        The plain form reads history and prefix anew for every prefix, and scores all items after it: log P
        is `log_softmax(scores)[target]`, rank `1 + (scores > scores[target]).sum()`, acceptance
        `sigmoid(scores[item])`. Here a history is read once per prompt, one causal pass gives the states of
        all prefixes, and what lies behind the end of a path is not scored.
        """
        order = (path <= 0).to(torch.int8).argsort(dim=-1, stable=True)
        scores = self._score_items(history, path.gather(-1, order).clamp(min=0), target, ends)
        n_items = F.pad((path > 0).cumsum(-1), (1, 0))  # before each position, and at the end
        return Scores(
            log_prob=scores.log_prob if ends else scores.log_prob.gather(-1, n_items),
            rank=scores.rank if ends else scores.rank.gather(-1, n_items),
            acceptance=scores.acceptance.gather(-1, n_items[..., :-1]) * (path > 0),
        )

    def _score_items(
        self, history: torch.Tensor, path: torch.Tensor, target: torch.Tensor, ends: bool
    ) -> Scores:
        """`score` for paths without non-items; of no meaning beyond the end of a path."""
        b, m, t = path.shape
        history_states, memory = self.model.extend(history)
        start = history_states[:, -1]
        rows = path.reshape(b * m, t)
        states = self._states(rows, memory, m, start)
        row, position = (rows != 0).nonzero(as_tuple=True)
        acceptance = torch.zeros(rows.shape, dtype=start.dtype, device=rows.device)
        acceptance[row, position] = (
            (states[row, position] * self.vectors[rows[row, position]]).sum(-1).sigmoid()
        )
        if ends:
            length = (rows != 0).sum(1)
            row = length.nonzero()[:, 0]
            after, column, n_columns = length[row], torch.ones_like(row), 2
        else:
            after = column = position + 1
            n_columns = t + 1
        start_log_prob, start_rank = self.target_scores(start, target)
        log_prob = start_log_prob.repeat_interleave(m)[:, None].repeat(1, n_columns)
        rank = start_rank.repeat_interleave(m)[:, None].repeat(1, n_columns)
        log_prob[row, column], rank[row, column] = self.target_scores(states[row, after], target[row // m])
        return Scores(
            log_prob=log_prob.view(b, m, n_columns),
            rank=rank.view(b, m, n_columns),
            acceptance=acceptance.view(b, m, t),
        )

    def _states(self, rows: torch.Tensor, memory: Memory, m: int, start: torch.Tensor) -> torch.Tensor:
        """States [b * m, t+1, d] after 0..t items of `rows` [b * m, t], the first being `start` [b, d]; of no
        meaning behind the end.

        The plain form reads all rows in one pass, each after its prompt's memory. Here paths of like length
        are read together, each up to the longest of them, so that hardly any padding is computed.
        """
        states = start.new_empty(len(rows), rows.shape[1] + 1, start.shape[1])
        states[:, 0] = start.repeat_interleave(m, dim=0)
        for group, longest in of_like_length((rows != 0).sum(1), at_once(READ_AT_ONCE, rows.device)):
            states[group, 1 : longest + 1], _ = self.model.extend(
                rows[group, :longest], self.model.select(memory, group // m)
            )
        return states

    @torch.no_grad()
    @full_precision
    def states(self, items: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        """See `EmbeddingSimulator.states`."""
        states, _ = self.model.extend(items)
        if lengths is None:
            return states[:, -1]
        return states[torch.arange(len(lengths), device=lengths.device), lengths - 1]

    @torch.no_grad()
    @full_precision
    def item_scores(self, history: torch.Tensor) -> torch.Tensor:
        """Scores [b, n] of all items after `history` [b, h], the first column being item 1; their softmax is
        P(item | history).
        """
        return self.states(history) @ self.vectors[1:].T

    @torch.no_grad()
    @full_precision
    def target_scores(self, states: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """log P(target) [r] and rank [r] at `states` [r, d]."""
        vectors = self.vectors[1:]
        return target_scores(states, target, vectors, self._shared.of(vectors))

    @torch.no_grad()
    @full_precision
    def target_log_prob(self, states: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """log P(target) [r] at `states` [r, d], as `target_scores` gives it, without the rank."""
        vectors = self.vectors[1:]
        own = (states * vectors[target - 1]).sum(-1)
        summed = at_least_float32(own.dtype)
        normaliser = torch.full_like(own, -torch.inf, dtype=summed)
        n_states, n_items = at_once(SCORES_AT_ONCE, states.device)
        for first in range(0, len(states), n_states):
            rows = slice(first, first + n_states)
            for block in vectors.split(n_items):
                scores = (states[rows] @ block.T).to(summed)
                normaliser[rows] = torch.logaddexp(normaliser[rows], scores.logsumexp(-1))
        return (own - normaliser).to(own.dtype)


def simulator_of(model: Any) -> InnerProductSimulator | PaddedSimulator:
    """A model of the library as a simulator."""
    return PaddedSimulator(model) if isinstance(model, PaddedModel) else InnerProductSimulator(model)


def save_simulator(folder: Path, model: Any, name: str, sizes: dict, max_length: int) -> None:
    """Write a model's weights (safetensors) and `config.json` into `folder`, whole or not at all."""
    with atomic_folder(folder) as temporary:
        save_file(
            {key: value.contiguous().cpu() for key, value in model.state_dict().items()},
            temporary / "model.safetensors",
        )
        write_json(
            temporary / "config.json",
            {"name": name, "n_items": model.n_items - 1, "max_length": max_length, "sizes": sizes},
        )


def save_own(folder: Path, simulator: OwnSimulator, name: str, own: str | None) -> None:
    """Write what `simulator` saves into `folder/own`, and `config.json` beside it, whole or not at all.

    `own` is its `module:Class` in params.yaml, None where it is one of `SIMULATORS`.
    """
    with atomic_folder(folder) as temporary:
        (temporary / OWN_FOLDER).mkdir()
        simulator.save(temporary / OWN_FOLDER)
        write_json(temporary / "config.json", {"name": name, "class": own})


def load_simulator(folder: Path, own: str | None = None, device: torch.device | str = "cpu") -> Any:
    """The simulator in `folder`, on `device`: that of a model of the library, or an instance of an own class.

    `own` is the `module:Class` that params.yaml names, None where it names none (`registry.own_class`): no
    class is imported because a folder says so. Raises `DataError` for an unknown simulator, one of another
    class, or weights of another shape, and `ConfigError` for a class that is not there.
    """
    try:
        config = read_config(Path(folder) / "config.json", ["name"])
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename}: no such file; a simulator is a folder as the simulator stage writes it"
        ) from error
    name = config["name"]
    if own is not None and config.get("class") != own:
        allowed = f"{own!r}, which params.yaml names"
        raise DataError(f"{folder}/config.json: class: got {config.get('class')!r}, allowed: {allowed}")
    if own is None and (not isinstance(name, str) or name not in SIMULATORS):
        raise DataError(f"{folder}/config.json: name: got {name!r}, allowed: {', '.join(SIMULATORS)}")
    entry = SIMULATORS[name] if own is None else Own(found_class(own, name))
    if isinstance(entry, Own):
        simulator: Any = entry.kind.load(Path(folder) / OWN_FOLDER)
        return simulator.to(device) if hasattr(simulator, "to") else simulator
    file = Path(folder) / "config.json"
    found, expected = read_config(file, ["sizes", "n_items", "max_length"])["sizes"], entry.sizes.model_fields
    if not isinstance(found, dict) or found.keys() != expected.keys():
        raise DataError(f"{file}: sizes: got {found!r}, allowed: {sorted(expected)}")
    sizes = build(entry.sizes, found, "sizes", str(file))
    lengths = [whole_number(config, key, file) for key in ("n_items", "max_length")]
    weights = read_weights(Path(folder) / "model.safetensors")
    n_layers = getattr(sizes, "n_layers", None) or getattr(sizes, "num_layers", 0)
    path = Path(folder) / "model.safetensors"
    require_fit(path, weights, n_layers, lambda: entry.model(sizes, *lengths))
    model = entry.model(sizes, *lengths)
    model.load_state_dict(weights)
    return simulator_of(model).to(device)
