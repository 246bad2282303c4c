"""A causal language model, asked in turns of a conversation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch


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
