"""Amazon's files in their raw form, nasty lines included."""

import gzip
import json
from pathlib import Path

import pytest

from prorl.config.prepare import Prepare
from prorl.datasets.amazon_books import read_amazon_books
from prorl.errors import DataError
from prorl.params import read_params

SETTINGS = read_params(Path(__file__).parents[2] / "params.yaml").section(Prepare)


def review(user="A1REUF3A1YCPHM", book="0001713353", time=1112140800, **more):
    return {
        "overall": 5.0,
        "verified": False,
        "reviewTime": "03 30, 2005",
        "reviewerID": user,
        "asin": book,
        "style": {"Format:": " Hardcover"},
        "reviewText": 'The King, the Mice and the Cheese\nby "Nancy" \\ Gurney',
        "unixReviewTime": time,
        **more,
    }


REVIEWS = [
    review(),
    review("AVP0HXC9FG790", "0001061240", 991440000, style=None, vote="2"),
    review(book="0001061240", image=["x"]),
]
BOOKS = [
    {
        "category": ["Books", "Children's Books", "Literature &amp; Fiction", "</span></span>"],
        "tech1": "",
        "description": ["One &quot;two&quot;", "<p>three</p>"],
        "title": "The King &amp; the Mice",
        "brand": "Visit Amazon's Nancy Gurney Page",
        "rank": ["1,2", "3"],
        "asin": "0001713353",
    },
    {"asin": "0001061240", "category": [], "description": [], "title": "", "brand": "", "rank": "5 in Books"},
    {"asin": "0001713353", "title": "A second description"},
    {
        "asin": "B0",
        "title": "var aPageStart = (new Date()).getTime();",
        "description": "one text",
        "brand": "Someone",
    },
]


def write(folder, reviews=REVIEWS, books=BOOKS):
    for name, records in (("Books_5.json.gz", reviews), ("meta_Books.json.gz", books)):
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        (folder / name).write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return folder


def test_reviews_and_books(tmp_path):
    log = read_amazon_books(write(tmp_path), SETTINGS)
    users, books = log.user_ids.to_pylist(), log.item_ids.to_pylist()
    assert [(users[u], books[i], t) for u, i, t in zip(log.user, log.item, log.timestamp, strict=True)] == [
        ("A1REUF3A1YCPHM", "0001713353", 1112140800),
        ("AVP0HXC9FG790", "0001061240", 991440000),
        ("A1REUF3A1YCPHM", "0001061240", 1112140800),
    ]
    assert log.unusable == {"books_described_again": 1}
    assert log.items.to_dict("records") == [
        {
            "raw_id": "0001713353",
            "title": "The King & the Mice",
            "author": "Nancy Gurney",
            "categories": ["Children's Books", "Literature & Fiction"],
            "description": 'One "two" three',
        },
        {"raw_id": "0001061240", "title": "", "author": "", "categories": [], "description": ""},
        {"raw_id": "B0", "title": "", "author": "Someone", "categories": [], "description": "one text"},
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"reviewerID": "A"', "line 2: not JSON"),
        ({"reviewerID": "A", "asin": "B"}, "line 2: field 'unixReviewTime' is missing"),
        (review(time="noon"), "line 2: unixReviewTime is 'noon', allowed: int"),
        (review(user=None), "line 2: reviewerID is None, allowed: str"),
        (review(book=7), "line 2: asin is 7, allowed: str"),
    ],
)
def test_a_malformed_review_is_named(tmp_path, line, message):
    with pytest.raises(DataError, match=rf"Books_5.json.gz: {message}"):
        read_amazon_books(write(tmp_path, reviews=[review(), line]), SETTINGS)


def test_a_truncated_file(tmp_path):
    write(tmp_path)
    path = tmp_path / "Books_5.json.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"Books_5.json.gz: damaged after line"):
        read_amazon_books(tmp_path, SETTINGS)


def test_a_book_without_asin_is_named(tmp_path):
    with pytest.raises(DataError, match=r"meta_Books.json.gz: line 1: field 'asin' is missing"):
        read_amazon_books(write(tmp_path, books=[{"title": "x"}]), SETTINGS)


def test_reviews_without_a_user_or_book_are_counted_and_a_blank_last_line_is_none(tmp_path):
    reviews = [review(), review(user=""), review(book=""), review("B"), ""]
    log = read_amazon_books(write(tmp_path, reviews), SETTINGS)
    assert log.user_ids.to_pylist() == ["A1REUF3A1YCPHM", "B"]
    assert len(log.user) == 2
    assert (log.unusable["interactions_without_user"], log.unusable["interactions_without_item"]) == (1, 1)


def test_half_a_character_is_replaced_in_titles_and_skipped_in_texts_of_reviews(tmp_path):
    """`json.dumps` writes it as an escape, as the shop's files do."""
    books = [{"asin": "0001713353", "title": "A \ud83d title", "description": ["\ude00"]}]
    reviews = [review(reviewText="nice \ud83d"), review("B\ud83d"), ""]
    log = read_amazon_books(write(tmp_path, reviews, books), SETTINGS)
    assert log.items["title"].tolist() == ["A \ufffd title"]
    assert log.items["description"].tolist() == ["\ufffd"]
    assert log.user_ids.to_pylist() == ["A1REUF3A1YCPHM", "B\ufffd"]
    assert log.timestamp.tolist() == [1112140800] * 2
