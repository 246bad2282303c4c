"""MovieLens titles, genres and malformed lines."""

from pathlib import Path

import pytest

from prorl.config.prepare import Prepare
from prorl.datasets.movielens import read_ml_1m, read_ml_100k
from prorl.errors import DataError
from prorl.params import read_params

SETTINGS = read_params(Path(__file__).parents[2] / "params.yaml").section(Prepare)


def write_100k(
    folder,
    log="1\t10\t3\t7\n2\t20\t3\t6\n",
    items="10\tConvent, The\t1995\tDrama Children's\n20\tunkonwn\tunkonwn\tunknown\n",
):
    (folder / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + log
    )
    (folder / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n" + items
    )
    return folder


def test_recboles_files(tmp_path):
    log = read_ml_100k(write_100k(tmp_path), SETTINGS)
    assert log.items.to_dict("records") == [
        {"raw_id": "10", "title": "The Convent", "year": "1995", "genres": ["Drama", "Children's"]},
        {"raw_id": "20", "title": "unkonwn", "year": "", "genres": []},
    ]
    assert log.user_ids.to_pylist() == ["1", "2"]
    assert log.item_ids.to_pylist() == ["10", "20"]
    assert log.timestamp.tolist() == [7, 6]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("1\t10\t3\t7\n2\t20\n", r"ml-100k.inter: line 3: 2 values, allowed: 4; found '2\\t20'"),
        (
            "1\t10\t3\t7\n2\t20\t3\tnoon\n",
            r"ml-100k.inter: line 3: timestamp is 'noon', allowed: a whole number",
        ),
        ("1\t10\t3\t7\n2\t20\t3\t99999999999999999999\n", "line 3: timestamp is '9{20}'"),
        ("1\t10\t3\t7\n\t20\t3\t7\n", r"ml-100k.inter: line 3: user_id is empty, allowed: an id"),
        ("1\t10\t3\t7\n\n2\t20\t3\t7\n", r"ml-100k.inter: line 3: user_id is empty"),
        ("", "holds no interaction"),
    ],
)
def test_malformed_lines_are_named(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        read_ml_100k(write_100k(tmp_path, log=lines), SETTINGS)


def test_a_missing_column_is_named(tmp_path):
    write_100k(tmp_path)
    (tmp_path / "ml-100k.inter").write_text("user_id:token\titem_id:token\trating:float\n1\t10\t3\n")
    with pytest.raises(
        DataError, match=r"ml-100k.inter: column 'timestamp:float' is missing; found \['user_id:token', "
    ):
        read_ml_100k(tmp_path, SETTINGS)


def test_text_that_is_not_utf8(tmp_path):
    write_100k(tmp_path)
    (tmp_path / "ml-100k.inter").write_bytes((tmp_path / "ml-100k.inter").read_bytes() + b"\xff\t1\t1\t1\n")
    with pytest.raises(DataError, match=r"ml-100k.inter: not readable"):
        read_ml_100k(tmp_path, SETTINGS)


def write_1m(folder, ratings="1::10::5::978300760\n1::20::3::1000000000\n"):
    (folder / "ratings.dat").write_text(ratings, encoding="latin-1")
    movies = (
        "10::Misérables, Les (1995)::Drama|Musical\n"
        "20::Postino, Il (The Postman) (1994)::Children's|Sci-Fi\n"
        "30::X::Film-Noir\n"
    )
    (folder / "movies.dat").write_text(movies, encoding="latin-1")
    return folder


def test_grouplens_files_of_movielens_1m(tmp_path):
    log = read_ml_1m(write_1m(tmp_path), SETTINGS)
    assert log.items.to_dict("records") == [
        {"raw_id": "10", "title": "Les Misérables", "year": "1995", "genres": ["Drama", "Musical"]},
        {
            "raw_id": "20",
            "title": "Il Postino (The Postman)",
            "year": "1994",
            "genres": ["Children's", "Sci-Fi"],
        },
        {"raw_id": "30", "title": "X", "year": "", "genres": ["Film-Noir"]},
    ]
    assert log.timestamp.tolist() == [978300760, 1000000000]


@pytest.mark.parametrize("line", ["1::10::5", "1::10::5::9::9", "1\t1::10::5::9"])
def test_a_malformed_rating_is_named(tmp_path, line):
    with pytest.raises(DataError, match=r"ratings.dat: line 2: \d values, allowed: 4"):
        read_ml_1m(write_1m(tmp_path, f"1::10::5::978300760\n{line}\n"), SETTINGS)
