"""The obvious versions of the parts of a policy step.

They are what a competent user of Transformers and RecBole writes: batched, without needless work.

Shape key: `b` prompts, `m` paths per prompt, `r` paths of all prompts, `t` path position, `s` tokens, `v`
vocabulary.
"""

from collections import Counter

import torch
from transformers import T5Config, T5ForConditionalGeneration

from prorl.policy.catalogue import Catalogue
from prorl.t5.model import T5
from prorl.tables import NON_ITEM

IMPOSSIBLE = -1e9  # logit of what is not allowed


def transformers_policy(policy: T5, catalogue: Catalogue) -> T5ForConditionalGeneration:
    """A copy of `policy` as Transformers' own T5, in evaluation mode; device and precision stay."""
    sizes, vocabulary = policy.sizes, catalogue.vocabulary
    config = T5Config(
        vocab_size=sizes.vocabulary,
        num_layers=sizes.n_layers,
        d_model=sizes.d_model,
        d_ff=sizes.d_ff,
        d_kv=sizes.d_kv,
        num_heads=sizes.n_heads,
        dropout_rate=sizes.dropout,
        feed_forward_proj="relu",
        pad_token_id=vocabulary.pad,
        eos_token_id=vocabulary.eos,
        decoder_start_token_id=vocabulary.pad,
    )
    model = T5ForConditionalGeneration(config).to(policy.shared.weight)
    model.load_state_dict(policy.state_dict(), strict=False)
    model.tie_weights()
    return model.eval()


class PrefixTree:
    """The items of a catalogue as dictionaries.

    tokens: the tokens of an item; item: the item of given tokens; below: what may follow the first tokens
    of an item.
    """

    def __init__(self, catalogue: Catalogue):
        items = torch.arange(1, catalogue.trie.n_items + 1, device=catalogue.trie.item_codes.device)
        self.tokens = dict(
            zip(items.tolist(), map(tuple, catalogue.item_tokens(items).tolist()), strict=True)
        )
        self.item = {tokens: item for item, tokens in self.tokens.items()}
        self.below: dict[tuple, Counter] = {}  # tokens so far -> how many items each next token leads to
        for tokens in self.tokens.values():
            for level, token in enumerate(tokens):
                self.below.setdefault(tokens[:level], Counter())[token] += 1
        self.after = {prefix: list(counts) for prefix, counts in self.below.items()}


class AllowedTokens:
    """Transformers' `prefix_allowed_tokens_fn` under the rules of decoding, for prompts with `m` paths each.

    What a path may go on with is remembered, since the loss needs it again.
    """

    def __init__(
        self, tree: PrefixTree, catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor, m: int
    ):
        self.tree, self.n_levels, self.eos, self.rules, self.m = (
            tree,
            catalogue.n_levels,
            catalogue.vocabulary.eos,
            catalogue.decoding,
            m,
        )
        self.forbidden = [
            (set(items) if "history" in self.rules.forbid else set())
            | ({goal} if "target" in self.rules.forbid else set())
            for items, goal in zip(history.tolist(), target.tolist(), strict=True)
        ]
        self.remembered: dict[tuple, list[int]] = {}

    def __call__(self, row: int, written: torch.Tensor) -> list[int]:
        """Ids that may follow `written` [s], which begins with the decoder's start, in path `row`."""
        return self.following(row, tuple(written.tolist()[1:]))

    def following(self, row: int, written: tuple[int, ...]) -> list[int]:
        """Ids that may follow the ids `written` in path `row`; EOS after EOS."""
        if self.eos in written:
            return [self.eos]
        key = (row, written)
        if key not in self.remembered:
            self.remembered[key] = self._following(row, written)
        return self.remembered[key]

    def _following(self, row: int, written: tuple[int, ...]) -> list[int]:
        k, tree = self.n_levels, self.tree
        n_items, level = divmod(len(written), k)
        prefix = written[n_items * k :]
        forbidden = self.forbidden[row // self.m]
        if "repeats" in self.rules.forbid:
            forbidden = forbidden | {tree.item[written[i : i + k]] for i in range(0, n_items * k, k)}
        lost = Counter(
            tokens[level] for tokens in map(tree.tokens.__getitem__, forbidden) if tokens[:level] == prefix
        )
        counts = tree.below[prefix]
        allowed = (
            [token for token in tree.after[prefix] if lost[token] < counts[token]]
            if lost
            else tree.after[prefix]
        )
        return [*allowed, self.eos] if level == 0 and n_items >= self.rules.min_length else allowed


def sampled_tokens(
    model, catalogue: Catalogue, history: torch.Tensor, target: torch.Tensor, m: int, **options
) -> torch.Tensor:
    """Token ids [r, s] of `m` sampled paths per prompt by `generate`, without the decoder's start."""
    tokens = model.generate(
        input_ids=catalogue.prompt_tokens(history, target),
        do_sample=True,
        top_k=0,
        num_return_sequences=m,
        max_new_tokens=catalogue.n_tokens,
        **options,
    )
    return tokens[:, 1:]


def items_of_tokens(tree: PrefixTree, catalogue: Catalogue, tokens: torch.Tensor, m: int) -> torch.Tensor:
    """Items [b, m, t] of emitted ids [r, s]: 0 behind EOS, `NON_ITEM` for tokens that are no item."""
    k, eos = catalogue.n_levels, catalogue.vocabulary.eos
    paths = torch.zeros(len(tokens), catalogue.decoding.max_length, dtype=torch.int64)
    for row, ids in enumerate(tokens.tolist()):
        end = ids.index(eos) if eos in ids else len(ids)
        for t in range(end // k):
            paths[row, t] = tree.item.get(tuple(ids[t * k : (t + 1) * k]), NON_ITEM)
    return paths.view(-1, m, paths.shape[1]).to(tokens.device)


def written_tokens(catalogue: Catalogue, paths: torch.Tensor) -> torch.Tensor:
    """Token ids [r, s] of paths [b, m, t], with EOS where a path has one.

    Behind it they are -100, which Transformers takes for padding.
    """
    rows = paths.flatten(0, 1)
    tokens = catalogue.item_tokens(rows).flatten(1)
    tokens = torch.cat([tokens, torch.zeros_like(tokens[:, :1])], dim=1)
    length = (rows != 0).sum(1)
    stops = length < catalogue.decoding.max_length
    tokens[stops, length[stops] * catalogue.n_levels] = catalogue.vocabulary.eos
    tokens = tokens[:, : int((tokens != 0).sum(1).max())]
    return tokens.masked_fill(tokens == 0, -100)


def allowed_mask(allowed: AllowedTokens, labels: torch.Tensor, first_row: int, n_ids: int) -> torch.Tensor:
    """Which ids [r, s, v] the paths `labels` [r, s] could choose from; all ids behind the end."""
    rows, places, ids = [], [], []
    mask = torch.zeros(*labels.shape, n_ids, dtype=torch.bool)
    for row, written in enumerate(labels.tolist()):
        for place, token in enumerate(written):
            if token == -100:
                mask[row, place:] = True
                break
            choices = allowed.following(first_row + row, tuple(written[:place]))
            rows += [row] * len(choices)
            places += [place] * len(choices)
            ids += choices
    mask[rows, places, ids] = True
    return mask.to(labels.device)


def token_log_probs(
    model, prompt_tokens: torch.Tensor, labels: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Log-probabilities [r, s, v] in float32 at each token of `labels` [r, s], for prompts [r, s].

    mask [r, s, v]: the ids that were allowed.
    """
    logits = model(
        input_ids=prompt_tokens, decoder_input_ids=model.prepare_decoder_input_ids_from_labels(labels)
    ).logits.float()
    return (logits if mask is None else logits.masked_fill(~mask, IMPOSSIBLE)).log_softmax(-1)


def action_log_probs(
    log_probs: torch.Tensor, labels: torch.Tensor, n_levels: int, n_actions: int
) -> torch.Tensor:
    """Log-probability [r, a] of each action, from those of all tokens [r, s, v].

    It is the sum over an item's tokens, or that of the stop.
    """
    written = labels != -100
    chosen = log_probs.gather(2, labels.clamp(min=0)[..., None])[..., 0].masked_fill(~written, 0.0)
    action = torch.arange(labels.shape[1], device=labels.device).expand_as(labels) // n_levels
    return chosen.new_zeros(len(labels), n_actions).scatter_add_(1, action, chosen)
