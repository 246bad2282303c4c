"""The prefixes that rollouts have acted at, each once, and the items that the policy is likeliest to write
next there.

Shape key: `b` prompts, `m` rollouts, `t` path position, `r` prefixes of one length, `c` candidates, `k` token
within an item, `f` forbidden items.
"""

from dataclasses import dataclass

import torch

from prorl.policy.actions import masked_log_softmax
from prorl.policy.catalogue import Catalogue
from prorl.prompts import Prompts
from prorl.semantic_ids.trie import ROOT
from prorl.t5.folds import Folds
from prorl.t5.incremental import IncrementalDecoder
from prorl.t5.model import T5

# Where more than this share of the beams has a choice, the decoder goes on with all; else it peeks for those.
ALL_AT_ONCE = 0.5


@dataclass(frozen=True)
class Prefixes:
    """The prefixes of one length, of all prompts.

    Each has its `prompt`, its `parent` among the prefixes that are an item shorter, the `item` that it ends
    with, and a `rollout` that begins with it, in flat [b * m], all [r]; the empty prefixes have item 0 and
    are their own parents. number [b, m]: the prefix at which each rollout acts, -1 where it does not.
    """

    prompt: torch.Tensor
    parent: torch.Tensor
    item: torch.Tensor
    rollout: torch.Tensor
    number: torch.Tensor


def prefixes_of(items: torch.Tensor, acts: torch.Tensor) -> list[Prefixes]:
    """The prefixes of rollouts `items` [b, m, t] that some of them act at, by `acts` [b, m, t+1], from the
    empty ones on; those of all prompts are there. The children of a prefix follow each other.
    """
    b, m, n_positions = items.shape
    prompt = torch.arange(b, device=items.device)
    nothing = torch.zeros_like(prompt)
    number = torch.where(acts[..., 0], prompt[:, None], -1)
    found = [Prefixes(prompt, prompt, nothing, prompt * m, number)]
    n_ids = int(items.max()) + 1
    rollouts = torch.arange(b * m, device=items.device).view(b, m)
    for t in range(1, n_positions):
        here = acts[..., t]
        if not here.any():
            break
        key, inverse = (number * n_ids + items[..., t - 1])[here].unique(return_inverse=True)
        number = torch.full_like(number, -1).masked_scatter(here, inverse)
        first = torch.full_like(key, b * m).scatter_reduce(0, inverse, rollouts[here], "amin")
        parent = key // n_ids
        found.append(Prefixes(found[-1].prompt[parent], parent, key % n_ids, first, number))
    return found


@dataclass(frozen=True)
class Candidates:
    """The likeliest next items at prefixes.

    items [r, c], 0 where there are fewer; log_probs [r, c, k] of their tokens, each after those before it;
    stop [r], the log-probability of the stop, -inf where there is none.
    """

    items: torch.Tensor
    log_probs: torch.Tensor
    stop: torch.Tensor


@torch.no_grad()
def likeliest(
    policy: T5,
    catalogue: Catalogue,
    prompts: Prompts,
    prefixes: list[Prefixes],
    n_items: int,
    temperature: float,
) -> list[Candidates]:
    """The `n_items` likeliest next items at the prefixes of each length, by a beam search of that width over
    an item's tokens; at most as many as a level has codes.

    Under the policy at `temperature` and the rules of decoding, which are to be constrained.
    """
    decoder = IncrementalDecoder(
        Folds(policy).folded(),
        catalogue.prompt_tokens(prompts.history, prompts.target),
        1,
        catalogue.n_tokens,
    )
    forbidden = catalogue.forbidden_at_start(prompts.history, prompts.target)
    found = []
    for t, level in enumerate(prefixes):
        if t == 0:
            unread = torch.zeros_like(level.item)[:, None]
        else:
            decoder.select(level.parent)
            unread, forbidden = catalogue.item_tokens(level.item), forbidden[level.parent]
            if "repeats" in catalogue.decoding.forbid:
                forbidden = torch.cat([forbidden, level.item[:, None]], dim=1)
        search = _ItemSearch(policy, catalogue, decoder, forbidden, t, temperature)
        found.append(search.likeliest(decoder.step(unread), n_items))
    return found


@dataclass(frozen=True)
class _ItemSearch:
    """A beam search over the tokens of the items that may follow prefixes [r] of length `t`, with their items
    `forbidden` [r, f]; `decoder` has read the prefixes.
    """

    policy: T5
    catalogue: Catalogue
    decoder: IncrementalDecoder
    forbidden: torch.Tensor
    t: int
    temperature: float

    def likeliest(self, states: torch.Tensor, n_items: int) -> Candidates:
        """The `n_items` likeliest, from the decoder states [r, d] at the prefixes."""
        trie, size = self.catalogue.trie, self.catalogue.vocabulary.codebook_size
        every = torch.arange(len(states), device=states.device)
        at_root = torch.full_like(every, ROOT)
        first = self._log_probs(states, at_root, 0, every)
        score, code = first[:, :size].topk(min(n_items, size))
        tokens, log_probs, node = 1 + code[..., None], score[..., None].clone(), trie.next_node[ROOT, code]
        for level in range(1, self.catalogue.n_levels):
            code, own = trie.only_code[node], torch.zeros_like(score)
            undecided = (code < 0) & (score > -torch.inf)
            code = code.clamp(min=0)
            if undecided.any():
                rows = undecided.any(1).nonzero()[:, 0]
                ways = self._ways(tokens, node, code, undecided, level)[rows]
                best = (score[rows, :, None] + ways).flatten(1).topk(score.shape[1]).indices
                beam = rows[:, None], best // size
                for x in (tokens, log_probs, node, score):
                    x[rows] = x[beam]
                code[rows], own[rows] = best % size, ways.flatten(1).gather(1, best)
            score, log_probs = score + own, torch.cat([log_probs, own[..., None]], dim=2)
            node = trie.next_node[node, code]
            tokens = torch.cat([tokens, (1 + size * level + code)[..., None]], dim=2)
        items = trie.leaf_item[node].masked_fill(score == -torch.inf, 0)
        return Candidates(items, log_probs, first[:, size])

    def _ways(
        self,
        tokens: torch.Tensor,
        node: torch.Tensor,
        code: torch.Tensor,
        undecided: torch.Tensor,
        level: int,
    ) -> torch.Tensor:
        """Log-probabilities [r, c, codes] of the codes of `level` behind the beams `tokens` [r, c, k] at
        `node` [r, c]; where a beam is not `undecided` [r, c], its `code` [r, c] is certain.
        """
        row, size = undecided.nonzero()[:, 0], self.catalogue.vocabulary.codebook_size
        if len(row) > ALL_AT_ONCE * undecided.numel():
            states = self.decoder.branch(tokens)[undecided]
        else:
            states = self.decoder.peek(tokens[undecided], row)
        ways = states.new_full((*node.shape, size), -torch.inf).scatter_(2, code[..., None], 0.0)
        ways[undecided] = self._log_probs(states, node[undecided], level, row)
        return ways

    def _log_probs(
        self, states: torch.Tensor, node: torch.Tensor, level: int, rows: torch.Tensor
    ) -> torch.Tensor:
        """Log-probabilities of the choices of `level` at decoder states [s, d] and `node` [s], of the
        prefixes `rows` [s]; -inf throughout where there is none.
        """
        ids = self.catalogue.choice_ids(level, states.device)
        allowed = self.catalogue.allowed(node, level, self.forbidden[rows], torch.full_like(rows, self.t))
        logits = self.policy.logits(states, ids) / self.temperature
        return masked_log_softmax(logits, allowed).masked_fill(~allowed, -torch.inf)
