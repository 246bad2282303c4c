"""The policy against Transformers' T5, in float64; dropout."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from prorl.t5.kernels import dropout
from prorl.t5.model import RELATIVE_BUCKETS, RELATIVE_MAX_DISTANCE, T5, T5Sizes, relative_bucket

SIZES = T5Sizes(vocabulary=40, n_layers=2, d_model=16, d_ff=24, d_kv=5, n_heads=3, dropout=0.0)
TIED = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    return T5(SIZES).double().eval()


@pytest.fixture(scope="module")
def transformers_t5(policy):
    config = T5Config(
        vocab_size=SIZES.vocabulary,
        num_layers=SIZES.n_layers,
        d_model=SIZES.d_model,
        d_ff=SIZES.d_ff,
        d_kv=SIZES.d_kv,
        num_heads=SIZES.n_heads,
        dropout_rate=0.0,
        feed_forward_proj="relu",
    )
    model = T5ForConditionalGeneration(config).double().eval()
    absent, unexpected = model.load_state_dict(policy.state_dict(), strict=False)
    assert set(absent) <= TIED
    assert not unexpected
    model.tie_weights()
    return model


def tokens(*shape, seed=0):
    return torch.randint(1, SIZES.vocabulary, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize(
    ("n_read", "n_written"), [(9, 7), (60, 40)]
)  # beyond 16 tokens, distances share buckets
@torch.no_grad()
def test_logits_equal_those_of_transformers(policy, transformers_t5, padded, m, n_read, n_written):
    prompt, path = tokens(4, n_read), tokens(4, m, n_written, seed=1)
    path[..., 0] = 0
    if padded:
        prompt[1, 5:] = prompt[3, 1:] = 0
    logits = policy.logits(policy(prompt, path), slice(None))
    expected = transformers_t5(
        input_ids=prompt.repeat_interleave(m, dim=0),
        attention_mask=(prompt != 0).repeat_interleave(m, dim=0).long(),
        decoder_input_ids=path.flatten(0, 1),
    ).logits
    torch.testing.assert_close(logits.flatten(0, 1), expected, rtol=0, atol=1e-5)
    assert logits.std() > 0.1


@torch.no_grad()
def test_logits_of_some_ids_are_those_of_all(policy):
    states = policy(tokens(2, 5), tokens(2, 1, 3))
    ids = torch.tensor([7, 1, 39])
    torch.testing.assert_close(
        policy.logits(states, ids), policy.logits(states, slice(None))[..., ids], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("bidirectional", [False, True])
def test_relative_buckets_equal_those_of_transformers(bidirectional):
    distance = torch.arange(-300, 301)
    expected = T5Attention._relative_position_bucket(
        distance, bidirectional, RELATIVE_BUCKETS, RELATIVE_MAX_DISTANCE
    )
    assert torch.equal(relative_bucket(distance, bidirectional=bidirectional), expected)


def test_initial_weights_have_the_deviations_of_transformers():
    torch.manual_seed(0)
    sizes = T5Sizes(vocabulary=400, n_layers=1, d_model=64, d_ff=128, d_kv=16, n_heads=4, dropout=0.0)
    ours = T5(sizes).state_dict()
    names = {"num_layers": 1, "d_model": 64, "d_ff": 128, "d_kv": 16, "num_heads": 4}
    theirs = T5ForConditionalGeneration(
        T5Config(vocab_size=400, feed_forward_proj="relu", **names)
    ).state_dict()
    for name, weight in ours.items():
        assert weight.std(correction=0).item() == pytest.approx(
            theirs[name].std(correction=0).item(), rel=0.25
        ), name


def test_dropout_drops_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(1000, 101)
    dropped = dropout(x, 0.25, True)
    assert dropped.eq(0).double().mean().item() == pytest.approx(0.25, abs=0.01)
    assert torch.unique(dropped).tolist() == pytest.approx([0.0, 4 / 3])
    rounded = dropout(x, 0.1, True)  # 26 of 256
    assert rounded.mean().item() == pytest.approx(1.0, abs=0.005)
    assert dropout(x, 0.25, False) is x
    assert dropout(x, 0.0, True) is x


def test_dropout_applies_in_training_alone():
    sizes = T5Sizes(vocabulary=40, n_layers=1, d_model=16, d_ff=24, d_kv=5, n_heads=3, dropout=0.5)
    policy = T5(sizes)
    prompt, path = tokens(2, 5), tokens(2, 1, 3)
    torch.manual_seed(1)
    assert not torch.equal(policy(prompt, path), policy(prompt, path))
    policy.eval()
    assert torch.equal(policy(prompt, path), policy(prompt, path))
