"""IRN, the influential recommender network: a transformer that reads the target, which it calls objective,
beside what is past, and tells the next item.

The target stands last, history and path before it, padding on the left. Attention is causal, but for the
target, which every item sees. To the logits of attention is added `w_h` for what is past and `w_t r` for
the target, r being how impressionable the user is; softmax looks at their difference alone.

Source: Zhu, Ge, Gong, Li, "Influential Recommender System", ICDE 2023 (arXiv 2211.10002). Departures:

- *The user-free IRN.* The published r is a linear function of an embedding of the user, which users who were
  not trained on do not have. Here r is one number learnt for all (`impressionability: learnt`), or a linear
  function of the mean vector of the items read (`history`). Both start at 1.
- A path is written for prompts, so that a stretch has at most a history, a longest path and the target,
  instead of 60 items. Stretches are cut anew in every epoch, from training users' logs, and from those of
  validation users to choose the best epoch by; the source cuts once, and holds a tenth of them out.
- In training, the target is a stretch's last item, but the item before it is told without being read. So
  the last position read, which a path is written from, is trained, and never by copying the target.
- The target sees itself alone. In the source it also sees every item, and every item sees it: from the
  second layer on each position then sees the next item, which it is to tell, by way of the target.
- The source's decoder attends to an all-zero memory, which adds biases alone; it is left out. Its released
  code passes the impressionability where `w_h` belongs, so that it has no gradient and no personal factor.

Shape key: `b` stretches or prompts, `s` items read, `d` width, `a` attention heads, `n` items, `t` path
position.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from prorl.config.decoding import Decoding
from prorl.config.proactive import IRNSettings
from prorl.errors import DataError
from prorl.guides.writing import Unfinished, batches, step_by_step
from prorl.prompts import Prompts

FILE = "irn.safetensors"
UNSEEN = -1e9  # added to attention; finite, since padding may see nothing at all


class Layer(nn.Module):
    """Self-attention and a feed-forward layer, each normalised after its residual."""

    def __init__(self, sizes: IRNSettings):
        super().__init__()
        d = sizes.hidden_size
        self.n_heads = sizes.n_heads
        self.project, self.join = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.inner, self.outer = nn.Linear(d, sizes.inner_size), nn.Linear(sizes.inner_size, d)
        self.norm_attention, self.norm_outer = nn.LayerNorm(d), nn.LayerNorm(d)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """x [b, s, d]; `mask` [b, 1, s, s] is added to the logits of attention."""
        query, key, value = self.project(x).unflatten(-1, (3 * self.n_heads, -1)).transpose(1, 2).chunk(3, 1)
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + mask
        attended = self.dropout(logits.softmax(-1)) @ value
        x = self.norm_attention(x + self.dropout(self.join(attended.transpose(1, 2).flatten(2))))
        return self.norm_outer(x + self.dropout(self.outer(self.dropout(self.inner(x).relu()))))


class IRN(nn.Module):
    """The network, for rows of `length` items, the target among them."""

    positions: torch.Tensor

    def __init__(self, sizes: IRNSettings, n_items: int, length: int):
        super().__init__()
        d = sizes.hidden_size
        self.sizes, self.n_items, self.length = sizes, n_items, length
        self.items = nn.Embedding(n_items + 1, d, padding_idx=0)
        with torch.no_grad():
            self.items.weight[1:].normal_(std=d**-0.5)
        self.register_buffer("positions", sinusoids(length, d), persistent=False)
        self.dropout = nn.Dropout(sizes.dropout)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.n_layers))
        self.scores = nn.Linear(d, n_items)
        self.r = nn.Parameter(torch.ones(()))
        self.r_of_history = nn.Linear(d, 1, bias=False) if sizes.impressionability == "history" else None
        if self.r_of_history is not None:
            nn.init.zeros_(self.r_of_history.weight)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """States [b, s, d] after each item of `rows` [b, s], s being `length`: padding, what is past, and the
        target. States of padding have no meaning.
        """
        vectors = self.items(rows) * math.sqrt(self.sizes.hidden_size)
        mask = self.mask(rows, self.impressionability(rows))
        x = self.dropout(vectors + self.positions)
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def impressionability(self, rows: torch.Tensor) -> torch.Tensor:
        """r [b]."""
        r = self.r.expand(len(rows))
        if self.r_of_history is None:
            return r
        past = rows[:, :-1]
        mean = self.items(past).sum(1) / (past != 0).sum(1, keepdim=True).clamp(min=1)
        return r + self.r_of_history(mean)[:, 0]

    def mask(self, rows: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        """The personalised impressionability mask [b, 1, s, s]: query, then key."""
        s = rows.shape[1]
        past = torch.ones(s, s, dtype=torch.bool, device=rows.device).tril()
        target = torch.arange(s, device=rows.device) == s - 1
        seen = past & ~target[:, None] & (rows != 0)[:, None]
        mask = torch.where(seen, self.sizes.history_weight, UNSEEN)
        weight = (self.sizes.target_weight * r)[:, None, None]
        return torch.where(target, weight, mask)[:, None]


def sinusoids(length: int, d: int) -> torch.Tensor:
    """Sines, then cosines, of `length` positions at d / 2 wave lengths from 2 pi to 20000 pi, [length, d]."""
    waves = torch.exp(torch.arange(d // 2) * (-math.log(1e4) / max(1, d // 2 - 1)))
    angles = torch.arange(length)[:, None] * waves
    return torch.cat([angles.sin(), angles.cos()], dim=1)


@dataclass(frozen=True)
class IRNGuide:
    """Shows the item that `model` finds likeliest next, of those neither in history nor path, again and
    again.
    """

    model: IRN
    decoding: Decoding

    @classmethod
    def load(
        cls, folder: Path, settings: IRNSettings, n_items: int, decoding: Decoding, device: torch.device
    ) -> "IRNGuide":
        """The network in `folder`. Raises `DataError` where its weights are of another shape."""
        tensors = load_file(folder / FILE)
        model = IRN(settings, n_items, int(tensors.pop("length")))
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise DataError(f"{folder / FILE}: does not fit guide.json: {error}") from error
        return cls(model.to(device).eval().requires_grad_(False), decoding)

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return self.model.n_items

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        return torch.cat([self._batch(part) for part in batches(prompts, self.n_items)])

    def _batch(self, prompts: Prompts) -> torch.Tensor:
        def worth(unfinished: Unfinished) -> torch.Tensor:
            read = torch.cat([prompts.history, unfinished.path], dim=1)
            rows = to_rows(read, prompts.target, self.model.length)
            return F.pad(self.model.scores(self.model(rows)[:, -2]), (1, 0))

        return step_by_step(prompts, self.decoding, self.n_items, worth, also=["repeats", "history"])


def to_rows(read: torch.Tensor, target: torch.Tensor, length: int) -> torch.Tensor:
    """The last items of `read` [b, s] and the `target` [b] behind them, padded on the left to `length`."""
    kept = read[:, -(length - 1) :]
    return torch.cat([F.pad(kept, (length - 1 - kept.shape[1], 0)), target[:, None]], dim=1)


def save_irn(folder: Path, model: IRN) -> None:
    """Write the network's weights where `IRNGuide.load` reads them."""
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file({**tensors, "length": torch.tensor(model.length)}, folder / FILE)
