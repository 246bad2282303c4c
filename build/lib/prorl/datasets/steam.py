"""Steam reviews and games, version 2, as the University of California San Diego publishes them.

Wang-Cheng Kang and Julian McAuley: Self-attentive sequential recommendation, ICDM 2018. One Python literal
per line. A user is a `username`, the only name that every review has. Reviews are dated by the day; within a
day they keep the order of the file.
"""

import re
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from prorl.config.prepare import Prepare
from prorl.datasets.records import literal_records, plain_text, plain_texts, required
from prorl.datasets.sources import RawLog, Remote, Source, raw_log
from prorl.errors import DataError

REVIEWS, GAMES = "steam_reviews.json.gz", "steam_games.json.gz"
YEAR = re.compile(r"(?:19|20)[0-9]{2}")


def read_steam(folder: Path, settings: Prepare) -> RawLog:
    """Read the log. Fields of its items: year, genres, tags, specs, publisher, developer."""
    unusable: Counter[str] = Counter(reviews_without_user=0, games_without_id=0, games_described_again=0)
    items = _read_games(folder / GAMES, unusable)
    path = folder / REVIEWS
    users, games, days = [], [], []
    day_of: dict[str, int] = {}  # dates are few, so each is parsed once
    for number, review in literal_records(path, {"username", "product_id", "date"}):
        user = required(review, "username", str, path, number)
        game = required(review, "product_id", str, path, number)
        day = required(review, "date", str, path, number)
        if not user:
            unusable["reviews_without_user"] += 1
            continue
        if day not in day_of:
            day_of[day] = _day(day, path, number)
        users.append(user)
        games.append(game)
        days.append(day_of[day])
    chunked = (pa.chunked_array([users], pa.string()), pa.chunked_array([games], pa.string()))
    return raw_log(*chunked, np.array(days, dtype=np.int64), items, dict(unusable), path)


def _day(text: str, path: Path, number: int) -> int:
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        raise DataError(f"{path}: line {number}: date is {text!r}, allowed: year-month-day") from None


def _read_games(path: Path, unusable: Counter[str]) -> pd.DataFrame:
    """One row per game; where a game is described several times, the first counts.

    A game without an id cannot be reviewed, and is left out.
    """
    games: dict[str, dict] = {}
    for _, game in literal_records(
        path, {"id", "title", "app_name", "genres", "tags", "specs", "publisher", "developer", "release_date"}
    ):
        raw_id = plain_text(game.get("id"))
        if not raw_id:
            unusable["games_without_id"] += 1
        elif raw_id in games:
            unusable["games_described_again"] += 1
        else:
            released = YEAR.search(plain_text(game.get("release_date")))
            games[raw_id] = {
                "raw_id": raw_id,
                "title": plain_text(game.get("title")) or plain_text(game.get("app_name")),
                "year": released[0] if released else "",
                **{
                    name: plain_texts(game.get(name))
                    for name in ("genres", "tags", "specs", "publisher", "developer")
                },
            }
    if not games:
        raise DataError(f"{path}: describes no game")
    return pd.DataFrame(list(games.values()))


STEAM = Source(
    files=((REVIEWS,), (GAMES,)),
    read=read_steam,
    attributes=("genres",),
    profile=("{title}", "({year}).", "{attributes}"),
    remotes=(
        Remote(f"https://cseweb.ucsd.edu/~wckang/{REVIEWS}", sha256=None),
        Remote(f"https://cseweb.ucsd.edu/~wckang/{GAMES}", sha256=None),
    ),
)
