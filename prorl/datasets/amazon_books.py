"""Books of the Amazon Review Data (2018), one JSON object per line.

Reviews of users and books that have at least five reviews each, and the books' metadata. Jianmo Ni,
Jiacheng Li and Julian McAuley: Justifying recommendations using distantly-labeled reviews and fine-grained
aspects, EMNLP 2019.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.json

from prorl.config.prepare import Prepare
from prorl.datasets.records import json_records, plain_text, plain_texts, required
from prorl.datasets.sources import RawLog, Remote, Source, raw_log
from prorl.errors import DataError

REVIEWS, BOOKS = "Books_5.json.gz", "meta_Books.json.gz"
REVIEW = pa.schema([("reviewerID", pa.string()), ("asin", pa.string()), ("unixReviewTime", pa.int64())])
BLOCK_BYTES = 1 << 24  # the longest line that can be read
AUTHOR_PAGE = re.compile(r"Visit Amazon's (?P<author>.+) Page")
ROOT_CATEGORY = "Books"  # every book has it, so it says nothing


def read_amazon_books(folder: Path, settings: Prepare) -> RawLog:
    """Read the log. Fields of its items: author, categories, description."""
    path = folder / REVIEWS
    reviews = _read_reviews(path)
    unusable: Counter[str] = Counter(books_described_again=0)
    items = _read_books(folder / BOOKS, unusable)
    time = reviews["unixReviewTime"].to_numpy()
    return raw_log(reviews["reviewerID"], reviews["asin"], time, items, dict(unusable), path)


def _read_reviews(path: Path) -> pa.Table:
    """The columns of `REVIEW`.

    The columnar reader refuses half of a surrogate pair anywhere in a line, so a file that it refuses is read
    line by line, which takes several times as long. Raises `DataError` naming the first line that breaks the
    format.
    """
    try:
        reviews = pyarrow.json.read_json(
            path,
            read_options=pyarrow.json.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=REVIEW, unexpected_field_behavior="ignore"
            ),
        )
        if not any(reviews[name].null_count for name in REVIEW.names):
            return reviews
    except (pa.ArrowInvalid, OSError):
        pass  # for the other reader to name the line, or to read
    columns: dict[str, list] = {name: [] for name in REVIEW.names}
    for number, review in json_records(path):
        for name, kind in (("reviewerID", str), ("asin", str), ("unixReviewTime", int)):
            columns[name].append(required(review, name, kind, path, number))
        if abs(time := columns["unixReviewTime"][-1]) >= 2**63:
            raise DataError(f"{path}: line {number}: unixReviewTime is {time}, allowed: a number of 64 bits")
    return pa.table(columns, schema=REVIEW)


def _read_books(path: Path, unusable: Counter[str]) -> pd.DataFrame:
    """One row per book; where a book is described several times, the first counts."""
    books: dict[str, dict] = {}
    for number, book in json_records(path):
        raw_id = required(book, "asin", str, path, number)
        if raw_id in books:
            unusable["books_described_again"] += 1
            continue
        books[raw_id] = {
            "raw_id": raw_id,
            "title": _title(book.get("title")),
            "author": _author(book.get("brand")),
            "categories": [name for name in plain_texts(book.get("category")) if name != ROOT_CATEGORY],
            "description": " ".join(plain_texts(book.get("description"))),
        }
    if not books:
        raise DataError(f"{path}: describes no book")
    return pd.DataFrame(list(books.values()))


def _title(value: Any) -> str:
    """The title, empty where a record holds a script of the shop's page instead."""
    return "" if isinstance(value, str) and "getTime()" in value else plain_text(value)


def _author(value: Any) -> str:
    text = plain_text(value)
    page = AUTHOR_PAGE.fullmatch(text)
    return page["author"] if page else text


AMAZON_BOOKS = Source(
    files=((REVIEWS,), (BOOKS,)),
    read=read_amazon_books,
    attributes=("categories",),
    profile=("{title}", "by {author}.", "{attributes}.", "{description:.500}"),
    remotes=(
        Remote(
            f"https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/categoryFilesSmall/{REVIEWS}",
            sha256=None,
        ),
        Remote(f"https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/metaFiles2/{BOOKS}", sha256=None),
    ),
)
