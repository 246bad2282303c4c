"""Items found by what people type for them."""

import pytest

from prorl.bundle.items import Item, Items
from prorl.errors import DataError

TITLES = {
    "1": "Toy Story",
    "2": "The Godfather",
    "3": "The Godfather: Part II",
    "4": "Amélie (2001)",
    "5": "Cape Fear",
    "6": "Cape Fear",
    "7": "M*A*S*H",
    "8": "Star Wars",
    "9": "12 Angry Men",
    "12 Angry Men": "Lone Star",
    "10": "Les Misérables",
    "11": "!!!",
    "12": "???",
}
ITEMS = Items(
    Item(number, raw_id, title, ("Drama",) if number % 2 else ("Comedy", "Drama"))
    for number, (raw_id, title) in enumerate(TITLES.items(), start=1)
)


@pytest.mark.parametrize(
    ("text", "raw_id"),
    [
        ("8", "8"),
        ("Star Wars", "8"),
        ("  star   WARS ", "8"),
        ("Star Wars (1977)", "8"),
        ("Godfather, The", "2"),
        ("godfather, the (1972)", "2"),
        ("Amelie", "4"),
        ("amélie (2001)", "4"),
        ("Misérables, Les", "10"),
        ("m*a*s*h", "7"),
        ("The Godfather - part II", "3"),
        ("12 Angry Men", "12 Angry Men"),  # a raw id comes before a title
        ("12 angry men", "9"),
        ("!!!", "11"),
    ],
)
def test_it_is_found(text, raw_id):
    assert ITEMS.find(text).raw_id == raw_id


def test_a_title_of_several_items_is_refused_and_they_are_told_apart():
    with pytest.raises(DataError, match=r"'cape fear' is the title of 2 items, .*5: Drama; 6: Comedy, Drama"):
        ITEMS.find("cape fear")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("The Godfahter", r"did you mean 'The Godfather' \(2\) or 'The Godfather: Part II' \(3\)"),
        ("starwars", r"did you mean 'Star Wars' \(8\)"),
        ("Toy Stories", r"did you mean 'Toy Story' \(1\)"),
    ],
)
def test_what_was_meant_is_suggested(text, meant):
    with pytest.raises(DataError, match=f"{text!r} is no raw id and no title of the 13 items; {meant}"):
        ITEMS.find(text)


def test_what_is_like_nothing_gets_no_suggestion():
    with pytest.raises(DataError, match=r"'xyzzy' is no raw id and no title of the 13 items$"):
        ITEMS.find("xyzzy")


@pytest.mark.parametrize(
    ("query", "raw_ids"),
    [
        ("star", ["8", "12 Angry Men"]),  # at its start first, then at the start of another word
        ("godf", ["2", "3"]),
        ("part god", ["3"]),
        ("8", ["8"]),
        ("goodfather", ["2", "3"]),
        ("cape fear", ["5", "6"]),
    ],
)
def test_searching(query, raw_ids):
    assert [item.raw_id for item in ITEMS.search(query)][: len(raw_ids)] == raw_ids


def test_a_search_gives_no_more_than_it_may_and_the_first_items_for_nothing():
    assert len(ITEMS.search("t", limit=2)) == 2
    assert [item.item for item in ITEMS.search("", limit=3)] == [1, 2, 3]


def test_items_are_counted_from_one():
    assert len(ITEMS) == 13
    assert ITEMS[1].title == "Toy Story"
    assert [item.item for item in ITEMS] == list(range(1, 14))
    for number in (0, 14):
        with pytest.raises(IndexError, match=r"allowed: 1\.\.13"):
            ITEMS[number]
