"""The obvious way to score paths by a simulator: RecBole's model on every prefix, padded, as a sequence.

Shape key: `b` prompts, `m` paths per prompt, `h` history, `t` path position, `r` prefixes of all paths.
"""

import torch
from torch import nn

from prorl.config.simulator import GRU4RecSizes, SASRecSizes
from prorl.simulators.protocol import Scores
from prorl.simulators.recbole_models import (
    CausalGRU4Rec,
    CausalSASRec,
    GRU4Rec,
    ItemCount,
    SASRec,
    recbole_settings,
)
from prorl.simulators.scoring import InnerProductSimulator

RECBOLE = {CausalSASRec: (SASRec, SASRecSizes), CausalGRU4Rec: (GRU4Rec, GRU4RecSizes)}
PREFIXES_AT_ONCE = {"cpu": 64, "cuda": 8192}  # the fastest of 64, 256 and 1,024 on a CPU


def recbole_model(simulator: InnerProductSimulator) -> nn.Module:
    """RecBole's own model with the weights of `simulator`."""
    model = simulator.model
    recbole_class, sizes_class = RECBOLE[type(model)]
    sizes = sizes_class(**{name: getattr(model, name) for name in sizes_class.model_fields})
    plain = recbole_class(recbole_settings(sizes, model.max_seq_length), ItemCount(simulator.n_items))
    plain.load_state_dict(model.state_dict())
    return plain.to(simulator.vectors.device).eval()


@torch.no_grad()
def score_prefixes(
    model: nn.Module, history: torch.Tensor, path: torch.Tensor, target: torch.Tensor
) -> Scores:
    """`Simulator.score` by `full_sort_predict` on every prefix of `path` [b, m, t], also the empty one."""
    b, m, t = path.shape
    h, device = history.shape[1], path.device
    rows = path.reshape(b * m, t)
    length = (rows != 0).sum(1)
    row, n_read = (torch.arange(t + 1, device=device) <= length[:, None]).nonzero(as_tuple=True)
    sequences = torch.zeros(len(row), model.max_seq_length, dtype=torch.int64, device=device)
    sequences[:, :h] = history[row // m]
    sequences[:, h : h + t] = rows[row] * (torch.arange(t, device=device) < n_read[:, None])
    following = torch.cat([rows, torch.zeros_like(rows[:, :1])], dim=1)[row, n_read]
    log_prob = torch.empty(b * m, t + 1, device=device)
    rank = torch.empty(b * m, t + 1, dtype=torch.int64, device=device)
    acceptance = torch.zeros(b * m, t + 1, device=device)
    for batch in torch.arange(len(row), device=device).split(PREFIXES_AT_ONCE[device.type]):
        at = row[batch], n_read[batch]
        scores = model.full_sort_predict({"item_id_list": sequences[batch], "item_length": h + n_read[batch]})
        own = scores.gather(1, target[row[batch] // m][:, None])
        log_prob[at] = scores[:, 1:].log_softmax(-1).gather(1, target[row[batch] // m][:, None] - 1)[:, 0]
        rank[at] = 1 + (scores[:, 1:] > own).sum(1)
        acceptance[at] = torch.sigmoid(scores.gather(1, following[batch][:, None])[:, 0]) * (
            following[batch] != 0
        )
    last = torch.minimum(torch.arange(t + 1, device=device), length[:, None])
    return Scores(
        log_prob.gather(1, last).view(b, m, t + 1),
        rank.gather(1, last).view(b, m, t + 1),
        acceptance[:, :-1].reshape(b, m, t),
    )
