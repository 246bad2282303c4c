"""The door to RecBole's models: its classes as plain modules, without its data layer, configuration or
trainer, which `prorl.simulators.recbole_training` alone uses.

Importing any of RecBole's sequential models imports all of them, and one, SINE, switches autograd's anomaly
detection on for the whole process, which makes every backward pass five to ten times slower. The setting is
put back right after the import here.

RecBole's own `forward` returns the state after the last item alone. `extend` returns the state after *every*
item, in one causal pass with the same weights, and can continue from the memory of an earlier pass, so that a
history is encoded once for many paths.
"""

from typing import Any

import torch
import torch.nn.functional as F

from prorl.config.section import Settings
from prorl.config.simulator import GRU4RecSizes, SASRecSizes
from prorl.simulators.protocol import Memory

_anomaly_detection = torch.is_anomaly_enabled()
from recbole.model.sequential_recommender.bert4rec import BERT4Rec  # noqa: E402, F401
from recbole.model.sequential_recommender.gru4rec import GRU4Rec  # noqa: E402
from recbole.model.sequential_recommender.lightsans import LightSANs  # noqa: E402, F401
from recbole.model.sequential_recommender.sasrec import SASRec  # noqa: E402

torch.autograd.set_detect_anomaly(_anomaly_detection)


class ItemCount:
    """Stands in for RecBole's data set, which models ask for the number of items alone."""

    def __init__(self, n_items: int):
        self.n_items = n_items

    def num(self, field: str) -> int:
        return self.n_items + 1  # with padding


def recbole_settings(sizes: Settings, max_length: int) -> dict[str, Any]:
    """The configuration that RecBole's models read: `sizes`, histories of at most `max_length` items, and
    RecBole's names of fields.
    """
    names = {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "LIST_SUFFIX": "_list",
        "ITEM_LIST_LENGTH_FIELD": "item_length",
        "NEG_PREFIX": "neg_",
        "MASK_ITEM_SEQ": "Mask_item_id_list",
        "POS_ITEMS": "Pos_item_id",
        "NEG_ITEMS": "Neg_item_id",
        "MASK_INDEX": "MASK_INDEX",
        "MAX_ITEM_LIST_LENGTH": max_length,
        "device": "cpu",
        "loss_type": "CE",
    }
    return {**names, **sizes.model_dump()}


def gelu_in_one_call(layers: Any, hidden_act: str) -> None:
    """Let RecBole's `layers` compute GELU, where that is their activation, in one operation, not five."""
    if hidden_act == "gelu":
        for layer in layers:
            layer.feed_forward.intermediate_act_fn = F.gelu


class CausalSASRec(SASRec):
    """RecBole's SASRec, read at every position."""

    def __init__(self, sizes: SASRecSizes, n_items: int, max_length: int):
        super().__init__(recbole_settings(sizes, max_length), ItemCount(n_items))
        gelu_in_one_call(self._layers, sizes.hidden_act)

    @property
    def _layers(self) -> Any:
        """RecBole's layers, whose parts have no types."""
        return self.trm_encoder.layer

    def extend(self, items: torch.Tensor, memory: Memory = None) -> tuple[torch.Tensor, Memory]:
        """States [b, s, d] after each of `items` [b, s], which follow those in `memory`; and the memory of
        both.

        Padding (0) may stand at the end alone. Raises `ValueError` beyond `max_length` items.
        """
        past = 0 if memory is None else memory[0][0].shape[2]
        length = items.shape[1]
        self._refuse_beyond_longest(past + length)
        positions = torch.arange(past, past + length, device=items.device)
        causal = torch.ones(length, past + length, dtype=torch.bool, device=items.device).tril(diagonal=past)
        return self._read(items, positions, causal, memory)

    def branch(self, items: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, Memory]:
        """States [b, c, d] after each of `items` [b, c], every one of them the next after `memory`; and what
        `follow` goes on from.
        """
        past, c = memory[0][0].shape[2], items.shape[1]
        self._refuse_beyond_longest(past + 1)
        positions = torch.full((1,), past, device=items.device)
        # Each sees what is past, and of the others only itself.
        seen = torch.cat([torch.ones(c, past, dtype=torch.bool), torch.eye(c, dtype=torch.bool)], dim=1).to(
            items.device
        )
        return self._read(items, positions, seen, memory)

    @staticmethod
    def follow(memory: Memory, branches: Memory, rows: torch.Tensor, choice: torch.Tensor) -> Memory:
        """The memory of the sequences `rows` [r], each followed by item `choice` [r] of its branches."""
        past = memory[0][0].shape[2]

        def followed(part: torch.Tensor) -> torch.Tensor:
            return torch.cat([part[rows, :, :past], part[rows, :, past + choice][:, :, None]], dim=2)

        return [(followed(key), followed(value)) for key, value in branches]

    def _refuse_beyond_longest(self, length: int) -> None:
        if length > self.max_seq_length:
            raise ValueError(f"SASRec reads at most {self.max_seq_length} items, got {length}")

    def _read(
        self, items: torch.Tensor, positions: torch.Tensor, seen: torch.Tensor, memory: Memory
    ) -> tuple[torch.Tensor, Memory]:
        """States of `items` [b, s] at `positions`, each attending to those of memory and items that are
        `seen` [s, past + s].
        """
        x = self.item_embedding(items) + self.position_embedding(positions)
        x = self.dropout(self.LayerNorm(x))
        extended = []
        for i, layer in enumerate(self._layers):
            attention = layer.multi_head_attention
            query, key, value = (
                projection(x).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
                for projection in (attention.query, attention.key, attention.value)
            )
            if memory is not None:
                key, value = torch.cat([memory[i][0], key], dim=2), torch.cat([memory[i][1], value], dim=2)
            extended.append((key, value))
            dropout = attention.attn_dropout.p if self.training else 0.0
            context = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout)
            context = attention.dense(context.transpose(1, 2).flatten(2))
            x = attention.LayerNorm(attention.out_dropout(context) + x)
            x = layer.feed_forward(x)
        return x, extended

    @staticmethod
    def select(memory: Memory, rows: torch.Tensor) -> Memory:
        """The memory of the sequences `rows`."""
        return [(key[rows], value[rows]) for key, value in memory]


class CausalGRU4Rec(GRU4Rec):
    """RecBole's GRU4Rec, read at every position."""

    def __init__(self, sizes: GRU4RecSizes, n_items: int, max_length: int):
        super().__init__(recbole_settings(sizes, max_length), ItemCount(n_items))

    def extend(self, items: torch.Tensor, memory: Memory = None) -> tuple[torch.Tensor, Memory]:
        """States [b, s, d] after each of `items` [b, s], which follow those in `memory`; and the memory of
        both.

        Padding (0) may stand at the end alone; the memory of a padded sequence is not to be continued.
        """
        states, memory = self.gru_layers(self.emb_dropout(self.item_embedding(items)), memory)
        return self.dense(states), memory

    def branch(self, items: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, Memory]:
        """States [b, c, d] after each of `items` [b, c], every one of them the next after `memory`; and what
        `follow` goes on from.
        """
        b, c = items.shape
        states, branches = self.extend(items.reshape(-1, 1), memory.repeat_interleave(c, dim=1))
        return states.view(b, c, -1), branches.unflatten(1, (b, c))

    @staticmethod
    def follow(memory: Memory, branches: Memory, rows: torch.Tensor, choice: torch.Tensor) -> Memory:
        """The memory of the sequences `rows` [r], each followed by item `choice` [r] of its branches."""
        return branches[:, rows, choice].contiguous()

    @staticmethod
    def select(memory: Memory, rows: torch.Tensor) -> Memory:
        """The memory of the sequences `rows`."""
        return memory[:, rows]
