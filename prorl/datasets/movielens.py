"""MovieLens-100K as RecBole ships it.

GroupLens publishes the data for research and restricts their redistribution: they are read where the user has them and never
become part of this project. F. Maxwell Harper and Joseph A. Konstan: The MovieLens Datasets, ACM TiiS 5(4), 2015.
"""

import re
from pathlib import Path

import pandas as pd

from prorl.config import Prepare
from prorl.datasets.delimited import column, identifiers, read_delimited, whole_numbers
from prorl.datasets.sources import RawLog, Source

TERMS = "https://files.grouplens.org/datasets/movielens/ml-100k-README.txt"

ARTICLES = (
    "The A An La Le Les L' Un Une Der Die Das Ein Eine El Los Las Una Il Lo Gli I Det Den De Het O Os As Um Uma"  # in the titles' languages
)
# An article after the last comma of a title, or of a translated title in brackets.
INVERTED = re.compile(rf"(?P<name>[^()]+?), (?P<article>{'|'.join(ARTICLES.split())})(?=\s*(?:[()]|$))")
YEAR = re.compile("[0-9]{4}")  # two items of MovieLens-100K have another word there


def natural_title(title: str) -> str:
    """The title with its articles in front: "Convent, The" -> "The Convent"; the same for a title in brackets."""
    return INVERTED.sub(_uninverted, title)


def _uninverted(match: re.Match) -> str:
    name, article = match["name"], match["article"]
    space = name[: len(name) - len(name.lstrip())]
    return f"{space}{article}{'' if article.endswith(chr(39)) else ' '}{name.lstrip()}"


def _genres(values: list[str], separator: str) -> list[list[str]]:
    """Lists of genres; MovieLens writes `unknown` where there is none."""
    return [[genre for genre in value.split(separator) if genre not in ("", "unknown")] for value in values]


def read_ml_100k(folder: Path, settings: Prepare) -> RawLog:
    """RecBole's files of MovieLens-100K: a first line of `name:type`, values separated by tabs. Fields: year, genres."""
    log = folder / "ml-100k.inter"
    table = read_delimited(log, "\t", None, "utf8", quoted=False)
    catalogue = folder / "ml-100k.item"
    movies = read_delimited(catalogue, "\t", None, "utf8", quoted=False)
    items = pd.DataFrame(
        {
            "raw_id": identifiers(column(movies, "item_id:token", catalogue), "item_id", catalogue, 2).to_pylist(),
            "title": [natural_title(title) for title in column(movies, "movie_title:token_seq", catalogue).to_pylist()],
            "year": [year if YEAR.fullmatch(year) else "" for year in column(movies, "release_year:token", catalogue).to_pylist()],
            "genres": _genres(column(movies, "class:token_seq", catalogue).to_pylist(), " "),
        }
    )
    return RawLog.of(
        identifiers(column(table, "user_id:token", log), "user_id", log, 2),
        identifiers(column(table, "item_id:token", log), "item_id", log, 2),
        whole_numbers(column(table, "timestamp:float", log), "timestamp", log, 2),
        items,
        log,
    )


ML_100K = Source(
    files=(("ml-100k.inter",), ("ml-100k.item",), ("ml-100k.user",)),
    read=read_ml_100k,
    package=("recbole", "dataset_example/ml-100k"),
    remotes=(),
    sha256={
        "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
        "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
        "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    },
    terms=TERMS,
)
