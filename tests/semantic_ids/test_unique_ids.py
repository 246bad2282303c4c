"""Final codes, imported codes, the table on disk, and what is refused."""

import json

import numpy as np
import pyarrow as pa
import pytest

from prorl.errors import DataError
from prorl.semantic_ids.reading import read_semantic_ids
from prorl.semantic_ids.unique_ids import (
    imported,
    require_unique,
    with_final_code,
    write_semantic_ids,
)
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.tables import SEMANTIC_IDS, read_table, write_table


def test_the_final_code_counts_items_with_the_same_codes_from_1_in_item_order():
    codes = np.array([[5, 1], [0, 2], [5, 1], [5, 0], [5, 1]])
    assert with_final_code(codes, 4).tolist() == [[5, 1, 1], [0, 2, 1], [5, 1, 2], [5, 0, 1], [5, 1, 3]]


def test_more_items_than_the_final_code_tells_apart_are_an_error_naming_their_codes():
    codes = np.array([[1, 2, 3]] * 255 + [[0, 0, 0]])
    assert with_final_code(codes, 256)[254].tolist() == [1, 2, 3, 255]
    with pytest.raises(DataError, match=r"256 items share the codes \[1, 2, 3\]; allowed: at most 255"):
        with_final_code(np.array([[1, 2, 3]] * 256 + [[0, 0, 0]]), 256)


def test_two_items_with_the_same_codes_are_named():
    with pytest.raises(DataError, match=r"items 'b' and 'd' have the same codes \[0, 2\]; be unique"):
        require_unique(np.array([[9, 1], [0, 2], [5, 1], [0, 2]]), ["a", "b", "c", "d"], remedy="be unique")
    require_unique(np.array([[0, 1], [1, 0]]), ["a", "b"], remedy="")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": [0, 1]}, "1 of the data set's 2 items are missing, the first is 'b'"),
        ({"a": [0, 1], "b": [0, 1]}, r"items 'a' and 'b' have the same codes \[0, 1\]"),
        ({"a": [0, 1], "b": [0, 4]}, r"item 'b': got codes \[0, 4\], allowed: 0\.\.3"),
        ({"a": [0, -1], "b": [0, 1]}, r"item 'a': got codes \[0, -1\]"),
        ({"a": [0, 1], "b": [0, 1, 2]}, r"item 'b': got \[0, 1, 2\], allowed: a list of 2 whole numbers"),
        ({"a": [0, 1.5], "b": [0, 1]}, "item 'a': .*whole numbers"),
        ({"a": [0, True], "b": [0, 1]}, "item 'a': .*whole numbers"),
        ({"a": "0 1", "b": [0, 1]}, "item 'a': .*whole numbers"),
        ([[0, 1], [0, 2]], "got list, allowed: an object"),
    ],
)
def test_wrong_imports_are_refused(tmp_path, content, message):
    (tmp_path / "codes.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        imported(tmp_path / "codes.json", ["a", "b"], 2, 4)


def test_an_import_that_is_no_json_or_not_there_is_refused(tmp_path):
    (tmp_path / "codes.json").write_text("{")
    for name, message in (("codes.json", "not JSON"), ("absent.json", "No such file")):
        with pytest.raises(DataError, match=f"quantize.import: .*{message}"):
            imported(tmp_path / name, ["a"], 2, 4)


@pytest.mark.parametrize(
    ("name", "n_items", "n_triples"), [("ml-1m", 3883, 3877), ("Steam", 5237, 5169), ("Books", 5227, 4848)]
)
def test_published_semantic_ids_are_read(archives, name, n_items, n_triples):
    path = archives / "published" / f"{name}.sem_ids"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    codes = imported(path, list(json.loads(path.read_text())), 4, 256)
    assert (len(codes), len(np.unique(codes[:, :3], axis=0))) == (n_items, n_triples)


def test_the_table_comes_back_and_holds_tokens(tmp_path):
    codes = np.array([[0, 1, 1], [3, 2, 1]])
    write_semantic_ids(tmp_path / "ids.parquet", codes, Vocabulary(3, 4))
    read, tokens = read_semantic_ids(tmp_path / "ids.parquet")
    assert read.tolist() == codes.tolist()
    assert tokens.tolist() == [[1, 6, 10], [4, 7, 10]]
    assert read_table(tmp_path / "ids.parquet", SEMANTIC_IDS).to_pylist()[1] == {
        "item": 2,
        "codes": [3, 2, 1],
        "tokens": [4, 7, 10],
    }


@pytest.mark.parametrize(
    ("items", "codes", "message"),
    [
        ([1, 3], [[0, 1], [0, 2]], r"items must be 1\.\.2, in order"),
        ([1, 2], [[0, 1], [0]], r"items with \[1, 2\] codes"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, items, codes, message):
    write_table(
        tmp_path / "ids.parquet", pa.table({"item": items, "codes": codes, "tokens": codes}), SEMANTIC_IDS
    )
    with pytest.raises(DataError, match=message):
        read_semantic_ids(tmp_path / "ids.parquet")


def test_an_item_with_fewer_tokens_than_codes_is_refused(tmp_path):
    table = pa.table({"item": [1, 2], "codes": [[0, 1], [0, 2]], "tokens": [[1, 4], [1]]})
    write_table(tmp_path / "ids.parquet", table, SEMANTIC_IDS)
    with pytest.raises(DataError, match="item 2: got 1 tokens, allowed: 2"):
        read_semantic_ids(tmp_path / "ids.parquet")
