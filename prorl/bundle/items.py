"""The items of a released policy, found by raw id, by title, or by what people type for one."""

import difflib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from prorl.errors import DataError
from prorl.titles import title_key

NEAR = 5  # titles that an error suggests
COMPARED = 200  # titles with the most words in common that are compared letter by letter


@dataclass(frozen=True)
class Item:
    """One item of the catalogue: its number from 1, and how its data set calls and describes it."""

    item: int
    raw_id: str
    title: str
    attributes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Raw id, title and attributes, as JSON has them."""
        return {"raw_id": self.raw_id, "title": self.title, "attributes": list(self.attributes)}

    def __str__(self) -> str:
        return f"{self.title!r} ({self.raw_id})"


class Items:
    """The catalogue: its length, its items in order, and `items[number]` from 1."""

    def __init__(self, items: Iterable[Item]):
        self._items = list(items)
        self._of_raw_id = {item.raw_id: item for item in self._items}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __getitem__(self, number: int) -> Item:
        """The item with this `number`. Raises `IndexError` outside 1..n."""
        if not 1 <= number <= len(self._items):
            raise IndexError(f"item {number}: allowed: 1..{len(self._items)}")
        return self._items[number - 1]

    def find(self, text: str) -> Item:
        """The item with the raw id or, if there is none, the title `text`.

        A title need not be exact: case, spaces, accents, an article behind it and a missing year do not
        matter. Raises `DataError` for none and for several, with what may have been meant.
        """
        if text in self._of_raw_id:
            return self._of_raw_id[text]
        same = self._of_key.get(title_key(text), [])
        found = [item for item in same if item.title == text] or same
        if len(found) == 1:
            return found[0]
        if found:
            several = "; ".join(f"{item.raw_id}: {', '.join(item.attributes)}" for item in found[:NEAR])
            raise DataError(f"{text!r} is the title of {len(found)} items, name one by its raw id: {several}")
        raise DataError(f"{text!r} is no raw id and no title of the {len(self)} items{self.meant(text)}")

    def meant(self, text: str) -> str:
        """What an error adds about items whose titles are near to `text`; empty where there is none."""
        near = self._near(title_key(text))[:NEAR]
        return f"; did you mean {' or '.join(str(item) for item in near)}?" if near else ""

    def search(self, query: str, limit: int = 10) -> list[Item]:
        """At most `limit` items for what has been typed so far, the best first.

        First the raw id or title `query`, then titles that begin with it, titles with words that begin with
        its words, and near misses.
        """
        key = title_key(query)
        if not key:
            return self._items[:limit]
        words = key.split()
        ranked: list[tuple[int, int, int]] = []
        for own, items in self._of_key.items():
            if own == key:
                rank = 1
            elif own.startswith(key):
                rank = 2
            elif all(f" {begun}" in f" {own}" for begun in words):
                rank = 3
            else:
                continue
            ranked += [(rank, len(own), item.item) for item in items]
        if query.strip() in self._of_raw_id:
            ranked.append((0, 0, self._of_raw_id[query.strip()].item))
        found = [self[number] for _, _, number in sorted(ranked)]
        if len(found) < limit:
            found += self._near(key)
        return list(dict.fromkeys(found))[:limit]

    @cached_property
    def with_attribute(self) -> dict[str, tuple[Item, ...]]:
        """The items that have each attribute."""
        found: dict[str, list[Item]] = defaultdict(list)
        for item in self._items:
            for attribute in item.attributes:
                found[attribute].append(item)
        return {attribute: tuple(items) for attribute, items in sorted(found.items())}

    def attribute(self, text: str) -> str | None:
        """The attribute that `text` names in any case; None for none."""
        return (
            text if text in self.with_attribute else self._attributes_in_any_case.get(text.casefold().strip())
        )

    def near_attribute(self, text: str) -> str | None:
        """The attribute that is written most like `text`; None where none is like it."""
        names = self._attributes_in_any_case
        near = difflib.get_close_matches(text.casefold().strip(), names, n=1)
        return names[near[0]] if near else None

    @cached_property
    def _attributes_in_any_case(self) -> dict[str, str]:
        return {attribute.casefold(): attribute for attribute in self.with_attribute}

    @cached_property
    def _of_key(self) -> dict[str, list[Item]]:
        found: dict[str, list[Item]] = defaultdict(list)
        for item in self._items:
            found[title_key(item.title)].append(item)
        return dict(found)

    @cached_property
    def _keys_with(self) -> dict[str, list[str]]:
        """The titles' keys that hold a word, or two words that a person may write as one."""
        found: dict[str, list[str]] = defaultdict(list)
        for key in self._of_key:
            for part in _parts(key):
                found[part].append(key)
        return dict(found)

    @cached_property
    def _parts_at(self) -> dict[tuple[str, int], list[str]]:
        """All parts of keys by their first letter and, apart, by their last, and by their length."""
        found: dict[tuple[str, int], list[str]] = defaultdict(list)
        for part in self._keys_with:
            for end in (f"{part[0]}-", f"-{part[-1]}"):
                found[end, len(part)].append(part)
        return dict(found)

    def _like(self, part: str) -> list[str]:
        """`part` if a title holds it, else at most five parts of titles that are written nearly so.

        Only those that begin or end with the same letter and are about as long are compared.
        """
        if part in self._keys_with:
            return [part]
        lengths, ends = range(len(part) - 2, len(part) + 3), (f"{part[0]}-", f"-{part[-1]}")
        near = {other for at in itertools.product(ends, lengths) for other in self._parts_at.get(at, ())}
        return difflib.get_close_matches(part, sorted(near), n=5)

    def _near(self, key: str) -> list[Item]:
        """Items whose titles have words like those of `key`, the most similar first."""
        common: Counter[str] = Counter()
        for part in _parts(key):
            common.update({own for word in self._like(part) for own in self._keys_with[word]})
        most = sorted(common, key=lambda own: (-common[own], own))[:COMPARED]
        similar = {own: difflib.SequenceMatcher(None, key, own).ratio() for own in most}
        best = sorted(similar, key=lambda own: (-similar[own], own))
        return [item for own in best if similar[own] > 0.4 for item in self._of_key[own]]


def _parts(key: str) -> set[str]:
    words = key.split()
    return {*words, *(first + second for first, second in itertools.pairwise(words))}
