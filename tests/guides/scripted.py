"""A language model that answers from a script instead of computing."""

import hashlib

import pytest

from prorl.guides import llm_ipp
from prorl.items import causal_models


class ScriptedChat:
    """Gives `answers` one after another to the second question of each conversation, and keeps all `turns`;
    without `answers`, titles drawn by conversation and seed.
    """

    def __init__(self, answers=None):
        self.answers, self.turns, self.seeds = list(answers or []), [], []

    def reply(self, turns, max_tokens, seed):
        self.turns.append([dict(turn) for turn in turns])
        self.seeds.append(seed)
        if len(turns) == 2:
            return "First this, [then] that."
        if self.answers:
            return self.answers.pop(0)
        digest = hashlib.sha256(repr((turns, seed)).encode()).digest()
        titles = [f"title {1 + byte % 33} (19{byte % 100:02})" for byte in digest[: digest[0] % 9]]
        return f"Here they are: {titles!r}."


@pytest.fixture
def scripted_model(monkeypatch):
    """Any model that is loaded answers from a script of its own."""
    monkeypatch.setattr(causal_models, "load_causal_model", lambda *arguments: (None, None, None))
    monkeypatch.setattr(llm_ipp, "CausalModel", lambda model, tokenizer: ScriptedChat())
