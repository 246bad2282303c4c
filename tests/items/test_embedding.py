"""Latent semantic analysis, imported matrices, and what is refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from prorl.config.embed import Embed, EmbeddingImport
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.items.embedding import embed, imported, lsa
from prorl.items.matrices import read_matrix, write_matrix
from prorl.items.words import share_of_single, words

TEXTS = [
    "Toy Story (1995). Animation, Comedy",
    "Antz (1998). Animation, Comedy",
    "Heat (1995). Action, Crime",
    "Face/Off (1997). Action, Crime",
    "Carrie (1976). Horror",
]


def test_lsa_is_normalised_deterministic_and_puts_like_with_like():
    vectors = lsa(TEXTS, 3, seed=1)
    assert vectors.shape == (5, 3)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose((vectors**2).sum(axis=1), 1, rtol=1e-6)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.9 > likeness[0, 3]
    assert likeness[2, 3] > 0.9 > likeness[2, 4]
    np.testing.assert_array_equal(vectors, lsa(TEXTS, 3, seed=1))


CHINESE = ["射雕英雄传第一部", "射雕英雄传第二部", "红楼梦上册", "红楼梦下册", "三国演义"]


def test_lsa_puts_a_series_together_where_titles_have_no_spaces(capsys):
    vectors = lsa(CHINESE, 3, seed=1)
    likeness = vectors @ vectors.T
    assert min(likeness[0, 1], likeness[2, 3]) > 0.7
    assert max(abs(likeness[0, 2]), abs(likeness[1, 4])) < 0.3


def test_words_of_scripts_with_and_without_spaces():
    assert words("The 2nd Face/Off, naïve") == ["the", "2nd", "face", "off", "naïve"]
    assert words("红楼梦 II") == ["ii", "红", "楼", "梦", "红楼", "楼梦"]
    assert words("ab漢かcd") == ["ab", "cd", "漢", "か", "漢か"]
    assert words("ไทย") == ["ไ", "ท", "ย", "ไท", "ทย"]


def test_words_are_those_of_scikit_learn_where_there_are_spaces():
    analyzer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b").build_analyzer()
    assert [words(text) for text in TEXTS] == [analyzer(text) for text in TEXTS]


def test_profiles_of_words_that_stand_in_one_item_alone_are_told(tmp_path, capsys):
    settings = Embed(
        import_=None,
        texts="prepared",
        model="lsa",
        dimension=2,
        batch_size=1,
        max_tokens=1,
        precision="float32",
    )
    assert share_of_single(["a b", "b c c", ""]) == 3 / 5
    assert share_of_single([""]) == 0
    alike = ["sea ship a", "sea ship b", "sea ship a b"]
    embed(alike, alike, settings, 1, tmp_path, 15)
    assert capsys.readouterr().err == ""
    unlike = ["one two a", "three four a", "five six a"]
    embed(unlike, unlike, settings, 1, tmp_path, 15)
    assert "warning: 67% of the words of the item profiles stand in one item alone" in capsys.readouterr().err


def test_a_text_without_a_word_is_the_zero_vector():
    np.testing.assert_array_equal(lsa([*TEXTS, "!?"], 3, seed=1)[-1], np.zeros(3))


def test_lsa_refuses_more_dimensions_than_the_texts_have():
    with pytest.raises(ConfigError, match=r"embed.dimension: got 5, allowed: at most 4"):
        lsa(TEXTS, 5, seed=1)
    with pytest.raises(DataError, match="3 item profiles cannot be embedded"):
        lsa(["", "", ""], 1, seed=1)


def test_only_the_first_of_several_processes_runs_lsa(tmp_path, monkeypatch):
    settings = Embed(
        import_=None,
        texts="prepared",
        model="lsa",
        dimension=3,
        batch_size=1,
        max_tokens=1,
        precision="float32",
    )
    assert embed(TEXTS, TEXTS, settings, 1, tmp_path, 15).shape == (5, 3)
    monkeypatch.setenv("RANK", "1")
    assert embed(TEXTS, TEXTS, settings, 1, tmp_path, 15) is None


def test_lsa_and_semantic_ids_do_not_import_pytorch():
    modules = "prorl.items.embedding, prorl.items.reduction, prorl.semantic_ids.unique_ids"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture
def source(tmp_path):
    """A matrix of four rows, of items d, a, x, b."""
    write_matrix(tmp_path / "vectors.npy", np.arange(8).reshape(4, 2))
    (tmp_path / "items.json").write_text(json.dumps(["d", "a", "x", "b"]))
    return EmbeddingImport(vectors=str(tmp_path / "vectors.npy"), items=str(tmp_path / "items.json"))


def test_imported_rows_come_in_item_order_and_those_of_other_items_stay_out(source):
    np.testing.assert_array_equal(imported(source, ["a", "b", "d"]), [[2, 3], [6, 7], [0, 1]])


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["d", "a", "x"], "4 rows, .*items.json 3 item ids"),
        (["d", "a", "x", "d"], "item 'd' stands more than once"),
        (["d", "a", "x", "y"], "1 of the data set's 2 items are missing, the first is 'b'"),
        ([1, 2, 3, 4], "allowed: a JSON list of raw item ids, as text"),
    ],
)
def test_a_wrong_list_of_items_is_refused(source, tmp_path, items, message):
    (tmp_path / "items.json").write_text(json.dumps(items))
    with pytest.raises(DataError, match=message):
        imported(source, ["a", "b"])


def test_a_list_of_items_that_is_no_json_or_not_there_is_refused(source, tmp_path):
    (tmp_path / "items.json").write_text("d\na\n")
    with pytest.raises(DataError, match=r"embed.import: .*items.json: not JSON"):
        imported(source, ["a", "b"])
    (tmp_path / "items.json").unlink()
    with pytest.raises(DataError, match=r"embed.import: .*items.json"):
        imported(source, ["a", "b"])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[1.0], [np.nan]]), "row 1 holds a number that is not finite"),
        (np.arange(4), r"a int64 array of shape \(4,\)"),
        (np.array([[None]]), "not readable as .npy"),
    ],
)
def test_a_wrong_matrix_is_refused(tmp_path, array, message):
    np.save(tmp_path / "vectors.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        read_matrix(tmp_path / "vectors.npy")


def test_a_truncated_matrix_is_refused(tmp_path):
    write_matrix(tmp_path / "vectors.npy", np.ones((3, 2)))
    whole = (tmp_path / "vectors.npy").read_bytes()
    (tmp_path / "vectors.npy").write_bytes(whole[:-4])
    with pytest.raises(DataError, match=r"not readable as .npy"):
        read_matrix(tmp_path / "vectors.npy")
