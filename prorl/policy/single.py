"""The greedy path of one prompt, under the rules of the catalogue, kept in plain numbers.

Plainly: `prorl.policy.decoding.greedy` of a batch that holds the prompt; a test holds the two equal. For one
path, PyTorch's operations on the tables of the trie take longer than decoding, so they are read by NumPy. A
token that is the only one allowed is no choice: the decoder reads it with the next that is one.

Shape key: `h` history, `c` codes.
"""

import numpy as np
import torch

from prorl.policy.catalogue import NO_TOKEN, Catalogue, Paths
from prorl.semantic_ids.trie import ROOT, Trie
from prorl.t5.single import SingleDecoder, SingleLayers


def is_single(catalogue: Catalogue, history: torch.Tensor) -> bool:
    """Whether `greedy_path` is for `history` [b, h]."""
    return len(history) == 1 and history.device.type == "cpu" and catalogue.decoding.constrained


def greedy_path(
    layers: SingleLayers, catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor
) -> Paths:
    """The path of the likeliest token at every step for `history` [1, h] and `target` [1], on a CPU."""
    rules = catalogue.decoding
    written = _Written(catalogue, catalogue.forbidden_at_start(history, target)[0].numpy())
    # Nothing that is made within is seen without, so that its tensors need not track what happens to them.
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        decoder = SingleDecoder(layers, catalogue.prompt_tokens(history, target)[0])
        while len(written.items) < rules.max_length and written.goes_on(decoder):
            pass
    dtype = layers.head.dtype
    items, tokens, log_prob = (
        torch.full((1, 1, n), fill, dtype=dtype)
        for n, fill, dtype in (
            (rules.max_length, 0, torch.int64),
            (catalogue.n_tokens, NO_TOKEN, torch.int64),
            (rules.max_length + 1, 0, dtype),
        )
    )
    for row, values in ((items, written.items), (tokens, written.tokens), (log_prob, written.log_prob)):
        row[0, 0, : len(values)] = torch.tensor(values, dtype=row.dtype)
    return Paths(items, torch.tensor([[len(written.items)]]), tokens, log_prob)


class _Written:
    """A path being written: its tokens, its items, and the log-probability of each action so far.

    forbidden: the items that it may not hold, each once.
    """

    def __init__(self, catalogue: Catalogue, forbidden: np.ndarray):
        self.tokens: list[int] = []
        self.items: list[int] = []
        self.log_prob: list[float] = []
        self._catalogue, self._trie, self._forbidden = catalogue, _Tables(catalogue.trie), forbidden
        self._unread = [catalogue.vocabulary.pad]

    def goes_on(self, decoder: SingleDecoder) -> bool:
        """Write the likeliest item behind the others, or stop; whether it went on."""
        catalogue, trie = self._catalogue, self._trie
        vocabulary, rules = catalogue.vocabulary, catalogue.decoding
        node = ROOT
        self.log_prob.append(0.0)
        for level in range(catalogue.n_levels):
            codes = trie.allowed_codes(node, level, self._forbidden)
            may_stop = level == 0 and len(self.items) >= rules.min_length
            if not len(codes):  # every item is forbidden: the stop is no choice
                self.tokens.append(vocabulary.eos)
                return False
            code = codes[0]
            if len(codes) + may_stop > 1:
                first = 1 + vocabulary.codebook_size * level
                state, self._unread = decoder.step(self._unread), []
                logits = decoder.logits(state, slice(first, first + vocabulary.codebook_size)).numpy()[codes]
                if may_stop:
                    eos = decoder.logits(state, slice(vocabulary.eos, vocabulary.eos + 1)).numpy()
                    logits = np.concatenate([logits, eos])
                likeliest = int(logits.argmax())
                self.log_prob[-1] -= float(np.log(np.exp(logits - logits[likeliest]).sum()))
                if likeliest == len(codes):
                    self.tokens.append(vocabulary.eos)
                    return False
                code = codes[likeliest]
            token = 1 + vocabulary.codebook_size * level + int(code)
            self.tokens.append(token)
            self._unread.append(token)
            node = int(trie.next_node[node, code])
        self.items.append(int(trie.leaf_item[node]))
        if "repeats" in rules.forbid:
            self._forbidden = np.append(self._forbidden, self.items[-1])
        return True


class _Tables:
    """The tables of a trie on a CPU, without a copy."""

    def __init__(self, trie: Trie):
        self.next_node, self.n_items_below = trie.next_node.numpy(), trie.n_items_below.numpy()
        self.leaf_item, self.only_code = trie.leaf_item.numpy(), trie.only_code.numpy()
        self.item_codes, self.item_parents = trie.item_codes.numpy(), trie.item_parents.numpy()

    def allowed_codes(self, node: int, level: int, forbidden: np.ndarray) -> np.ndarray:
        """The codes [c] that lead from `node` at `level` to an item not in `forbidden`, in order.

        As `Trie.allowed_codes`. Behind the first level there always is one.
        """
        if level > 0 and self.only_code[node] >= 0:
            return self.only_code[node : node + 1]
        n_left = self.n_items_below[self.next_node[node]]
        passing = forbidden[self.item_parents[forbidden, level] == node]
        np.subtract.at(n_left, self.item_codes[passing, level], 1)
        return np.flatnonzero(n_left > 0)
