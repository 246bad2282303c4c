"""The greedy path of one prompt, under the rules of the catalogue.

Plainly: `prorl.policy.decoding.likeliest` of a batch that holds the prompt; a test holds the two equal. How
many items are left under each node of the trie is kept up to date, so that what is allowed is read from one
row. A token that is the only one allowed is no choice: the decoder reads it with the next that is one.

Shape key: `f` forbidden items, `c` codes.
"""

import torch

from prorl.policy.catalogue import NO_TOKEN, Asked, Catalogue, Paths
from prorl.semantic_ids.trie import ROOT
from prorl.t5.single import SingleDecoder, SingleLayers


def is_single(catalogue: Catalogue, asked: Asked) -> bool:
    """Whether `greedy_path` is for what is `asked`."""
    return len(asked) == 1 and asked.tokens.device.type == "cpu" and catalogue.decoding.constrained


def greedy_path(layers: SingleLayers, catalogue: Catalogue, asked: Asked) -> Paths:
    """The path of the likeliest token at every step for the one prompt that is `asked` for, on a CPU."""
    # Nothing that is made within is seen without, so that its tensors need not track what happens to them.
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        written, longest = _Written(catalogue, asked), int(asked.longest[0])
        decoder = SingleDecoder(layers, asked.tokens[0])
        while len(written.items) < longest and written.goes_on(decoder):
            pass
    dtype = layers.head.dtype
    items, tokens, log_prob = (
        torch.full((1, 1, n), fill, dtype=dtype)
        for n, fill, dtype in (
            (catalogue.decoding.max_length, 0, torch.int64),
            (catalogue.n_tokens, NO_TOKEN, torch.int64),
            (catalogue.decoding.max_length + 1, 0, dtype),
        )
    )
    for row, values in ((items, written.items), (tokens, written.tokens), (log_prob, written.log_prob)):
        row[0, 0, : len(values)] = torch.tensor(values, dtype=row.dtype)
    return Paths(items, torch.tensor([[len(written.items)]]), tokens, log_prob)


class _Written:
    """A path being written: its tokens, its items, and the log-probability of each action so far."""

    def __init__(self, catalogue: Catalogue, asked: Asked):
        self.tokens: list[int] = []
        self.items: list[int] = []
        self.log_prob: list[float] = []
        self._catalogue, self._shortest = catalogue, int(asked.shortest[0])
        self._unread = [catalogue.vocabulary.pad]
        trie, forbidden = catalogue.trie, asked.forbidden[0]
        forbidden = forbidden[forbidden != 0]
        nodes = trie.next_node[trie.item_parents[forbidden], trie.item_codes[forbidden]].flatten()
        # Items that the path may still hold under each node.
        self._n_left = trie.n_items_below.index_add(0, nodes, -torch.ones_like(nodes))

    def goes_on(self, decoder: SingleDecoder) -> bool:
        """Write the likeliest item behind the others, or stop; whether it went on."""
        catalogue, trie = self._catalogue, self._catalogue.trie
        vocabulary, nodes = catalogue.vocabulary, [ROOT]
        self.log_prob.append(0.0)
        for level in range(catalogue.n_levels):
            codes = self._allowed_codes(nodes[-1], level)
            may_stop = level == 0 and len(self.items) >= self._shortest
            if not len(codes):  # every item is forbidden: the stop is no choice
                self.tokens.append(vocabulary.eos)
                return False
            likeliest = 0
            if len(codes) + may_stop > 1:
                first = 1 + vocabulary.codebook_size * level
                state, self._unread = decoder.step(self._unread), []
                logits = decoder.logits(state, slice(first, first + vocabulary.codebook_size))[codes]
                if may_stop:
                    eos = decoder.logits(state, slice(vocabulary.eos, vocabulary.eos + 1))
                    logits = torch.cat([logits, eos])
                top, choice = logits.max(0)
                self.log_prob[-1] -= float((logits - top).exp_().sum().log_())
                likeliest = int(choice)
                if likeliest == len(codes):
                    self.tokens.append(vocabulary.eos)
                    return False
            code = int(codes[likeliest])
            token = 1 + vocabulary.codebook_size * level + code
            self.tokens.append(token)
            self._unread.append(token)
            nodes.append(int(trie.next_node[nodes[-1], code]))
        self.items.append(int(trie.leaf_item[nodes[-1]]))
        if "repeats" in catalogue.decoding.forbid:
            self._n_left[nodes[1:]] -= 1
        return True

    def _allowed_codes(self, node: int, level: int) -> torch.Tensor:
        """The codes [c] that lead from `node` at `level` to an item that the path may hold, in order.

        As `Trie.allowed_codes`. Behind the first level there always is one.
        """
        trie = self._catalogue.trie
        only = trie.only_code[node : node + 1]
        if level > 0 and int(only) >= 0:
            return only
        return (self._n_left[trie.next_node[node]] > 0).nonzero()[:, 0]
