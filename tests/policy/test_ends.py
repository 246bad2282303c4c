"""Where paths end: how much of them a decoder reads, and what stands behind their last token."""

import pytest
import torch

from prorl.policy.actions import Actions
from prorl.policy.beam import beams
from prorl.policy.decoding import keyed_uniforms, rollouts
from tests.tiny_models import IDENTIFIERS, random_catalogue, random_policy, random_prompts, written

N_ITEMS = 30


def test_a_decoder_reads_up_to_the_token_before_the_last_choice():
    """The start and every token of a path that stops; all but the last of one that is too long to stop."""
    catalogue = random_catalogue(N_ITEMS, min_length=0, max_length=4)
    items = torch.tensor([[[0, 0, 0, 0], [5, 0, 0, 0], [5, 6, 7, 0], [5, 6, 7, 8]]])
    history, target = random_prompts(1, N_ITEMS)
    actions = Actions.of_paths(catalogue, history, target, written(catalogue, items))
    assert actions.n_read.tolist() == [[1, 4, 10, 12]]
    free = random_catalogue(N_ITEMS, constrained=False, min_length=0, max_length=4)
    actions = Actions.of_paths(free, history, target, written(free, items))
    assert actions.n_read.tolist() == [[1, 4, 10, 12]]


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("ids", IDENTIFIERS.values(), ids=IDENTIFIERS)
@torch.no_grad()
def test_lengths_count_items_and_nothing_stands_behind_the_end(constrained, ids):
    catalogue = random_catalogue(N_ITEMS, constrained=constrained, min_length=0, **ids)
    policy = random_policy(catalogue)
    history, target = random_prompts(6, N_ITEMS)
    sampled = rollouts(
        policy, catalogue, history, target, keyed_uniforms(0, torch.arange(6), 5, catalogue.n_tokens)
    )
    for paths in (sampled, beams(policy, catalogue, history, target, 5)):
        for items, length, tokens in zip(
            paths.items.flatten(0, 1).tolist(),
            paths.length.flatten().tolist(),
            paths.tokens.flatten(0, 1).tolist(),
            strict=True,
        ):
            assert length == sum(item != 0 for item in items)
            emitted = tokens.index(-1) if -1 in tokens else len(tokens)
            assert tokens[emitted:] == [-1] * (len(tokens) - emitted)
            whole = emitted - (tokens[emitted - 1] == catalogue.vocabulary.eos)
            assert whole // catalogue.n_levels == length
    assert len(set(sampled.length.flatten().tolist())) > 1
