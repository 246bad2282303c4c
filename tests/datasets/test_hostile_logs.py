"""Every reader of raw files on files that are spoilt: a log, or one line that names the file."""

import gzip
import json
import re
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl.config.prepare import Prepare
from prorl.datasets.amazon_books import read_amazon_books
from prorl.datasets.movielens import read_ml_1m, read_ml_100k
from prorl.datasets.profiles import read_profiles
from prorl.datasets.records import gzip_lines, json_records, literal_records, plain_text
from prorl.datasets.sources import RawLog
from prorl.datasets.steam import read_steam
from prorl.datasets.tabular import read_tabular
from prorl.errors import DataError
from prorl.titles import natural_title
from tests.datasets.test_tabular import SETTINGS
from tests.hostile import BOUNDED, TOKENS, any_bytes, memory_bounded, only_declared
from tests.tiny_models import PARAMS

PREPARE = PARAMS.section(Prepare, "ml-100k")


def parquet(table):
    stream = BytesIO()
    pa.parquet.write_table(pa.table(table), stream)
    return stream.getvalue()


def lines(*records):
    return "".join(f"{record}\n" for record in records).encode()


ML_100K = {
    "ml-100k.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    b"1\t2\t3\t881250949\n2\t2\t1\t9\n",
    "ml-100k.item": b"item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    b"2\tSea, The\t1995\tDrama War\n3\tA\t\tunknown\n",
}
ML_1M = {
    "ratings.dat": b"1::2::5::978300760\n2::2::3::978302109\n",
    "movies.dat": "2::Café, The (1995)::Drama|War\n3::B (1996)::Comedy\n".encode("latin1"),
}
STEAM = {
    "steam_reviews.json.gz": lines(
        "{u'username': u'a', u'product_id': u'2', u'date': u'2017-01-01', u'hours': 1.5}",
        "{u'username': u'b', u'product_id': u'2', u'date': u'2017-02-01', u'tags': [u'x']}",
    ),
    "steam_games.json.gz": lines(
        "{u'id': u'2', u'title': u'Sea', u'genres': [u'War'], u'release_date': u'1999'}"
    ),
}
BOOKS = {
    "Books_5.json.gz": lines(
        json.dumps({"reviewerID": "a", "asin": "2", "unixReviewTime": 1}),
        json.dumps({"reviewerID": "b", "asin": "2", "unixReviewTime": 2, "reviewText": "é"}),
    ),
    "meta_Books.json.gz": lines(
        json.dumps(
            {"asin": "2", "title": "Sea", "category": ["Books", "War"], "brand": "Visit Amazon's A Page"}
        )
    ),
}
CSV = {
    "interactions.csv": b'when,who,what\n2001-01-01,a,x\n20010203,"b",x\n2001-01-01T10:00,a,y\n',
    "items.csv": b"id,name,kinds,maker\nx,\"The, X\",\"['red', 'big']\",M\ny,Y,red|big,\n",
}
PARQUET = {
    "interactions.parquet": parquet({"when": [30, 20], "who": ["a", "b"], "what": ["x", "y"]}),
    "items.parquet": parquet(
        {"id": ["x", "y"], "name": ["X", "Y"], "kinds": [["a"], []], "maker": ["M", None]}
    ),
}
READERS = {
    "ml-100k": (read_ml_100k, PREPARE, ML_100K),
    "ml-1m": (read_ml_1m, PREPARE, ML_1M),
    "steam": (read_steam, PREPARE, STEAM),
    "amazon-books": (read_amazon_books, PREPARE, BOOKS),
    "csv": (read_tabular, SETTINGS, CSV),
    "parquet": (read_tabular, SETTINGS, PARQUET),
}


def write(folder, name, content):
    (folder / name).write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)


def read(source, folder):
    reader, settings, _ = READERS[source]
    log = reader(folder, settings)
    assert isinstance(log, RawLog)
    assert len(log.user) == len(log.item) == len(log.timestamp) > 0
    assert log.timestamp.dtype == np.int64
    return log


@pytest.mark.parametrize("source", READERS)
def test_every_reader_reads_the_good_files(source, tmp_path):
    for name, content in READERS[source][2].items():
        write(tmp_path, name, content)
    assert len(read(source, tmp_path).user) >= 2


@pytest.mark.parametrize(
    ("source", "name"), [(source, name) for source, (*_, files) in READERS.items() for name in files]
)
def test_a_spoilt_file_is_read_or_refused_in_one_line(source, name, tmp_path):
    files = READERS[source][2]
    for other, content in files.items():
        write(tmp_path, other, content)

    @BOUNDED
    @given(any_bytes(files[name]))
    def spoilt(content):
        write(tmp_path, name, content)
        with only_declared(tmp_path), memory_bounded(1024):
            read(source, tmp_path)

    spoilt()


@pytest.mark.parametrize("source", ["steam", "amazon-books"])
def test_a_spoilt_gzip_is_read_or_refused_in_one_line(source, tmp_path):
    files = READERS[source][2]
    for other, content in files.items():
        write(tmp_path, other, content)
    name = next(iter(files))
    good = gzip.compress(files[name])

    @BOUNDED
    @given(any_bytes(good))
    def spoilt(content):
        (tmp_path / name).write_bytes(content)
        with only_declared(tmp_path):
            read(source, tmp_path)

    spoilt()
    (tmp_path / name).write_bytes(good[: len(good) // 2])
    with pytest.raises(DataError, match=r"damaged after line \d+: Compressed file ended"):
        read(source, tmp_path)


@BOUNDED
@given(st.dictionaries(st.one_of(st.text(), st.integers()), st.one_of(st.text(), st.floats(), st.none())))
def test_any_python_dictionary_is_a_record(tmp_path, record):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(f"{record!r}\n".encode("utf8", "replace")))
    with only_declared(path.parent):
        list(literal_records(path, {"a"}))


@pytest.mark.parametrize("line", ["{[]: 1}", "{1: 2}", "{'a': " + "[" * 400 + "'\\ud800'" + "]" * 400 + "}"])
def test_a_dictionary_that_python_cannot_hold_is_named(line, tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(f"{line}\n".encode()))
    with only_declared(tmp_path):
        list(literal_records(path, {"a"}))
    with only_declared(tmp_path):
        list(json_records(path))


def test_a_time_beyond_64_bits_is_named(tmp_path):
    for name, content in BOOKS.items():
        write(tmp_path, name, content)
    review = json.dumps({"reviewerID": "a", "asin": "2", "unixReviewTime": 2**63})
    write(tmp_path, "Books_5.json.gz", BOOKS["Books_5.json.gz"] + lines(review))
    with pytest.raises(
        DataError, match=r"Books_5.json.gz: line 3: unixReviewTime is 9223372036854775808, allowed"
    ):
        read("amazon-books", tmp_path)


@pytest.mark.parametrize("source", ["ml-100k", "csv"])
def test_lines_of_ten_megabytes_are_read_or_refused(source, tmp_path):
    for name, content in READERS[source][2].items():
        write(tmp_path, name, content)
    name = "ml-100k.item" if source == "ml-100k" else "items.csv"
    long = b"a, " * (10 * 2**20 // 3)
    row = b"9\t%s\t1995\tWar\n" if source == "ml-100k" else b'z,"%s",red,M\n'
    write(tmp_path, name, READERS[source][2][name] + row % long)
    with only_declared(tmp_path), memory_bounded(2048):
        log = read(source, tmp_path)
        assert len(log.items["title"].iloc[-1]) > 10 * 2**20 - 3


def test_a_packed_line_longer_than_any_is_refused_while_it_is_unpacked(tmp_path):
    """About 100 KiB that unpack to 100 MiB."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"{}\n" + b" " * (100 * 2**20)))
    with memory_bounded(700), pytest.raises(DataError, match=r"bomb.gz: line 2: allowed: at most 67,108,864"):
        list(gzip_lines(path))


@pytest.mark.parametrize(
    "text",
    ["<script " * 200_000, "<style><script>" * 100_000, "</script>" * 200_000, "<a" * 400_000, "&" * 10**6],
)
def test_no_text_takes_long_to_make_plain(text):
    with only_declared("", "x"):
        assert isinstance(plain_text(text), str)


def test_scripts_are_taken_out_as_the_plain_form_does():
    for text in (
        "a<script x>b</script>c<STYLE>d</style>e",
        "a<script>b</style>c</SCRIPT>d",
        "<script>a<style>b</style>c",
        "<scripted>a</script>",
        "a<script>b</script",
    ):
        plain = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.DOTALL | re.IGNORECASE)
        assert plain_text(text) == plain_text(plain)


@pytest.mark.parametrize("title", [" " * 10**5 + "b", "a, " * 10**5, "a, Th" * 10**5, "(" * 10**5])
def test_no_title_takes_long(title, tmp_path):
    for name, content in ML_1M.items():
        write(tmp_path, name, content)
    write(tmp_path, "movies.dat", b"2::a%sb::War\n" % title.encode())
    with only_declared(tmp_path):
        read("ml-1m", tmp_path)
        natural_title(title)


def test_ids_that_differ_by_case_or_spaces_are_different(tmp_path):
    write(tmp_path, "items.csv", b"id,name,kinds,maker\nx,X,,\nX,X,,\n x,X,,\n")
    write(
        tmp_path, "interactions.csv", b"when,who,what\n1,a,x\n2,A,X\n3,a , x\n4,\xc3\xa1,x\n5,a\xcc\x81,x\n"
    )
    log = read("csv", tmp_path)
    assert log.user_ids.to_pylist() == ["a", "A", "a ", "á", "a\u0301"]
    assert log.item_ids.to_pylist() == ["x", "X", " x"]


def test_times_may_be_alike_unsorted_negative_and_in_the_future(tmp_path):
    write(tmp_path, "items.csv", CSV["items.csv"])
    write(tmp_path, "interactions.csv", b"when,who,what\n5,a,x\n5,a,x\n-3,a,y\n99999999999999,b,x\n4,b,y\n")
    log = read("csv", tmp_path)
    assert log.timestamp.tolist() == [5, 5, -3, 99999999999999, 4], "in the order of the file"
    assert any("span a factor" in told for told in log.told)


def test_a_million_attributes_of_one_item(tmp_path):
    write(tmp_path, "interactions.csv", CSV["interactions.csv"])
    many = "|".join(str(number) for number in range(10**6)).encode()
    write(tmp_path, "items.csv", b"id,name,kinds,maker\nx,X,%s,M\n" % many)
    with memory_bounded(2048):
        assert len(read("csv", tmp_path).items["attributes"].iloc[0]) == 10**6


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin1", "cp1252"])
def test_a_line_in_another_encoding_is_named(encoding, tmp_path):
    write(tmp_path, "items.csv", CSV["items.csv"])
    mixed = "when,who,what\n1,é,x\n".encode() + "2,é,x\n".encode(encoding)
    write(tmp_path, "interactions.csv", mixed)
    with only_declared(tmp_path):
        log = read("csv", tmp_path)
        assert encoding == "utf-8"
        assert len(log.user_ids) == 1


@pytest.mark.parametrize("source", READERS)
@pytest.mark.parametrize("content", [b"", b"\n", b"\x00" * 100])
def test_empty_files_are_named(source, content, tmp_path):
    for name in READERS[source][2]:
        write(tmp_path, name, content)
    with pytest.raises(DataError, match=str(tmp_path)):
        read(source, tmp_path)


@pytest.mark.parametrize("ending", ["json", "csv", "parquet"])
def test_spoilt_texts_of_items_are_read_or_refused_in_one_line(ending, tmp_path):
    good = {
        "json": b'{"x": "A film", "y": "Another"}',
        "csv": b"raw_id,text\nx,A film\ny,Another\n",
        "parquet": parquet({"raw_id": ["x", "y"], "text": ["A film", "Another"]}),
    }[ending]
    path = tmp_path / f"texts.{ending}"

    @BOUNDED
    @given(any_bytes(good))
    def spoilt(content):
        path.write_bytes(content)
        with only_declared(tmp_path):
            assert len(read_profiles(path, ["x", "y"])) == 2

    spoilt()


def test_the_tokens_that_spoil_are_many():
    assert len(set(TOKENS)) == len(TOKENS) > 40
