"""Imports and tables on files that are spoilt: read, or one line that names the file."""

import json
import pickle
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prorl.config.decoding import Decoding
from prorl.config.embed import EmbeddingImport
from prorl.config.quantize import Quantize
from prorl.config.section import LONGEST_MESSAGE, ConfigError, one_line
from prorl.errors import DataError
from prorl.instances import read_instances
from prorl.items.embedding import imported as imported_vectors
from prorl.items.matrices import read_matrix
from prorl.layout import IDS_FILE
from prorl.paths.released import _statistics
from prorl.paths.released_files import read_released
from prorl.policy.checkpoints import load_catalogue
from prorl.semantic_ids.quantisers import imported_codes
from prorl.semantic_ids.unique_ids import write_semantic_ids
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.tables import ITEMS, read_table
from tests.fuzz.contents import RELEASED, SEQUENCES
from tests.hostile import (
    BOUNDED,
    JSON_VALUES,
    Running,
    any_bytes,
    memory_bounded,
    only_declared,
    places,
    with_value,
)
from tests.tiny_models import PARAMS

DECODING = PARAMS.section(Decoding)
QUANTIZE = PARAMS.section(Quantize).replace(n_codebooks=2, codebook_size=8, expand_final=False)
RAW_IDS = ["a", "b"]


def npy(array, **options):
    stream = BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


# Messages


@given(st.text(max_size=3000))
@BOUNDED
def test_a_message_is_one_line_of_bounded_length(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert len(line) <= LONGEST_MESSAGE
    assert line == text or len(text) > LONGEST_MESSAGE or text.splitlines(keepends=True) != [line]
    assert str(DataError(text)) == str(ConfigError(text)) == line


# Semantic IDs


@BOUNDED
@given(any_bytes(b'{"a": [1, 2], "b": [3, 4], "c": [5, 6]}'))
def test_spoilt_codes_are_read_or_refused_in_one_line(tmp_path, content):
    path = tmp_path / "x.sem_ids"
    path.write_bytes(content)
    for settings in (QUANTIZE, QUANTIZE.replace(expand_final=True, n_codebooks=1)):
        with only_declared(tmp_path, "the codes"):
            codes = imported_codes(path, RAW_IDS, settings)
            assert codes.shape == (2, 2)
            assert ((codes >= 0) & (codes < 8)).all()


@BOUNDED
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON_VALUES), JSON_VALUES)
def test_codes_of_any_form_are_read_or_refused_in_one_line(tmp_path, codes, maps):
    for name, value in (("x.sem_ids", codes), ("x.datamaps", {"id2item": maps})):
        (tmp_path / name).write_text(json.dumps(value))
    for datamaps in (None, str(tmp_path / "x.datamaps")):
        with only_declared(tmp_path, "the codes"):
            imported_codes(tmp_path / "x.sem_ids", RAW_IDS, QUANTIZE.replace(datamaps=datamaps))


def test_an_item_that_stands_twice_among_codes_is_named(tmp_path):
    (tmp_path / "x.sem_ids").write_text('{"a": [1, 2], "b": [3, 4], "a": [5, 6]}')
    with pytest.raises(DataError, match=r"x.sem_ids: not JSON: key 'a' stands more than once"):
        imported_codes(tmp_path / "x.sem_ids", RAW_IDS, QUANTIZE)


@pytest.mark.parametrize(
    "codes", [[1], [1, 2, 3], [1, 8], [1, -1], [1, 2.0], [1, True], [1, "2"], 3, None, [[1, 2]]]
)
def test_codes_of_a_codebook_of_another_shape_are_refused(codes, tmp_path):
    (tmp_path / "x.sem_ids").write_text(json.dumps({"a": [0, 1], "b": codes}))
    with pytest.raises(DataError, match=r"x.sem_ids: item 'b': got"):
        imported_codes(tmp_path / "x.sem_ids", RAW_IDS, QUANTIZE)


def test_a_spoilt_table_of_codes_is_read_or_refused_in_one_line(tmp_path):
    path = tmp_path / IDS_FILE
    write_semantic_ids(path, np.array([[0, 1], [1, 2]]), Vocabulary(2, 8))
    good = path.read_bytes()

    @BOUNDED
    @given(any_bytes(good))
    def spoilt(content):
        path.write_bytes(content)
        with only_declared(tmp_path):
            load_catalogue(path, DECODING, "separate")

    spoilt()


# Vectors


def test_spoilt_matrices_are_read_or_refused_in_one_line(tmp_path):
    path = tmp_path / "x.npy"

    @BOUNDED
    @given(any_bytes(npy(np.arange(6, dtype=np.float32).reshape(3, 2))))
    def spoilt(content):
        path.write_bytes(content)
        with only_declared(tmp_path), memory_bounded(256):
            assert np.isfinite(read_matrix(path)).all()

    spoilt()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_vectors_that_are_not_finite_in_float32_are_named(bad, tmp_path):
    matrix = np.zeros((3, 2))
    matrix[1, 1] = bad
    (tmp_path / "x.npy").write_bytes(npy(matrix))
    (tmp_path / "x.json").write_text('["a", "b", "c"]')
    source = EmbeddingImport(vectors=str(tmp_path / "x.npy"), items=str(tmp_path / "x.json"))
    with pytest.raises(DataError, match=r"x.npy: row 1 holds a number that is not finite in float32"):
        imported_vectors(source, RAW_IDS)


@pytest.mark.parametrize(
    "content",
    [
        lambda ran: npy(np.array([[Running(ran)]], dtype=object), allow_pickle=True),
        lambda ran: pickle.dumps(Running(ran)),
        lambda ran: b"PK\x03\x04" + bytes(30),
        lambda ran: npy(np.zeros((2, 2)))[:-1],
        lambda ran: npy(np.zeros((2, 2))).replace(b"(2, 2)", b"(9999999999, 9)").replace(b" " * 9, b"", 1),
        lambda ran: npy(np.zeros(2)),
        lambda ran: npy(np.zeros((2, 2), dtype=np.int64)),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused_and_nothing_is_run(content, tmp_path):
    (tmp_path / "x.npy").write_bytes(content(tmp_path / "ran"))
    with memory_bounded(256), pytest.raises(DataError, match=r"x\.npy: "):
        read_matrix(tmp_path / "x.npy")
    assert not (tmp_path / "ran").exists()


# Instances


def released(folder):
    return read_released(str(folder / "x"), "mine.import", SEQUENCES, RAW_IDS, ["u", "v"])


def write_released(folder, **files):
    for name, value in (RELEASED | files).items():
        (folder / f"x.{name}").write_text(json.dumps(value))


def counted(found):
    """The counts that are told of the released instances `found`."""
    items = {
        "item": [1, 2],
        "raw_id": RAW_IDS,
        "title": ["", ""],
        "attributes": [["War"], []],
        "text": ["", ""],
    }
    splits = pa.table({"split": ["train", "validation"]})
    return _statistics(found, SEQUENCES, pa.table(items, schema=ITEMS), splits)


def test_good_released_files_are_read(tmp_path):
    write_released(tmp_path)
    assert counted(released(tmp_path))["items_with_same_attributes"] == 1


@pytest.mark.parametrize("name", RELEASED)
def test_spoilt_released_files_are_read_or_refused_in_one_line(name, tmp_path):
    write_released(tmp_path)
    ways = list(places(RELEASED[name]))

    @BOUNDED
    @given(any_bytes(json.dumps(RELEASED[name]).encode()))
    def spoilt(content):
        (tmp_path / f"x.{name}").write_bytes(content)
        with only_declared(tmp_path):
            counted(released(tmp_path))

    @BOUNDED
    @given(st.sampled_from(ways), JSON_VALUES)
    def replaced(place, value):
        (tmp_path / f"x.{name}").write_text(json.dumps(with_value(RELEASED[name], place, value)))
        with only_declared(tmp_path):
            counted(released(tmp_path))

    spoilt()
    replaced()


# Tables that stages hand on


def test_spoilt_tables_are_read_or_refused_in_one_line(tmp_path):
    path = tmp_path / "x.parquet"
    lists = pa.list_(pa.int32())
    columns = {
        "user": pa.array([1], pa.int32()),
        "history": pa.array([[1, 2]], lists),
        "run": pa.array([[3]], lists),
    }
    pq.write_table(pa.table(columns), path)
    good = path.read_bytes()

    @BOUNDED
    @given(any_bytes(good))
    def spoilt(content):
        path.write_bytes(content)
        with only_declared(tmp_path):
            read_instances(path)
        with only_declared(tmp_path):
            read_table(path, ITEMS)

    spoilt()
