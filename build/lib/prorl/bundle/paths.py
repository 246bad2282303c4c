"""What a released policy is asked for, what it gives, and what a simulator says of that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prorl.bundle.items import Item


@dataclass(frozen=True)
class GuideRequest:
    """A user, a target, and what is wished of the paths between.

    history: oldest first; length: the fewest and the most items, None as the policy's rules have them; avoid:
    the numbers of items that no path may hold; acceptance: one of the policy's, None for its own; n: paths;
    temperature: that they are sampled at, None for the greedy path; seed and number key what is drawn.
    """

    history: tuple[Item, ...]
    target: Item
    length: tuple[int, int] | None = None
    avoid: frozenset[int] = frozenset()
    acceptance: float | None = None
    n: int = 1
    temperature: float | None = None
    seed: int = 0
    number: int = 0


@dataclass(frozen=True)
class GuidedPath:
    """A path from the end of a history towards a target.

    history: the items that counted; propensities: the probability of each item given what came before, under
    the rules and at the temperature, 1 throughout for a greedy path; stop_propensity: that of stopping where
    it does, 1 where the rules leave no choice; reasons: the attributes that each item shares with the item
    before it, the first with the history's last.
    """

    history: tuple[Item, ...]
    target: Item
    items: tuple[Item, ...]
    propensities: tuple[float, ...]
    stop_propensity: float
    reasons: tuple[tuple[str, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        steps = zip(self.items, self.reasons, self.propensities, strict=True)
        return {
            "history": [item.as_dict() for item in self.history],
            "target": self.target.as_dict(),
            "items": [
                item.as_dict() | {"why": list(why), "propensity": propensity}
                for item, why, propensity in steps
            ],
            "stop_propensity": self.stop_propensity,
        }


def reasons(history: Sequence[Item], items: Sequence[Item]) -> tuple[tuple[str, ...], ...]:
    """`GuidedPath.reasons` of the path `items` after `history`."""
    before = (history[-1], *items[:-1])[: len(items)]
    return tuple(
        tuple(attribute for attribute in item.attributes if attribute in earlier.attributes)
        for earlier, item in zip(before, items, strict=True)
    )


@dataclass(frozen=True)
class Judged:
    """What a simulator says of a path of t items.

    acceptance (t,): the probability that the user takes each item; target_probability and target_rank
    (t + 1,): of the target among all items, before the path and after each item of it; rank 1 is best.
    """

    acceptance: tuple[float, ...]
    target_probability: tuple[float, ...]
    target_rank: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {name: list(getattr(self, name)) for name in self.__dataclass_fields__}
