"""Attributes of an item written as one text: lists in brackets, or texts with a separator between."""

import json
import re
from collections import Counter
from pathlib import Path

from prorl.datasets.delimited import ReadTable
from prorl.datasets.records import STRING, literal_text, without_lone_surrogates
from prorl.errors import DataError

# A list as Python or JSON writes it. Two texts without a comma between are none: Python would join them.
LISTED = re.compile(rf"[\[(\{{]\s*(?:{STRING}(?:\s*,\s*{STRING})*+\s*,?\s*)?[\])\}}]")
BRACKETS = {"[": "]", "(": ")", "{": "}"}
OTHER_SEPARATORS = ("|", ";", ",", "/", "\t")


class AttributeTexts:
    """Splits the texts of one file, and remembers what a person should be told of them."""

    def __init__(self, separator: str):
        self.separator = separator
        self._texts = self._lists = self._cut = 0
        self._others: Counter[str] = Counter()
        self._example: dict[str, str] = {}

    def split(self, text: str, read: ReadTable, row: int) -> list[str]:
        """The attributes in `text`, which stands in row `row` of `read`.

        Raises `DataError` for brackets around quotes or commas that are no list of texts, and for a list of
        texts with an escape that stands for no character.
        """
        text = text.strip()
        if not text:
            return []
        if text[-1] == BRACKETS.get(text[0]):
            if LISTED.fullmatch(text):
                self._lists += 1
                try:
                    return [part.strip() for part in _list(text) if part.strip()]
                except (ValueError, SyntaxError) as error:  # an escape that stands for no character
                    raise DataError(
                        f"{read.place(row)}: attributes are {text[:200]!r}, allowed: a list of texts: {error}"
                    ) from error
            if text[0] != "(" and any(mark in text for mark in "'\",:"):
                raise DataError(
                    f"{read.place(row)}: attributes are {text[:200]!r}, allowed: a list of texts, as "
                    f"['a', 'b'], or texts with {self.separator!r} between"
                )
        self._texts += 1
        self._cut += self.separator in text
        for other in OTHER_SEPARATORS:
            if other in text:
                self._others[other] += 1
                self._example.setdefault(other, text)
        return [part.strip() for part in text.split(self.separator) if part.strip()]

    def told(self, path: Path) -> list[str]:
        """A warning where there are texts, and none holds the separator."""
        if not self._texts or self._cut:
            return []
        told = f"{path}: none of {self._texts:,} texts of attributes holds {self.separator!r}"
        if not self._others:
            return [f"{told}, prepare.tabular.separator, so each is one attribute"]
        other, count = self._others.most_common(1)[0]
        example = self._example[other]
        return [
            f"{told}, prepare.tabular.separator, so each is one attribute; {count:,} hold {other!r}, such as "
            f"{example[:100]!r}"
        ]


def _list(text: str) -> list[str]:
    """The texts of a list that `LISTED` matches."""
    try:
        values = json.loads(text)
    except ValueError:  # not JSON, so Python's
        values = [literal_text(part) for part in re.findall(STRING, text)]
    return without_lone_surrogates(values)
