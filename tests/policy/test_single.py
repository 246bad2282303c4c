"""The greedy path of one prompt against that of a batch, and what its decoder is asked."""

import pytest
import torch

from prorl.policy.decoding import greedy
from prorl.policy.single import greedy_path
from prorl.t5.folds import Folds
from prorl.t5.single import SingleDecoder
from tests.policy import naive
from tests.policy.test_decoding import RULES, SUBSETS
from tests.tiny_models import IDENTIFIERS, random_catalogue, random_policy, random_prompts

N_ITEMS = 30


@pytest.mark.parametrize("forbid", SUBSETS, ids=lambda rules: "+".join(rules) or "nothing")
@pytest.mark.parametrize("lengths", [(1, 4), (3, 3), (2, 4), (0, 3)])
@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_it_is_the_path_in_a_batch(forbid, lengths, ids):
    catalogue = random_catalogue(N_ITEMS, forbid=forbid, min_length=lengths[0], max_length=lengths[1], **ids)
    policy, n = random_policy(catalogue, seed=8).double(), 24
    policy.shared.weight.data[catalogue.vocabulary.eos] *= 2  # so that some paths stop early
    history, target = random_prompts(n, N_ITEMS)
    history[::3, 0] = 0  # padding
    together = greedy(policy, catalogue, history, target)
    for i in range(n):
        alone = greedy(policy, catalogue, history[i : i + 1], target[i : i + 1])
        for name in ("items", "length", "tokens"):
            assert torch.equal(getattr(alone, name), getattr(together[i : i + 1], name)), name
        torch.testing.assert_close(alone.log_prob, together.log_prob[i : i + 1], rtol=0, atol=1e-12)
    if lengths[0] < lengths[1]:
        assert len(together.length.unique()) > 1


@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_it_takes_the_likeliest_token_at_every_step(ids):
    catalogue = random_catalogue(N_ITEMS, forbid=RULES, **ids)
    policy = random_policy(catalogue, seed=1).double()
    for prompt in zip(*random_prompts(4, N_ITEMS), strict=True):
        path = greedy(policy, catalogue, *(part[None] for part in prompt)).items[0, 0]
        assert [i for i in path.tolist() if i] == naive.greedy_path(policy, catalogue, *prompt)


@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
def test_without_constraints_a_prompt_alone_is_decoded_as_in_a_batch(ids):
    catalogue = random_catalogue(N_ITEMS, constrained=False, min_length=0, **ids)
    policy = random_policy(catalogue, seed=7).double()
    history, target = random_prompts(8, N_ITEMS)
    together = greedy(policy, catalogue, history, target)
    assert (together.items == -1).any()  # groups of tokens that are no item
    for i in range(8):
        alone = greedy(policy, catalogue, history[i : i + 1], target[i : i + 1])
        assert torch.equal(alone.tokens, together.tokens[i : i + 1])


def test_autocast_is_not_for_a_single_path():
    catalogue = random_catalogue(N_ITEMS, forbid=RULES)
    policy = random_policy(catalogue)
    prompt = random_prompts(1, N_ITEMS)
    expected = greedy(policy, catalogue, *prompt)
    with torch.autocast("cpu", torch.bfloat16):
        path = greedy(policy, catalogue, *prompt)
    assert torch.equal(path.tokens, expected.tokens)
    assert torch.equal(path.log_prob, expected.log_prob)
    assert path.log_prob.dtype == torch.float32


def test_what_it_gives_may_be_worked_with():
    """Its tensors are no inference tensors, which autograd refuses."""
    catalogue = random_catalogue(N_ITEMS)
    path = greedy(random_policy(catalogue), catalogue, *random_prompts(1, N_ITEMS))
    for tensor in vars(path).values():
        assert not tensor.is_inference()


def test_the_decoder_reads_each_token_once_and_only_where_there_is_a_choice(monkeypatch):
    catalogue = random_catalogue(N_ITEMS, forbid=RULES, min_length=4, max_length=4, codebook_size=8)
    policy, read = random_policy(catalogue), []
    step = SingleDecoder.step

    def remember(self, tokens):
        read.append(tokens)
        return step(self, tokens)

    monkeypatch.setattr(SingleDecoder, "step", remember)
    history, target = random_prompts(1, N_ITEMS)
    layers = Folds(policy).single(catalogue.n_tokens)
    path = greedy_path(layers, catalogue, catalogue.asked(history, target))
    tokens = path.tokens[0, 0].tolist()
    every = [token for part in read for token in part]
    assert every == [catalogue.vocabulary.pad, *tokens][: len(every)]
    n_choices = sum(
        len(naive.choices(policy, catalogue, history[0], target[0], path.items[0, 0, :t].tolist(), codes)) > 1
        for t, item in enumerate(path.items[0, 0].tolist())
        for codes in (catalogue.trie.item_codes[item, :level].tolist() for level in range(3))
    )
    assert len(read) == n_choices
    assert n_choices < catalogue.n_tokens
