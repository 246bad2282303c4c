"""The prefixes of rollouts, and the likeliest items at each, against plain loops."""

import pytest
import torch

from prorl.rl.advantages import acting
from prorl.rl.prefixes import likeliest, prefixes_of
from prorl.rl.rollouts import draw
from tests.policy import naive
from tests.tiny_models import prompts_of, random_catalogue, random_policy, random_prompts

RULES = ["repeats", "history", "target"]


def test_prefixes_by_hand():
    items = torch.tensor([[[3, 1, 2], [3, 0, 0], [3, 1, 0]], [[1, 0, 0], [2, 3, 0], [2, 3, 1]]])
    acts = acting((items > 0).sum(-1), 3)
    acts[1, 2] = False  # does not take part
    empty, one, two = prefixes_of(items, acts)
    assert empty.number.tolist() == [[0, 0, 0], [1, 1, -1]]
    assert (empty.prompt.tolist(), empty.rollout.tolist()) == ([0, 1], [0, 3])
    # [3] of the first prompt; [1] and [2] of the second.
    assert (one.prompt.tolist(), one.parent.tolist()) == ([0, 1, 1], [0, 1, 1])
    assert (one.item.tolist(), one.rollout.tolist()) == ([3, 1, 2], [0, 3, 4])
    assert one.number.tolist() == [[0, 0, 0], [1, 2, -1]]
    # [3, 1] and [2, 3]: where a path has stopped before, it does not act.
    assert (two.prompt.tolist(), two.parent.tolist(), two.item.tolist()) == ([0, 1], [0, 2], [1, 3])
    assert two.number.tolist() == [[0, -1, 0], [-1, 1, -1]]


def item_log_probs(policy, catalogue, history, target, prefix, temperature):
    """Log-probabilities of the tokens of every item that may follow `prefix`, by item; and of the stop."""
    size, found = catalogue.vocabulary.codebook_size, {}

    def choices(codes):
        return naive.choices(policy, catalogue, history, target, prefix, codes, temperature)

    forbidden = naive.forbidden_items(catalogue, history, target, prefix)
    for item in set(range(1, catalogue.trie.n_items + 1)) - forbidden:
        codes = catalogue.trie.item_codes[item].tolist()
        found[item] = [choices(codes[:level])[1 + size * level + code] for level, code in enumerate(codes)]
    return found, choices([]).get(catalogue.vocabulary.eos, -torch.inf)


@pytest.mark.parametrize("forbid", [[], RULES])
@torch.no_grad()
def test_as_many_as_there_are_the_likeliest_items_are_all_of_them(forbid):
    catalogue = random_catalogue(9, forbid=forbid, max_length=2, n_levels=3, codebook_size=9)
    policy = random_policy(catalogue).double()
    prompts = prompts_of(*random_prompts(4, 9, history_length=2))
    paths = draw(policy, catalogue, prompts, 3, 1.0, seed=1)
    prefixes = prefixes_of(paths.items, acting(paths.length, 2))
    found = likeliest(policy, catalogue, prompts, prefixes, 9, 0.7)
    n_prefixes = 0
    for t, (level, candidates) in enumerate(zip(prefixes, found, strict=True)):
        for r, prompt in enumerate(level.prompt.tolist()):
            prefix = paths.items.flatten(0, 1)[level.rollout[r], :t].tolist()
            history, target = prompts.history[prompt], prompts.target[prompt]
            expected, stop = item_log_probs(policy, catalogue, history, target, prefix, 0.7)
            items = candidates.items[r]
            assert sorted(items[items > 0].tolist()) == sorted(expected)
            for item, log_probs in zip(items.tolist(), candidates.log_probs[r], strict=True):
                if item > 0:
                    assert log_probs.tolist() == pytest.approx(expected[item], abs=1e-9)
            total = candidates.log_probs[r][items > 0].sum(-1)
            assert total.tolist() == sorted(total.tolist(), reverse=True)
            assert candidates.stop[r].item() == pytest.approx(stop, abs=1e-9)
            n_prefixes += 1
    assert n_prefixes > 8
    assert ((found[0].items == 0).any()) == (forbid == RULES)


@pytest.mark.parametrize("n_items", [1, 3])
@torch.no_grad()
def test_fewer_are_the_likeliest_of_them(n_items):
    """Where the first code tells items apart, the beam search is exact."""
    catalogue = random_catalogue(8, forbid=RULES, n_levels=1, codebook_size=12, max_length=3)
    policy = random_policy(catalogue).double()
    prompts = prompts_of(*random_prompts(5, 8, history_length=2))
    paths = draw(policy, catalogue, prompts, 4, 1.0, seed=1)
    prefixes = prefixes_of(paths.items, acting(paths.length, 3))
    every, few = (likeliest(policy, catalogue, prompts, prefixes, n, 1.0) for n in (12, n_items))
    for all_of_them, some in zip(every, few, strict=True):
        assert torch.equal(all_of_them.items[:, :n_items], some.items)
        torch.testing.assert_close(all_of_them.log_probs[:, :n_items], some.log_probs)
