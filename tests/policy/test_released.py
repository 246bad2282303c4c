"""Released policies: Transformers T5 models in a PyTorch file, and files that are none."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from prorl.config.policy import Policy
from prorl.errors import DataError
from prorl.layout import IDS_FILE
from prorl.policy.checkpoints import save_policy
from prorl.policy.released import load_released, load_start, require_same_items
from tests.policy.test_checkpoints import write_ids
from tests.tiny_models import PARAMS, random_catalogue, random_prompts

SIZES = PARAMS.section(Policy).replace(
    n_layers=2,
    d_model=16,
    d_ff=32,
    d_kv=8,
    n_heads=3,
    dropout=0.1,
    target_tokens="shared",
    acceptances=[],
    acceptance=None,
)


@pytest.fixture
def ids(tmp_path):
    """A table of semantic IDs, and its catalogue."""
    catalogue = random_catalogue(target_tokens="shared")
    write_ids(tmp_path / IDS_FILE, catalogue)
    return tmp_path / IDS_FILE, catalogue


@pytest.fixture
def theirs(ids):
    """A Transformers T5 with random weights, for the ids of that catalogue."""
    torch.manual_seed(3)
    sizes = {
        "d_model": SIZES.d_model,
        "d_ff": SIZES.d_ff,
        "d_kv": SIZES.d_kv,
        "num_layers": SIZES.n_layers,
        "num_heads": SIZES.n_heads,
    }
    return T5ForConditionalGeneration(T5Config(vocab_size=ids[1].vocabulary.size, **sizes)).eval()


def released(path, model, **changes):
    """`model` in a file at `path`, as released; `changes` replace weights by name, None takes one out."""
    weights = {f"t5.{name}": weight for name, weight in model.state_dict().items()} | changes
    torch.save({"model": {name: weight for name, weight in weights.items() if weight is not None}}, path)
    return path


@torch.no_grad()
def test_a_released_policy_computes_what_transformers_computes(tmp_path, ids, theirs):
    path, catalogue = ids
    policy, its_catalogue = load_released(
        released(tmp_path / "epoch.pth", theirs), SIZES, path, catalogue.decoding
    )
    assert its_catalogue.target_tokens == "shared"
    history, target = random_prompts(4, catalogue.trie.n_items)
    prompt, tokens = its_catalogue.prompt_tokens(history, target), torch.tensor([[0, 3, 6, 9, 1]] * 4)
    ours = policy.eval().logits(policy(prompt, tokens[:, None]), slice(None))[:, 0]
    torch.testing.assert_close(
        theirs(input_ids=prompt, decoder_input_ids=tokens).logits, ours, rtol=0, atol=1e-4
    )


WEIGHT = "t5.encoder.block.1.layer.0.SelfAttention.q.weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({WEIGHT: None}, f"weight '{WEIGHT}' is missing"),
        ({WEIGHT: torch.zeros(24, 17)}, rf"weight '{WEIGHT}' has shape \[24, 17\]; .* make it \[24, 16\]"),
        (
            {"t5.encoder.block.2.layer.0.layer_norm.weight": torch.ones(16)},
            "'t5.encoder.block.2.layer.0.layer_norm.weight' belongs to no",
        ),
        ({"t5.lm_head.weight": torch.zeros(4, 4)}, "'t5.lm_head.weight' differs from 't5.shared.weight'"),
        (
            {"critic.weight": torch.zeros(1)},
            r"found 'critic.weight' \(Tensor\), allowed: tensors with names that start with 't5.'",
        ),
    ],
)
def test_other_weights_are_an_error_that_names_the_first(tmp_path, ids, theirs, changes, message):
    with pytest.raises(DataError, match=rf"epoch\.pth: .*{message}"):
        load_released(released(tmp_path / "epoch.pth", theirs, **changes), SIZES, ids[0], ids[1].decoding)


def test_other_sizes_of_the_codebooks_are_an_error(tmp_path, ids, theirs):
    larger = random_catalogue(codebook_size=9)
    write_ids(tmp_path / "larger.parquet", larger)
    with pytest.raises(
        DataError, match=r"weight 't5.shared.weight' has shape .* the codes in .*larger.parquet make it"
    ):
        load_released(
            released(tmp_path / "epoch.pth", theirs), SIZES, tmp_path / "larger.parquet", larger.decoding
        )


class Code:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("content", [{"model": Code()}, {"weights": {}}, [1, 2], b"no PyTorch file"])
def test_other_files_are_an_error_and_run_nothing(tmp_path, ids, content, capsys):
    path = tmp_path / "epoch.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(
        DataError, match=r"epoch\.pth: (not readable as a PyTorch file of weights alone|expected a mapping)"
    ):
        load_released(path, SIZES, ids[0], ids[1].decoding)
    assert capsys.readouterr().out == ""


def test_target_tokens_of_their_own_are_refused(tmp_path, ids, theirs):
    with pytest.raises(DataError, match=r"policy\.target_tokens must be shared"):
        load_released(
            released(tmp_path / "epoch.pth", theirs),
            SIZES.replace(target_tokens="separate"),
            ids[0],
            ids[1].decoding,
        )


def test_item_ids_are_refused(tmp_path, ids, theirs):
    with pytest.raises(DataError, match=r"policy\.identifiers must be semantic"):
        load_released(
            released(tmp_path / "epoch.pth", theirs),
            SIZES.replace(identifiers="item"),
            ids[0],
            ids[1].decoding,
        )


def test_a_missing_file_is_an_error(tmp_path, ids):
    with pytest.raises(DataError, match=r"none\.pth: no such file"):
        load_released(tmp_path / "none.pth", SIZES, ids[0], ids[1].decoding)


def test_training_starts_from_a_released_file_or_from_a_folder_with_its_own_ids(tmp_path, ids, theirs):
    path, catalogue = ids
    epoch = released(tmp_path / "epoch.pth", theirs)
    policy, its_catalogue, semantic_ids = load_start(epoch, SIZES, path, catalogue.decoding)
    assert semantic_ids == path
    save_policy(tmp_path / "policy", policy, its_catalogue, path)
    other = tmp_path / "other.parquet"  # not read, since the folder holds its own
    again, _, own_ids = load_start(tmp_path / "policy", SIZES, other, catalogue.decoding)
    assert own_ids == tmp_path / "policy" / IDS_FILE
    for name, weight in policy.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)


def test_a_start_over_other_items_than_the_simulators_is_refused(ids):
    path, catalogue = ids
    n_items = catalogue.trie.n_items
    require_same_items(path, catalogue, n_items, "SASRec")
    with pytest.raises(
        DataError, match=rf"got a policy over {n_items} items, .* {n_items + 1} of simulator SA"
    ):
        require_same_items(path, catalogue, n_items + 1, "SASRec")


def test_a_released_policy_is_told_no_acceptance(tmp_path):
    told = SIZES.replace(acceptances=[0.5], acceptance=0.5)
    with pytest.raises(DataError, match=r"any\.pth: .*policy\.acceptances must be empty"):
        load_released(tmp_path / "any.pth", told, tmp_path / "ids", random_catalogue().decoding)
