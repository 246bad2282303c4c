"""Canonical tables from a raw log, by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from prorl.config.prepare import Prepare
from prorl.datasets.sources import raw_log
from prorl.errors import DataError
from prorl.params import read_params
from prorl.paths.preparing import prepare
from prorl.tables import INTERACTIONS, ITEMS, USER_SPLITS

SETTINGS = (
    read_params(Path(__file__).parents[2] / "params.yaml")
    .section(Prepare)
    .replace(
        min_user_interactions=2,
        min_item_interactions=2,
        split=[1.0, 1.0, 1.0],
        attributes=["genres"],
        profile=["{title}", "({attributes})"],
    )
)
CATALOGUE = pd.DataFrame(
    {
        "raw_id": ["never seen", "i30", "i10", "i20"],
        "title": ["N", "Thirty", "", "Twenty"],
        "genres": [["X"], ["War", "Drama"], ["War"], []],
    }
)
# user, item, timestamp, in file order
LOG = [
    ("ann", "i10", 5),
    ("bob", "i10", 9),
    ("ann", "i20", 5),  # as early as the first: stays behind it
    ("cid", "i30", 1),
    ("ann", "i30", 4),
    ("bob", "i20", -2),
    ("bob", "lost", 3),  # an item that is not described
    ("cid", "i10", 1),
    ("dan", "i20", 1),  # a user with one interaction
    ("dan", "lost", 1),
]


def log_of(rows, catalogue=CATALOGUE):
    users, items, timestamps = zip(*rows, strict=True)
    return raw_log(
        pa.chunked_array([users]),
        pa.chunked_array([items]),
        np.array(timestamps),
        catalogue,
        {"odd lines": 3},
        Path("x.csv"),
    )


def test_tables_by_hand():
    prepared = prepare(log_of(LOG), SETTINGS, seed=1)
    splits = prepared.splits.cast(USER_SPLITS).to_pylist()
    assert [(row["user"], row["raw_id"]) for row in splits] == [(1, "ann"), (2, "bob"), (3, "cid")]
    assert sorted(row["split"] for row in splits) == ["test", "train", "validation"]
    assert prepared.items.cast(ITEMS).to_pylist() == [
        {
            "item": 1,
            "raw_id": "i30",
            "title": "Thirty",
            "attributes": ["War", "Drama"],
            "text": "Thirty (War, Drama)",
        },
        {"item": 2, "raw_id": "i10", "title": "", "attributes": ["War"], "text": "(War)"},
        {"item": 3, "raw_id": "i20", "title": "Twenty", "attributes": [], "text": "Twenty"},
    ]
    assert [tuple(row.values()) for row in prepared.interactions.cast(INTERACTIONS).to_pylist()] == [
        (1, 1, 4),
        (1, 2, 5),
        (1, 3, 5),
        (2, 3, -2),
        (2, 2, 9),
        (3, 1, 1),
        (3, 2, 1),
    ]


def test_statistics_account_for_every_interaction():
    statistics = prepare(log_of(LOG), SETTINGS, seed=1).statistics
    json.dumps(statistics)
    assert statistics["raw"] == {"interactions": 10, "users": 4, "items": 4}
    assert statistics["dropped"] == {
        "items_without_description": {"interactions": 2, "users": 0, "items": 1},
        "repeats": {"interactions": 0, "users": 0, "items": 0},
        "users_below_minimum": {"interactions": 1, "users": 1, "items": 0},
        "items_below_minimum": {"interactions": 0, "users": 0, "items": 0},
    }
    assert statistics["kept"] == {"interactions": 7, "users": 3, "items": 3}
    assert statistics["unusable_records"] == {"odd lines": 3}
    assert statistics["same_time_as_previous"] == 2
    assert statistics["items_without_attributes"] == 1
    assert statistics["items_without_title"] == 1
    assert statistics["attributes"] == 2
    assert sum(split["interactions"] for split in statistics["split"].values()) == 7


def test_nothing_left_says_which_filter_took_how_much():
    settings = SETTINGS.replace(min_user_interactions=3, min_item_interactions=4)
    with pytest.raises(DataError) as error:
        prepare(log_of(LOG), settings, seed=1)
    assert str(error.value) == (
        "nothing is left of 10 interactions; dropped were "
        "interactions with items that the source does not describe: 2 interactions, 0 users, 1 items; "
        "users with fewer than prepare.min_user_interactions = 3: 5 interactions, 3 users, 0 items; "
        "items with fewer than prepare.min_item_interactions = 4: 3 interactions, 1 users, 3 items; "
        "50.0% of the interactions are dropped, users below 3, prepare.min_user_interactions: "
        "half of the users have at most 2 interactions"
    )


def test_no_described_item_at_all():
    with pytest.raises(DataError, match="does not describe: 10 interactions, 4 users, 4 items"):
        prepare(log_of(LOG, CATALOGUE.iloc[:1]), SETTINGS, seed=1)


def test_an_item_described_twice_is_named():
    with pytest.raises(DataError, match="1 items are described more than once, the first is 'i30'"):
        prepare(log_of(LOG, pd.concat([CATALOGUE, CATALOGUE.iloc[[1]]])), SETTINGS, seed=1)


def test_texts_made_elsewhere_replace_the_template(tmp_path):
    (tmp_path / "texts.json").write_text('{"i30": "a", "i10": "b", "i20": "c"}')
    prepared = prepare(log_of(LOG), SETTINGS.replace(profiles=str(tmp_path / "texts.json")), seed=1)
    assert prepared.items["text"].to_pylist() == ["a", "b", "c"]
