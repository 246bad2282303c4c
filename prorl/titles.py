"""Titles as people write them: articles in front or behind, years in brackets, any case."""

import re
import unicodedata

# In the titles' languages.
ARTICLES = (
    "The A An La Le Les L' Un Une Der Die Das Ein Eine El Los Las Una "
    "Il Lo Gli I Det Den De Het O Os As Um Uma"
)
# An article after the last comma of a title, or of a translated title in brackets.
INVERTED = re.compile(rf"(?P<name>[^()]+?), (?P<article>{'|'.join(ARTICLES.split())})(?=\s*(?:[()]|$))")
INVERTED_IN_ANY_CASE = re.compile(INVERTED.pattern, re.IGNORECASE)
WORD = re.compile(r"\w+")
YEAR_IN_BRACKETS = re.compile(r"\(([0-9]{4})\)")
LONGEST_TITLE = 1000  # characters of one whose article is looked for, in time that grows with their square


def natural_title(title: str, pattern: re.Pattern[str] = INVERTED) -> str:
    """The title with its article in front: "Convent, The" -> "The Convent".

    The same for a title in brackets behind it. One of more than `LONGEST_TITLE` characters stays as it is.
    """
    return pattern.sub(_uninverted, title) if len(title) <= LONGEST_TITLE else title


def _uninverted(match: re.Match) -> str:
    name, article = match["name"], match["article"]
    space = name[: len(name) - len(name.lstrip())]
    return f"{space}{article}{'' if article.endswith(chr(39)) else ' '}{name.lstrip()}"


def title_and_year(text: str) -> tuple[str, str]:
    """Title and year of `Title (1995)`; the year is empty where none stands at the end."""
    text = text.rstrip()
    year = YEAR_IN_BRACKETS.fullmatch(text, len(text) - 6) if len(text) >= 6 else None
    return (text[:-6].rstrip(), year[1]) if year else (text, "")


def title_key(text: str) -> str:
    """What all spellings of a title share: its words in small letters, the article in front, without accents
    and the year behind. Empty only for empty text.
    """
    title, _ = title_and_year(" ".join(text.split()))
    if ", " in title:
        title = natural_title(title, INVERTED_IN_ANY_CASE)
    title = title.casefold().replace("'", "")
    if not title.isascii():
        title = "".join(c for c in unicodedata.normalize("NFKD", title) if not unicodedata.combining(c))
    return " ".join(WORD.findall(title)) or text.strip()
