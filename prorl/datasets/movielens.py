"""MovieLens-100K as RecBole ships it, and MovieLens-1M as GroupLens publishes it.

GroupLens publishes the data for research and restricts their redistribution, so they are never part of this
project. F. Maxwell Harper and Joseph A. Konstan: The MovieLens Datasets, ACM TiiS 5(4), 2015.
"""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa

from prorl.config.prepare import Prepare
from prorl.datasets.delimited import column, identifiers, read_delimited, whole_numbers
from prorl.datasets.sources import InstalledFiles, RawLog, Remote, Source, raw_log

# In the titles' languages.
ARTICLES = (
    "The A An La Le Les L' Un Une Der Die Das Ein Eine El Los Las Una "
    "Il Lo Gli I Det Den De Het O Os As Um Uma"
)
# An article after the last comma of a title, or of a translated title in brackets.
INVERTED = re.compile(rf"(?P<name>[^()]+?), (?P<article>{'|'.join(ARTICLES.split())})(?=\s*(?:[()]|$))")
TITLE_AND_YEAR = re.compile(r"(?P<title>.*?)\s*(?:\((?P<year>[0-9]{4})\))?\s*", re.DOTALL)
YEAR = re.compile("[0-9]{4}")  # two items of MovieLens-100K have another word there


def natural_title(title: str) -> str:
    """The title with its article in front: "Convent, The" -> "The Convent".

    The same for a title in brackets behind it.
    """
    return INVERTED.sub(_uninverted, title)


def _uninverted(match: re.Match) -> str:
    name, article = match["name"], match["article"]
    space = name[: len(name) - len(name.lstrip())]
    return f"{space}{article}{'' if article.endswith(chr(39)) else ' '}{name.lstrip()}"


def _title_and_year(text: str) -> re.Match[str]:
    match = TITLE_AND_YEAR.fullmatch(text)
    assert match is not None  # the pattern matches any text
    return match


def _genres(values: pa.ChunkedArray, separator: str) -> list[list[str]]:
    """Lists of genres, empty where MovieLens writes `unknown` or `(no genres listed)`."""
    nothing = {"", "unknown", "(no genres listed)"}
    return [
        [genre for genre in value.split(separator) if genre not in nothing] for value in values.to_pylist()
    ]


def read_ml_100k(folder: Path, settings: Prepare) -> RawLog:
    """Read RecBole's files of MovieLens-100K: a first line of `name:type`, values separated by tabs.

    Fields of its items: year, genres.
    """
    log, catalogue = folder / "ml-100k.inter", folder / "ml-100k.item"
    table = read_delimited(log, "\t", None, "utf8", quoted=False)
    movies = read_delimited(catalogue, "\t", None, "utf8", quoted=False)
    items = pd.DataFrame(
        {
            "raw_id": identifiers(
                column(movies, "item_id:token", catalogue), "item_id", catalogue, 2
            ).to_pylist(),
            "title": [
                natural_title(title)
                for title in column(movies, "movie_title:token_seq", catalogue).to_pylist()
            ],
            "year": [
                year if YEAR.fullmatch(year) else ""
                for year in column(movies, "release_year:token", catalogue).to_pylist()
            ],
            "genres": _genres(column(movies, "class:token_seq", catalogue), " "),
        }
    )
    users = identifiers(column(table, "user_id:token", log), "user_id", log, 2)
    movie_ids = identifiers(column(table, "item_id:token", log), "item_id", log, 2)
    return raw_log(
        users,
        movie_ids,
        whole_numbers(column(table, "timestamp:float", log), "timestamp", log, 2),
        items,
        {},
        log,
    )


def read_ml_1m(folder: Path, settings: Prepare) -> RawLog:
    """Read GroupLens's files of MovieLens-1M: no line of names, values separated by `::`, latin-1.

    Fields of its items: year, genres.
    """
    log, catalogue = folder / "ratings.dat", folder / "movies.dat"
    table = read_delimited(log, "::", ["user", "item", "rating", "timestamp"], "latin1", quoted=False)
    movies = read_delimited(catalogue, "::", ["item", "title", "genres"], "latin1", quoted=False)
    titles = [_title_and_year(title) for title in movies["title"].to_pylist()]
    items = pd.DataFrame(
        {
            "raw_id": identifiers(movies["item"], "MovieID", catalogue, 1).to_pylist(),
            "title": [natural_title(match["title"]) for match in titles],
            "year": [match["year"] or "" for match in titles],
            "genres": _genres(movies["genres"], "|"),
        }
    )
    users = identifiers(table["user"], "UserID", log, 1)
    movie_ids = identifiers(table["item"], "MovieID", log, 1)
    return raw_log(users, movie_ids, whole_numbers(table["timestamp"], "Timestamp", log, 1), items, {}, log)


ML_100K = Source(
    files=(("ml-100k.inter",), ("ml-100k.item",), ("ml-100k.user",)),
    read=read_ml_100k,
    installed=InstalledFiles(
        package="recbole",
        folder="dataset_example/ml-100k",
        sha256={
            "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
        },
    ),
)

ML_1M = Source(
    files=(("ratings.dat",), ("movies.dat",), ("users.dat",)),
    read=read_ml_1m,
    remotes=(
        Remote(
            "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
            "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        ),
    ),
)
