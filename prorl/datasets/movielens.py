"""MovieLens-100K as RecBole ships it, and MovieLens-1M as GroupLens publishes it.

GroupLens publishes the data for research and restricts their redistribution, so they are never part of this
project. F. Maxwell Harper and Joseph A. Konstan: The MovieLens Datasets, ACM TiiS 5(4), 2015.
"""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa

from prorl.config.prepare import Prepare
from prorl.datasets.delimited import TextForm, identifiers, read_delimited, whole_numbers
from prorl.datasets.sources import InstalledFiles, RawLog, Remote, Source, raw_log
from prorl.titles import natural_title, title_and_year

LICENCE = (
    "GroupLens makes MovieLens available for research, under [terms of its own]"
    "(https://files.grouplens.org/datasets/movielens/{name}-README.txt): no endorsement may be implied, "
    "publications must acknowledge the data, and redistribution and commercial use need permission."
)
PROFILE = ("{title}", "({year}).", "{attributes}")
YEAR = re.compile("[0-9]{4}")  # two items of MovieLens-100K have another word there


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
    form = TextForm("\t")
    log, movies = (read_delimited(folder / f"ml-100k.{ending}", form) for ending in ("inter", "item"))
    titles, years = (
        movies.column(name).to_pylist() for name in ("movie_title:token_seq", "release_year:token")
    )
    items = pd.DataFrame(
        {
            "raw_id": identifiers(movies, "item_id:token", "item_id").to_pylist(),
            "title": [natural_title(title) for title in titles],
            "year": [year if YEAR.fullmatch(year) else "" for year in years],
            "genres": _genres(movies.column("class:token_seq"), " "),
        }
    )
    users = identifiers(log, "user_id:token", "user_id")
    movie_ids = identifiers(log, "item_id:token", "item_id")
    timestamp = whole_numbers(log, "timestamp:float", "timestamp")
    return raw_log(users, movie_ids, timestamp, items, {}, log.path)


def read_ml_1m(folder: Path, settings: Prepare) -> RawLog:
    """Read GroupLens's files of MovieLens-1M: no line of names, values separated by `::`, latin-1.

    Fields of its items: year, genres.
    """
    form = TextForm("::", ["user", "item", "rating", "timestamp"], "latin1")
    log = read_delimited(folder / "ratings.dat", form)
    form = TextForm("::", ["item", "title", "genres"], "latin1")
    movies = read_delimited(folder / "movies.dat", form)
    titles = [title_and_year(title) for title in movies.column("title").to_pylist()]
    items = pd.DataFrame(
        {
            "raw_id": identifiers(movies, "item", "MovieID").to_pylist(),
            "title": [natural_title(title) for title, _ in titles],
            "year": [year for _, year in titles],
            "genres": _genres(movies.column("genres"), "|"),
        }
    )
    users, movie_ids = identifiers(log, "user", "UserID"), identifiers(log, "item", "MovieID")
    timestamp = whole_numbers(log, "timestamp", "Timestamp")
    return raw_log(users, movie_ids, timestamp, items, {}, log.path)


ML_100K = Source(
    files=(("ml-100k.inter",), ("ml-100k.item",), ("ml-100k.user",)),
    read=read_ml_100k,
    attributes=("genres",),
    profile=PROFILE,
    licence=LICENCE.format(name="ml-100k"),
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
    attributes=("genres",),
    profile=PROFILE,
    licence=LICENCE.format(name="ml-1m"),
    remotes=(
        Remote(
            "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
            "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        ),
    ),
)
