"""Causal language models, asked in batches.

Prompts are sorted by length and cut into batches once. What a model says of a batch is kept in a cache on
disk before the next is asked, so that a killed run goes on where it was, with the same batches and therefore
the same bits, and so that nothing is asked again while model, settings and prompt stay what they were.

Shape key: `b` prompts, `s` tokens, `a` tokens of an answer, `v` vocabulary.
"""

import hashlib
import inspect
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prorl.config.causal import CausalSection
from prorl.config.section import ConfigError
from prorl.devices import own_device
from prorl.errors import DataError
from prorl.items.causal_models import load_causal_model
from prorl.runtime import progress


class Causal:
    """The model that `settings` name, frozen, with its tokenizer; `fingerprint` is a key of both."""

    def __init__(self, settings: CausalSection):
        self.settings = settings
        self.device = own_device()
        self.model, self.tokenizer, source = load_causal_model(
            settings.model, f"{settings.section}.model", settings.precision, self.device
        )
        self.fingerprint = _fingerprint(source, settings)
        self._takes = inspect.signature(self.model.forward).parameters

    def prompt_ids(self, prompt: str, where: str) -> list[int]:
        """Token ids of `prompt`, in the model's chat template where the settings say so.

        Raises `DataError` naming `where` for a prompt of more than `max_tokens`.
        """
        if self.settings.chat:
            message = [{"role": "user", "content": prompt}]
            prompt = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        ids = self.tokenizer(prompt, add_special_tokens=not self.settings.chat)["input_ids"]
        if len(ids) > self.settings.max_tokens:
            allowed = f"{self.settings.section}.max_tokens = {self.settings.max_tokens}"
            raise DataError(f"{where}: its prompt has {len(ids)} tokens, allowed: {allowed}")
        return ids

    def answer_ids(self, answer: str, setting: str) -> list[int]:
        """Token ids of an answer. Raises `ConfigError` where it has none."""
        ids = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
        if not ids:
            raise ConfigError(f"params.yaml: {setting}: got {answer!r}, allowed: a text with a token")
        return ids

    @torch.no_grad()
    def log_odds(self, prompts: list[list[int]], yes: list[int], no: list[int]) -> list[float]:
        """log P(yes | prompt) - log P(no | prompt) of each prompt, the answers being all of their tokens."""
        if len(yes) == len(no) == 1:  # one pass tells both
            log_probs = self._log_probs(prompts, 1)[:, 0]
            odds = log_probs[:, yes[0]] - log_probs[:, no[0]]
        else:
            odds = self._of_answer(prompts, yes) - self._of_answer(prompts, no)
        return odds.double().tolist()

    @torch.no_grad()
    def written(self, prompts: list[list[int]], new_tokens: int) -> list[str]:
        """The likeliest next tokens after each prompt, one by one, up to `new_tokens` or the model's end."""
        ids, mask = self._padded(prompts)
        pad = self.tokenizer.pad_token_id
        out = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            num_beams=1,
            max_new_tokens=new_tokens,
            pad_token_id=self.tokenizer.eos_token_id if pad is None else pad,
        )
        texts = self.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]

    def _of_answer(self, prompts: list[list[int]], answer: list[int]) -> torch.Tensor:
        """log P(answer | prompt) [b]: the sum over its tokens."""
        log_probs = self._log_probs([prompt + answer[:-1] for prompt in prompts], len(answer))
        tokens = torch.tensor(answer, device=self.device)[None, :, None].expand(len(prompts), -1, 1)
        return log_probs.gather(2, tokens).sum((1, 2))

    def _log_probs(self, prompts: list[list[int]], n_last: int) -> torch.Tensor:
        """Log-probabilities [b, n_last, v] of the token after each of the `n_last` last ones."""
        ids, mask = self._padded(prompts)
        options: dict[str, Any] = {}
        if "position_ids" in self._takes:
            options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        if "logits_to_keep" in self._takes:
            options["logits_to_keep"] = n_last
        logits = self.model(input_ids=ids, attention_mask=mask, **options).logits[:, -n_last:]
        return logits.float().log_softmax(-1)

    def _padded(self, prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids [b, s], padded on the left, and which of them are read, [b, s]."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(one)) + one for one in prompts])
        mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts])
        return ids.to(self.device), mask.to(self.device)


class Cache:
    """What a model said, by key, in an SQLite file; each `put` is kept before it returns."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path)
        with self._connection:
            self._connection.execute("CREATE TABLE IF NOT EXISTS said (key TEXT PRIMARY KEY, value TEXT)")

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values there are of `keys`."""
        found = {}
        for key in keys:
            row = self._connection.execute("SELECT value FROM said WHERE key = ?", (key,)).fetchone()
            if row is not None:
                found[key] = json.loads(row[0])
        return found

    def put(self, values: dict[str, Any]) -> None:
        """Keep all of `values`, or none."""
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO said VALUES (?, ?)", rows)


def asked(
    causal: Causal,
    prompts: Sequence[str],
    where: Callable[[int], str],
    purpose: tuple,
    compute: Callable[[list[list[int]]], list[Any]],
    cache: Path,
    every_seconds: float,
) -> list[Any]:
    """What `compute` gives for each of `prompts`, in their order; each different prompt is asked once.

    purpose: what the answers depend on beside model and prompt, part of their keys in `cache`. where: how
    messages name the prompt of a number. Batches with an answer that is not in the cache are asked as a
    whole, all others are not.
    """
    known = Cache(cache)
    key_of = [_digest(causal.fingerprint, purpose, prompt) for prompt in prompts]
    number = {key: n for n, key in reversed(list(enumerate(key_of)))}  # the first prompt with each key
    keys = sorted(number, key=number.__getitem__)
    ids = [causal.prompt_ids(prompts[number[key]], where(number[key])) for key in keys]
    order = np.argsort([-len(one) for one in ids], kind="stable")
    size = causal.settings.batch_size
    batches = [order[first : first + size].tolist() for first in range(0, len(order), size)]
    said = known.get(keys)
    todo = [batch for batch in batches if any(keys[n] not in said for n in batch)]
    shown = progress(todo, description=causal.settings.section, unit="batch", every_seconds=every_seconds)
    for batch in shown:
        answers = compute([ids[n] for n in batch])
        new = {keys[n]: answer for n, answer in zip(batch, answers, strict=True) if keys[n] not in said}
        known.put(new)
        said |= new
    return [said[key] for key in key_of]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _fingerprint(source: Path, settings: CausalSection) -> str:
    """A key of the model: its name, and sizes and times of change of its files where they are local."""
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    local = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    own = (settings.model, settings.chat, settings.precision, settings.batch_size)
    return _digest(own, local, torch.__version__)
