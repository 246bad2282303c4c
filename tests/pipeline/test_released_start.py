"""Fine-tuning that starts from a released policy."""

import torch
from safetensors.torch import load_file
from transformers import T5Config, T5ForConditionalGeneration

from prorl.files import sha256_of
from tests.pipeline.clones import ALWAYS, DATASET, TINY


def test_finetune_starts_from_a_released_file(pipeline):
    """Only `finetune` needs the file; what it writes is a policy folder like any other."""
    clone, sizes = pipeline.colleague, TINY["policy"]
    n_ids = 4 * TINY["quantize"][DATASET]["codebook_size"] + 3
    torch.manual_seed(0)
    widths = {name: sizes[name] for name in ("d_model", "d_kv", "d_ff")}
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=n_ids, num_layers=sizes["n_layers"], num_heads=sizes["n_heads"], **widths)
    )
    torch.save(
        {"model": {f"t5.{name}": weight for name, weight in model.state_dict().items()}},
        clone.root / "models/released.pth",
    )
    with clone.changed():
        untold = {"target_tokens": "shared", "acceptances": [], "acceptance": None}
        clone.set(policy=untold, finetune={"init_from": "models/released.pth"})
        clone.dvc("repro", ALWAYS)
        clone.dvc("repro", "--single-item", f"finetune@{DATASET}")
        recorded = clone.read(f"reports/{DATASET}/inputs/finetune.json")
        policy = clone.root / "models/policies" / DATASET / "prorl"
        weights = load_file(policy / "model.safetensors")
    released = sha256_of(clone.root / "models/released.pth")
    (clone.root / "models/released.pth").unlink()
    assert recorded == {"models/released.pth": released}
    assert weights["shared.weight"].shape == (n_ids, sizes["d_model"])
    assert clone.repro() == [ALWAYS]
