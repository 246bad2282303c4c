"""Titles that a language model writes, matched back to items.

A title is compared without case, accents, marks, its year in brackets and the place of its article. It is an
item's where both are the same, or else that item's whose title is most like it, by at least `LIKENESS` of
difflib's ratio.
"""

import difflib
import re
import unicodedata
from collections.abc import Sequence

LIKENESS = 0.9
YEAR = re.compile(r"\s*\(\s*\d{4}\s*\)\s*$")
ARTICLE = re.compile(r"^(.*),\s+(the|an|a)$")
MARKS = re.compile(r"[^\w\s]|_")


def normalised(title: str) -> str:
    """`title` as titles are compared: "Godfather, The (1972)" and "The Godfather" are the same."""
    plain = unicodedata.normalize("NFKD", title).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = YEAR.sub("", plain.strip())
    plain = ARTICLE.sub(r"\2 \1", plain)
    return " ".join(MARKS.sub(" ", plain).split())


class Titles:
    """The items 1 to n by their titles; of items with the same title the first counts."""

    def __init__(self, titles: Sequence[str]):
        self._items: dict[str, int] = {}
        for item, title in enumerate(titles, 1):
            self._items.setdefault(normalised(title), item)

    def item(self, title: str) -> int | None:
        """The item of `title`; None where no title is like it."""
        own = normalised(title)
        if own in self._items:
            return self._items[own]
        close = difflib.get_close_matches(own, self._items, n=1, cutoff=LIKENESS)
        return self._items[close[0]] if close else None
