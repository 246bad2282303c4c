"""The words of a text: what stands between spaces and marks, and characters where a script has no spaces."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

WORD = re.compile(r"\b\w+\b")
# Letters of Thai, Lao, Burmese and Khmer, of Japanese, and Chinese characters.
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
LONGEST = 2  # characters of an n-gram: most words of Chinese have two


def words(text: str) -> list[str]:
    """The words of `text` in lower case.

    Of a run of characters that is written without spaces these are its characters, and each two neighbours;
    whole titles would otherwise be words that stand in one item alone.
    """
    text = text.lower()
    found = WORD.findall(UNSPACED.sub(" ", text))
    for run in UNSPACED.findall(text):
        found += _n_grams(run)
    return found


def _n_grams(run: str) -> Iterator[str]:
    for n in range(1, LONGEST + 1):
        for start in range(len(run) - n + 1):
            yield run[start : start + n]


def share_of_single(texts: Sequence[str]) -> float:
    """The share of all words of `texts` that stand in one text alone; 0 where there is no word."""
    listed = [words(text) for text in texts]
    n_texts = Counter(word for found in listed for word in set(found))
    alone = sum(n_texts[word] == 1 for found in listed for word in found)
    return alone / max(1, sum(map(len, listed)))
