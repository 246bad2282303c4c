"""The rules of decoding written out: one path, token by token, the whole policy run again at every token."""

import torch


def forbidden_items(catalogue, history, target, before: list[int]) -> set[int]:
    rules = catalogue.decoding.forbid
    return (
        (set(history.tolist()) if "history" in rules else set())
        | ({int(target)} if "target" in rules else set())
        | (set(before) if "repeats" in rules else set())
    )


def choices(
    policy, catalogue, history, target, before: list[int], codes: list[int], temperature: float = 1.0
) -> dict[int, float]:
    """Log-probability of each next token id after the items `before` and the first `codes` of another."""
    size = catalogue.vocabulary.codebook_size
    forbidden, level = forbidden_items(catalogue, history, target, before), len(codes)
    items = [i for i in range(1, catalogue.trie.n_items + 1) if i not in forbidden]
    own = {i: catalogue.trie.item_codes[i].tolist() for i in items}
    ids = sorted({1 + size * level + own[i][level] for i in items if own[i][:level] == codes})
    if level == 0 and len(before) >= catalogue.decoding.min_length:
        ids.append(catalogue.vocabulary.eos)
    written = [token for i in before for token in catalogue.item_tokens(torch.tensor(i)).tolist()]
    written += [1 + size * at + code for at, code in enumerate(codes)]
    state = policy(catalogue.prompt_tokens(history[None], target[None]), torch.tensor([[[0, *written]]]))[
        0, 0, -1
    ]
    log_probs = (policy.logits(state, torch.tensor(ids)) / temperature).log_softmax(0)
    return dict(zip(ids, log_probs.tolist(), strict=True))


@torch.no_grad()
def action_log_probs(
    policy, catalogue, history, target, path: list[int], temperature: float = 1.0
) -> list[float]:
    """Log-probability of each item of `path`, and of the stop where there is one."""
    size, actions = catalogue.vocabulary.codebook_size, []
    for t, item in enumerate(path):
        total, codes = 0.0, []
        for level, code in enumerate(catalogue.trie.item_codes[item].tolist()):
            total += choices(policy, catalogue, history, target, path[:t], codes, temperature)[
                1 + size * level + code
            ]
            codes.append(code)
        actions.append(total)
    if len(path) < catalogue.decoding.max_length:
        actions.append(
            choices(policy, catalogue, history, target, path, [], temperature)[catalogue.vocabulary.eos]
        )
    return actions


@torch.no_grad()
def greedy_path(policy, catalogue, history, target) -> list[int]:
    """The path of the likeliest token at every step."""
    vocabulary, path = catalogue.vocabulary, []
    while len(path) < catalogue.decoding.max_length:
        codes = []
        for level in range(vocabulary.n_levels):
            options = choices(policy, catalogue, history, target, path, codes)
            token = max(options, key=options.get)
            if token == vocabulary.eos:
                return path
            codes.append(token - 1 - vocabulary.codebook_size * level)
        path.append(
            next(
                i
                for i in range(1, catalogue.trie.n_items + 1)
                if catalogue.trie.item_codes[i].tolist() == codes
            )
        )
    return path


def allowed_paths(catalogue, history, target) -> list[list[int]]:
    """Every path the rules allow."""
    found, open_paths = [], [[]]
    while open_paths:
        path = open_paths.pop()
        if len(path) >= catalogue.decoding.min_length:
            found.append(path)
        if len(path) < catalogue.decoding.max_length:
            forbidden = forbidden_items(catalogue, history, target, path)
            open_paths += [[*path, i] for i in range(1, catalogue.trie.n_items + 1) if i not in forbidden]
    return found


@torch.no_grad()
def beam_paths(policy, catalogue, history, target, n_beams: int) -> list[list[int]]:
    """The paths of a beam search, hypothesis by hypothesis: (score, items, codes of the next item, whether it
    has ended).
    """
    vocabulary, hypotheses = catalogue.vocabulary, [(0.0, [], [], False)]
    item_of = {tuple(catalogue.trie.item_codes[i].tolist()): i for i in range(1, catalogue.trie.n_items + 1)}
    for position in range(catalogue.n_tokens):
        level = position % vocabulary.n_levels
        longer = []
        for score, items, codes, ended in hypotheses:
            if ended:
                longer.append((score, items, codes, True))
                continue
            for token, log_prob in choices(policy, catalogue, history, target, items, codes).items():
                if token == vocabulary.eos:
                    longer.append((score + log_prob, items, [], True))
                    continue
                written = [*codes, token - 1 - vocabulary.codebook_size * level]
                whole = len(written) == vocabulary.n_levels
                longer.append(
                    (
                        score + log_prob,
                        [*items, item_of[tuple(written)]] if whole else items,
                        [] if whole else written,
                        False,
                    )
                )
        hypotheses = sorted(longer, key=lambda hypothesis: -hypothesis[0])[:n_beams]
    return [items for _, items, _, _ in hypotheses]
