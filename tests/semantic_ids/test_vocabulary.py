"""Token ids of the released code, and what lies outside."""

import numpy as np
import pytest
import torch

from prorl.semantic_ids.vocabulary import Vocabulary


def test_four_levels_of_256_codes_have_the_released_ids():
    vocabulary = Vocabulary(4, 256)
    assert (vocabulary.pad, vocabulary.n_codes, vocabulary.eos, vocabulary.size) == (0, 1024, 1026, 1027)
    assert vocabulary.size_with_target_tokens == 1027 + 1024
    codes = torch.tensor([[82, 195, 247, 1], [0, 0, 0, 255]])
    assert vocabulary.tokens(codes).tolist() == [[83, 452, 760, 770], [1, 257, 513, 1024]]


def test_an_array_of_numpy_has_the_same_tokens():
    codes = np.array([[82, 195, 247, 1], [0, 0, 0, 255]])
    tokens = Vocabulary(4, 256).tokens(codes)
    assert (tokens.dtype, tokens.tolist()) == (np.int64, [[83, 452, 760, 770], [1, 257, 513, 1024]])


def test_levels_share_no_token():
    vocabulary = Vocabulary(3, 4)
    every_code = torch.arange(4)[:, None].expand(4, 3)
    assert sorted(vocabulary.tokens(every_code).flatten().tolist()) == list(range(1, 13))


@pytest.mark.parametrize(("n_levels", "codebook_size"), [(1, 2), (3, 5), (4, 256)])
def test_a_code_of_a_level_is_its_place_among_the_ids(n_levels, codebook_size):
    codes = torch.randint(codebook_size, (7, 2, n_levels), generator=torch.Generator().manual_seed(0))
    tokens = Vocabulary(n_levels, codebook_size).tokens(codes)
    assert torch.equal((tokens - 1) % codebook_size, codes)
    assert torch.equal((tokens - 1) // codebook_size, torch.arange(n_levels).expand_as(codes))


@pytest.mark.parametrize(
    ("codes", "message"),
    [([[0, 1]], "2 levels, the vocabulary 3"), ([[0, 0, 4]], r"allowed: 0\.\.3"), ([[-1, 0, 0]], "-1")],
)
def test_codes_outside_the_vocabulary_are_refused(codes, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(3, 4).tokens(torch.tensor(codes))
