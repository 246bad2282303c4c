"""LLM-IPP: a language model is told history and target, and asked for a path of titles.

Two turns: the model plans a path as one of three prompts says, plainly, step by step, or by experts who
discuss; then it is asked for a Python list alone. What stands between the first `[` and the next `]` is read
as one; where it is none, the answer is empty. Titles are matched back to items (`prorl.guides.titles`).

Source: Wang et al., WWW 2025 (arXiv 2409.04827); the wording of the prompts is this project's. Departures:
any causal language model instead of gpt-3.5-turbo; users are known by their history alone, not by age, sex
and occupation; items by title alone. One greedy answer to a prompt by default; published are two, the better
one scored (`answers: 2`), and answers that could not be read leave the published mean, but not ours. What is
better is told by IoI under the simulator `picked_by`. Titles without an item, and items that the rules
forbid, are left out and counted. Where too few are left, the most popular items follow, until the path is as
long as the shortest allowed; they are counted as well. Titles of well-known data sets are in the training
data of most language models, so what they know of users' tastes may be from the test set.

Shape key: `b` prompts, `t` path position, `n` items.
"""

import ast
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch

from prorl.config.decoding import Decoding
from prorl.config.proactive import LLMSettings
from prorl.guide import GuideContext
from prorl.guides.causal_model import CausalModel, Chat
from prorl.guides.forbidden import forbidden_at_start
from prorl.guides.popular import by_popularity
from prorl.guides.titles import Titles
from prorl.guides.writing import packed
from prorl.items import causal_models
from prorl.prompts import Prompts
from prorl.runtime import derived_seed
from prorl.simulators.protocol import Simulator

TASK = (
    "You plan what to show a user, one title after another, so that their interest moves step by step from "
    "what they know to a target. Plan at least {n} titles. Each is closely related to the one before it, the "
    "first to what the user saw last, and the last to the target. Take none that the user has seen, and not "
    "the target itself."
)
STYLES = {
    "plain": "",
    "chain_of_thought": (
        " Think step by step: say first what the user likes, then what the target is like, then what lies "
        "between, and plan the titles along that."
    ),
    "tree_of_thought": (
        " Imagine three experts who plan together. Each writes down one step of the plan and shows it to the "
        "others; then all go on to the next step. An expert who notices a mistake leaves. Give the plan that "
        "is left."
    ),
}
ASKED = "The user has seen, in this order: {history}. The target is: {target}. Plan the titles."
LIST = "Now give the titles alone, as a Python list of strings, in their order, and nothing else."


@dataclass(frozen=True)
class Counts:
    """What became of answers: how many there were, how many held no list, their titles, those of them that
    match no item, the matched items that the rules forbid, and the popular items added.
    """

    answers: int = 0
    unreadable: int = 0
    titles: int = 0
    unmatched: int = 0
    forbidden: int = 0
    added: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        parts = (field.name for field in fields(self))
        return Counts(*(getattr(self, name) + getattr(other, name) for name in parts))


@dataclass(frozen=True)
class LLMGuide:
    """Asks `chat`; `titles` [n] are those of the items, `popular` [n] all items, the most popular first."""

    chat: Chat
    settings: LLMSettings
    titles: Sequence[str]
    popular: np.ndarray
    simulator: Simulator | None
    decoding: Decoding
    seed: int

    @classmethod
    def build(cls, settings: LLMSettings, context: GuideContext) -> "LLMGuide":
        """The guide of `settings`. Raises `ConfigError` for a model that is not there."""
        setting, name = f"{context.key}.model", settings.picked_by
        model, tokenizer, _ = causal_models.load_causal_model(
            settings.model, setting, "float32", context.device
        )
        titles = context.data.titles
        popular = by_popularity(context.data, len(titles))
        simulator = None if name is None else context.simulators[name]
        chat = CausalModel(model, tokenizer)
        return cls(chat, settings, titles, popular, simulator, context.decoding, context.seed)

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return len(self.titles)

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`; tells on standard error what became of the answers."""
        paths, counts = self.answered(prompts)
        told = ", ".join(f"{name} {value}" for name, value in asdict(counts).items())
        print(f"llm_ipp: {len(prompts)} prompts: {told}", file=sys.stderr)
        return paths

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """See `CostedGuide.states`: those by which the best of several answers is told, each as long as the
        longest path.
        """
        if self.simulator is None:
            return torch.zeros_like(prompts.target)
        read = prompts.history.shape[1] + self.settings.answers * self.decoding.max_length
        return torch.full_like(prompts.target, read)

    def answered(self, prompts: Prompts) -> tuple[torch.Tensor, Counts]:
        """Paths [b, t], and what became of all answers."""
        items = Titles(self.titles)
        paths, total = [], Counts()
        for row in range(len(prompts)):
            prompt, found = prompts[row : row + 1], []
            for answer in range(self.settings.answers):
                path, counts = self._path(prompt, self._answer(prompt, answer), items)
                found.append(path)
                total += counts
            paths.append(self._best(prompt, torch.stack(found, dim=1)))
        return torch.cat(paths), total

    def _answer(self, prompt: Prompts, number: int) -> str:
        """The model's list of titles, as it wrote it; where there are several answers, each is drawn."""
        seen = ", ".join(repr(self.titles[item - 1]) for item in prompt.history[0].tolist())
        target = repr(self.titles[int(prompt.target) - 1])
        system = TASK.format(n=self.settings.asked_for) + STYLES[self.settings.style]
        turns = [
            {"role": "system", "content": system},
            {"role": "user", "content": ASKED.format(history=seen, target=target)},
        ]
        drawn = self.settings.answers > 1
        seeds = [
            derived_seed(self.seed, "llm_ipp", int(prompt.number), number, turn) if drawn else None
            for turn in ("plan", "list")
        ]
        plan = self.chat.reply(turns, self.settings.max_tokens, seeds[0])
        turns += [{"role": "assistant", "content": plan}, {"role": "user", "content": LIST}]
        return self.chat.reply(turns, self.settings.max_tokens, seeds[1])

    def _path(self, prompt: Prompts, answer: str, titles: Titles) -> tuple[torch.Tensor, Counts]:
        """The path [1, t] of an answer, and what became of it."""
        written = listed(answer)
        matched = [titles.item(title) for title in written or []]
        items = [item for item in matched if item is not None]
        closed = forbidden_at_start(prompt.history, prompt.target, self.n_items, self.decoding)[0]
        kept = []
        for item in items:
            if not closed[item]:
                kept.append(item)
                closed[item] = "repeats" in self.decoding.forbid
        added = []
        n_more = self.decoding.min_length - len(kept)
        if n_more > 0:
            shut = {*kept, *closed.nonzero()[:, 0].tolist()}
            added = [item for item in self.popular.tolist() if item not in shut][:n_more]
        row = torch.tensor([[*kept, *added]], dtype=torch.int64, device=closed.device)
        counts = Counts(
            1, written is None, len(matched), matched.count(None), len(items) - len(kept), len(added)
        )
        return packed(prompt, row, row != 0, self.decoding), counts

    def _best(self, prompt: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """Of paths [1, m, t] the one [1, t] with the greatest IoI; the first of equals."""
        if self.simulator is None:
            return paths[:, 0]
        scores = self.simulator.score(prompt.history, paths, prompt.target, ends=True)
        gain = scores.log_prob[0, :, -1] - scores.log_prob[0, :, 0]
        return paths[:, int(np.argmax(gain.cpu().numpy()))]


def listed(answer: str) -> list[str] | None:
    """The texts of the Python list between the first `[` and the next `]` of `answer`; None where there is
    none.
    """
    _, opened, rest = answer.partition("[")
    inside, closed, _ = rest.partition("]")
    if not opened or not closed:
        return None
    try:
        found = ast.literal_eval(f"[{inside}]")
    except (ValueError, SyntaxError):
        return None
    return [entry for entry in found if isinstance(entry, str)]
