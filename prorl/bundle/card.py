"""The model card of a released policy: what it is, its figures, what they rest on, and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prorl.config.decoding import Decoding
from prorl.metrics.registry import decimals_of, in_order, label

Value = Mapping[str, float | None]  # mean, low, high; the latter None where there is no interval

HEADER = """\
---
library_name: prorl
tags: [recommendation, proactive-recommendation, t5]
---

# {name}, trained on {dataset}

Writes paths of items that lead a user from what they had last towards a target item, each step one that
they are likely to take. A T5 encoder-decoder of {n_parameters:,} parameters, which knows {n_items:,} items.

```python
import prorl

policy = prorl.load_policy("path/of/this/folder")
[path] = policy.guide(["{first}", "{second}"], target="{target}")
print([item.title for item in path.items])
```

`config.json`, `generation_config.json` and `model.safetensors` are a `T5ForConditionalGeneration` of
Transformers. It writes an item as the tokens that `semantic_ids.parquet` lists, or where `prorl.json` says
`identifiers: item` as one, its number. Which items a path may hold is kept by `prorl` alone, by the rules in
`prorl.json`. `params.json` has the settings of the training, `metrics.json` the figures below in full.
"""

LIMITS = """\
- The judges are simulators: sequential recommenders, trained on logs, that stand in for users. No person
  has seen these paths.
- CTR and acceptance are a simulator's scores between 0 and 1, and no probability that a real user takes an
  item. {calibration}
- IoI and IoR are differences of a simulator's interest in the target. They compare guides and predict no
  sales.
- It was trained and judged on histories of {history_length} items. Longer ones are cut to their last
  {history_length}. Shorter ones are outside of its training, and nobody has measured paths for them.
- Other lengths, items to avoid and temperatures were not judged either.
- It knows the {n_items:,} items of its data set alone. An item that came later needs another training.
- What it learnt are the habits of one log, whose gaps and fashions are its own too.
"""


@dataclass(frozen=True)
class Card:
    """What a card tells.

    test: {judge: {metric: value}} of the policy on test prompts, and start: of what it was fine-tuned from,
    None where it is that itself; gate: what the gate stage found, None where it judged another policy;
    validated: {judge: what the validate stage found}; judge: the main one; trained_against: the simulators
    that had a part in the training; split: {split: users and interactions}; prompts: that were judged;
    titles: of three items for an example; blocked: items that no path holds; changed: what differs from the
    rules that it was judged under, as text.
    """

    name: str
    dataset: str
    n_parameters: int
    n_items: int
    titles: tuple[str, str, str]
    test: Mapping[str, Mapping[str, Any]]
    start: Mapping[str, Mapping[str, Any]] | None
    gate: Mapping[str, Any] | None
    validated: Mapping[str, Mapping[str, Any]]
    judge: str
    trained_against: tuple[str, ...]
    split: Mapping[str, Mapping[str, int]]
    prompts: int
    rules: Decoding
    blocked: int
    acceptances: tuple[float, ...]
    acceptance: float | None
    history_length: int
    changed: str
    licence: str

    def text(self) -> str:
        """The card as Markdown."""
        first, second, target = (title.replace('"', '\\"') for title in self.titles)
        header = HEADER.format(
            name=self.name,
            dataset=self.dataset,
            n_parameters=self.n_parameters,
            n_items=self.n_items,
            first=first,
            second=second,
            target=target,
        )
        limits = LIMITS.format(
            calibration=self._calibration(), history_length=self.history_length, n_items=self.n_items
        )
        parts = {
            "Figures": self._figures(),
            "Gates": self._gates(),
            "What it was trained and judged on": self._data(),
            "Rules of its paths": self._rules(),
            "Limits": limits,
            "Licence of the data": f"{self.licence}\n",
        }
        return "\n".join([header, *(f"## {title}\n\n{text}" for title, text in parts.items())])

    def _calibration(self) -> str:
        temperatures = {
            name: found["calibration"]["temperature"]
            for name, found in self.validated.items()
            if found["calibration"]["temperature"] is not None
        }
        if not temperatures:
            return "They were not calibrated."
        told = ", ".join(f"{value:.2f} for {name}" for name, value in temperatures.items())
        return f"Calibrated, their logits would be divided by a temperature: {told}."

    def _figures(self) -> str:
        prompts = f"{self.prompts:,} prompts of test users towards random targets"
        lines = [f"Greedy paths for {prompts}. In brackets stand 95% intervals over users.\n"]
        if self.start:
            lines.append("*Its start* is the policy that it was fine-tuned from.\n")
        for judge, values in self.test.items():
            lines.append(f"Judged by {judge}{', the main judge' if judge == self.judge else ''}:\n")
            columns = ["metric", self.name, *(["its start"] if self.start else [])]
            lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
            for metric in in_order(name for name, value in values.items() if "mean" in value):
                cells = [label(metric), with_interval(values[metric], decimals_of(metric))]
                if self.start:
                    cells.append(with_interval(self.start[judge][metric], decimals_of(metric)))
                lines.append(f"| {' | '.join(cells)} |")
            lines.append("")
        return "\n".join(lines)

    def _gates(self) -> str:
        if self.gate is None:
            return "No gates were judged for this policy.\n"
        passed = "passed every gate" if self.gate["passed"] else "**did not pass every gate**"
        lines = [f"It {passed}, judged by {self.gate['judge']}:\n", "| gate | value | allowed | verdict |"]
        lines.append("|---|---|---|---|")
        for gate in self.gate["gates"].values():
            bound, allowed = next(iter(gate["allowed"].items()))
            value = "-" if gate["value"] is None else with_interval(gate["value"], 3)
            lines.append(f"| {gate['asks']} | {value} | {bound} {allowed:g} | {gate['verdict']} |")
        return "\n".join([*lines, ""])

    def _data(self) -> str:
        split = ", ".join(
            f"{counts['users']:,} {name} users with {counts['interactions']:,} interactions"
            for name, counts in self.split.items()
        )
        lines = [f"- The log of {self.dataset}, after filters: {self.n_items:,} items; {split}."]
        for judge in self.test:
            part = (
                "had a part in its training"
                if judge in self.trained_against
                else "had no part in its training"
            )
            lines.append(f"- The judge {judge} {part}{self._believed(judge)}.")
        return "\n".join([*lines, ""])

    def _believed(self, judge: str) -> str:
        if judge not in self.validated:
            return ""
        auc = with_interval(self.validated[judge]["auc"]["acceptance"], 3)
        return f"; it tells real next items of held-out users from sampled ones with an AUC of {auc}"

    def _rules(self) -> str:
        rules = self.rules
        forbidden = {
            "repeats": "the same item twice",
            "history": "an item of the history",
            "target": "the target itself",
        }
        lines = [f"- {rules.min_length} to {rules.max_length} items."]
        lines += [f"- No path holds {forbidden[name]}." for name in rules.forbid]
        if self.blocked:
            lines.append(f"- {self.blocked:,} items are blocked and in no path.")
        if self.acceptances:
            told = ", ".join(f"{value:g}" for value in self.acceptances)
            own = f"{self.acceptance:g} where nobody says"
            lines.append(f"- It can be told how much acceptance is to count: {told}; {own}.")
        if self.changed:
            lines.append(f"- {self.changed}")
        return "\n".join([*lines, ""])


def with_interval(value: Value, decimals: int) -> str:
    """`mean [low, high]`, or the mean alone where there is no interval."""
    mean, low, high = (value[key] for key in ("mean", "low", "high"))
    if low is None or high is None:
        return f"{mean:,.{decimals}f}"
    return f"{mean:,.{decimals}f} [{low:,.{decimals}f}, {high:,.{decimals}f}]"
