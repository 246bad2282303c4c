"""The items of a released policy, found by raw id, by title, or by what people type for one."""

import difflib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
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
            elif all(any(word.startswith(begun) for word in own.split()) for begun in words):
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

    def _near(self, key: str) -> list[Item]:
        """Items whose titles have words like those of `key`, the most similar first."""
        common: Counter[str] = Counter()
        for part in _parts(key):
            like = (
                [part] if part in self._keys_with else difflib.get_close_matches(part, self._keys_with, n=5)
            )
            for own in {own for word in like for own in self._keys_with[word]}:
                common[own] += 1
        most = sorted(common, key=lambda own: (-common[own], own))[:COMPARED]
        similar = {own: difflib.SequenceMatcher(None, key, own).ratio() for own in most}
        best = sorted(similar, key=lambda own: (-similar[own], own))
        return [item for own in best if similar[own] > 0.4 for item in self._of_key[own]]


def _parts(key: str) -> set[str]:
    words = key.split()
    return {*words, *(first + second for first, second in pairwise(words))}
