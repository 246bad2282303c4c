"""Steam's files in their raw form, nasty lines included."""

import gzip
from pathlib import Path

import pytest

from prorl.config.prepare import Prepare
from prorl.datasets.steam import read_steam
from prorl.errors import DataError
from prorl.params import read_params

SETTINGS = read_params(Path(__file__).parents[2] / "params.yaml").section(Prepare)

REVIEWS = [
    r"{u'username': u'Chaos Syren', u'hours': 0.1, u'products': 41, "
    r"u'product_id': u'725280', u'page_order': 0, "
    r"u'date': u'2017-12-17', u'text': u'This would not be acceptable', u'early_access': False, u'page': 1}",
    r"""{u'username': u"Ha'ru \u2661", u'user_id': u'765', u'products': 5, """
    r"""u'product_id': u'10', u'page_order': 1, """
    r"""u'date': u'2018-01-02', u'text': u'He said "no", {u\'date\': u\'1999-01-01\'}\nand left', """
    r"""u'early_access': True, """
    r"""u'page': 1, u'compensation': u'Product received for free'}""",
    r"{u'username': u'', u'product_id': u'10', u'date': u'2018-01-02', u'text': u''}",
    r"{u'username': u'Chaos Syren', u'product_id': u'10', u'date': u'2017-12-16', "
    r"u'found_funny': 3, u'extra': {u'deep': [1]}}",
]
GAMES = [
    r"{u'publisher': u'Kotoshiro', u'genres': [u'Action', u'Animation &amp; Modeling'], "
    r"u'app_name': u'Lost Summoner', u'title': "
    r"u'Lost Summoner Kitty', u'release_date': u'2018-01-04', u'tags': [u'Strategy', u'Action'], "
    r"u'specs': [u'Single-player', u'Full controller support'], u'price': 4.99, u'id': u'10', "
    r"u'developer': u'Kotoshiro'}",
    r"{u'app_name': u'Only &quot;app&quot; name', u'price': u'Free To Play', "
    r"u'release_date': u'Soon..', u'id': u'725280', "
    r"u'publisher': None}",
    r"{u'app_name': u'Nobody can review this', u'genres': [u'Indie']}",
    r"{u'title': u'A second description', u'id': u'10', u'genres': [u'Racing']}",
]


def write(folder, reviews=REVIEWS, games=GAMES):
    (folder / "steam_reviews.json.gz").write_bytes(gzip.compress("\n".join(reviews).encode()))
    (folder / "steam_games.json.gz").write_bytes(gzip.compress("\n".join(games).encode()))
    return folder


def test_reviews_and_games(tmp_path):
    log = read_steam(write(tmp_path), SETTINGS)
    users, games = log.user_ids.to_pylist(), log.item_ids.to_pylist()
    assert [(users[u], games[i]) for u, i in zip(log.user, log.item, strict=True)] == [
        ("Chaos Syren", "725280"),
        ("Ha'ru ♡", "10"),
        ("Chaos Syren", "10"),
    ]
    assert (log.timestamp - log.timestamp[2]).tolist() == [1, 17, 0]
    assert log.unusable == {"reviews_without_user": 1, "games_without_id": 1, "games_described_again": 1}
    assert log.items.to_dict("records") == [
        {
            "raw_id": "10",
            "title": "Lost Summoner Kitty",
            "year": "2018",
            "genres": ["Action", "Animation & Modeling"],
            "tags": ["Strategy", "Action"],
            "specs": ["Single-player", "Full controller support"],
            "publisher": ["Kotoshiro"],
            "developer": ["Kotoshiro"],
        },
        {
            "raw_id": "725280",
            "title": 'Only "app" name',
            "year": "",
            "genres": [],
            "tags": [],
            "specs": [],
            "publisher": [],
            "developer": [],
        },
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (REVIEWS[0][:-1], "line 2: not a Python literal"),
        (
            REVIEWS[0].replace("2017-12-17", "17 December"),
            "line 2: date is '17 December', allowed: year-month-day",
        ),
        (REVIEWS[0].replace("u'product_id'", "u'product'"), "line 2: field 'product_id' is missing"),
        (REVIEWS[0].replace("u'725280'", "725280"), "line 2: product_id is 725280, allowed: str"),
    ],
)
def test_a_malformed_review_is_named(tmp_path, line, message):
    with pytest.raises(DataError, match=rf"steam_reviews.json.gz: {message}"):
        read_steam(write(tmp_path, reviews=[REVIEWS[0], line]), SETTINGS)


def test_no_game_at_all(tmp_path):
    with pytest.raises(DataError, match=r"steam_games.json.gz: describes no game"):
        read_steam(write(tmp_path, games=[GAMES[2]]), SETTINGS)
