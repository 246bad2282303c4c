"""What people and programs ask a released policy for, checked and turned into requests."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from prorl.bundle.items import Item, Items
from prorl.bundle.paths import GuideRequest
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.policy.catalogue import Catalogue

Named = str | Item  # a raw id, a title or an item
Histories = Sequence[Named] | Sequence[Sequence[Named]]  # one, or several
Targets = Named | Sequence[Named]  # one for all histories, or one for each
Length = int | tuple[int, int] | None  # exactly, or (least, most); None: as the rules have it


class Requests:
    """Makes requests over `items`, for a policy whose rules and acceptances are those of `catalogue`."""

    def __init__(self, items: Items, catalogue: Catalogue, history_length: int):
        self._items, self._catalogue, self._history_length = items, catalogue, history_length

    def of_all(
        self,
        histories: Histories,
        target: Targets,
        **settings: Any,
    ) -> tuple[list[GuideRequest], bool]:
        """A request for each history, numbered from 0, and whether several histories were given.

        Raises as `ReleasedPolicy.guide` does.
        """
        if isinstance(histories, str | Item):
            raise ConfigError(
                f"histories: got {histories!s}, allowed: a list of items, or a list of such lists"
            )
        given: list[Any] = list(histories)
        several = bool(given) and not isinstance(given[0], str | Item)
        each = given if several else [given]
        targets = [target] * len(each) if isinstance(target, str | Item) else list(target)
        if len(targets) != len(each):
            raise ConfigError(
                f"target: got {len(targets)}, allowed: one, or one for each of {len(each)} histories"
            )
        checked = self._settings(**settings)
        requests = [
            self._request(history, towards, checked, number)
            for number, (history, towards) in enumerate(zip(each, targets, strict=True))
        ]
        return requests, several

    def of(self, history: Sequence[Named], target: Named, **settings: Any) -> GuideRequest:
        """The request for one history; raises as `ReleasedPolicy.guide` does."""
        return self._request(history, target, self._settings(**settings), 0)

    def item(self, named: Named, what: str) -> Item:
        """The item called `named`; messages say `what` it is."""
        if isinstance(named, Item):
            if named.item > len(self._items) or self._items[named.item] != named:
                raise DataError(f"{what}: got {named}, allowed: an item of this policy")
            return named
        if not isinstance(named, str):
            raise ConfigError(
                f"{what}: got {named!r} ({type(named).__name__}), allowed: a raw id, a title or an Item"
            )
        try:
            return self._items.find(named)
        except DataError as error:
            raise DataError(f"{what}: {error}") from None

    def _request(
        self, history: Sequence[Named], target: Named, settings: dict[str, Any], number: int
    ) -> GuideRequest:
        """The last items of `history` count; where it may not be shown, those before may not either."""
        if isinstance(history, str | Item) or not history:
            found = str(history) if history else "none"
            raise ConfigError(f"history: got {found}, allowed: a list of at least one item, oldest first")
        items = [self.item(named, f"history[{i}]") for i, named in enumerate(history)]
        request = GuideRequest(
            tuple(items[-self._history_length :]), self.item(target, "target"), number=number, **settings
        )
        older = frozenset(item.item for item in items[: -self._history_length])
        if not older or "history" not in self._catalogue.decoding.forbid:
            return request
        return replace(request, avoid=request.avoid | older)

    def _settings(
        self,
        *,
        length: Length = None,
        avoid: Iterable[Named] = (),
        shown: Iterable[Named] | None = None,
        acceptance: float | None = None,
        n: int = 1,
        temperature: float | None = None,
        seed: int = 0,
    ) -> dict[str, Any]:
        """The settings of a request, checked, under the names that it has for them."""
        for name, value, least in (("n", n, 1), ("seed", seed, 0)):
            if type(value) is not int or value < least:
                raise ConfigError(f"{name}: got {value!r}, allowed: a whole number, at least {least}")
        if temperature is not None and not 0 < temperature < float("inf"):
            raise ConfigError(
                f"temperature: got {temperature}, allowed: above 0, or None for the greedy path"
            )
        if acceptance is None:
            acceptance = self._catalogue.acceptance
        self._catalogue.at(acceptance)
        return {
            "length": self._length(length),
            "avoid": self._avoided(avoid, "avoid") | self._avoided(shown or (), "shown"),
            "acceptance": acceptance,
            "n": n,
            "temperature": 1.0 if temperature is None and n > 1 else temperature,
            "seed": seed,
        }

    def _length(self, length: Length) -> tuple[int, int] | None:
        if length is None:
            return None
        longest = self._catalogue.decoding.max_length
        ends = (length, length) if isinstance(length, int) else tuple(length)
        if len(ends) == 2 and all(type(end) is int for end in ends) and 1 <= ends[0] <= ends[1] <= longest:
            return ends[0], ends[1]
        allowed = f"1 to {longest}, the longest it was trained for, or (least, most) of these"
        raise ConfigError(f"length: got {length}, allowed: {allowed}")

    def _avoided(self, avoid: Iterable[Named], what: str) -> frozenset[int]:
        """The numbers of the items that `avoid` names, by attribute, raw id or title; errors say `what`."""
        if isinstance(avoid, str | Item):
            raise ConfigError(f"{what}: got {avoid!s}, allowed: a list of attributes and items")
        found: set[int] = set()
        for named in avoid:
            attribute = self._items.attribute(named) if isinstance(named, str) else None
            if attribute is not None:
                found.update(item.item for item in self._items.with_attribute[attribute])
                continue
            try:
                found.add(self.item(named, what).item)
            except DataError as error:
                near = self._items.near_attribute(str(named))
                hint = f"; or the attribute {near!r}?" if near else ""
                raise DataError(f"{error}{hint}") from None
        return frozenset(found)
