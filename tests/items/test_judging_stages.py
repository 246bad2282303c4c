"""The stages similarity, language_model, profile and embed on a tiny data set, one after another."""

import importlib.util

import numpy as np
import pyarrow as pa
import pytest

from prorl.files import read_json
from prorl.items.matrices import read_matrix, write_matrix
from prorl.layout import Layout
from prorl.params import laid_over, params_of, read_yaml
from prorl.tables import INTERACTIONS, ITEMS, VERDICTS, read_table, write_table
from tests.items.tiny_causal import save_tiny_causal
from tools.stage_dependencies import ROOT

LAYOUT = Layout("ml-100k")
TITLES = ["Alien", "Aliens", "Amélie", "M"]


def run(stage: str, **changes) -> None:
    """The body of the script of `stage`, under params.yaml with `changes`."""
    spec = importlib.util.spec_from_file_location(f"stage_{stage}", ROOT / "stages" / f"{stage}.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.body(params_of(laid_over(read_yaml(ROOT / "params.yaml"), changes), "params.yaml"), "ml-100k")


@pytest.fixture(autouse=True)
def prepared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    genres = [["Horror"], ["Horror", "Action"], ["Comedy"], []]
    items = {
        "item": range(1, 5),
        "raw_id": list("abcd"),
        "title": TITLES,
        "attributes": genres,
        "text": TITLES,
    }
    write_table(LAYOUT.items, pa.table(items), ITEMS)
    log = {"user": [1, 1, 1, 2, 2, 2], "item": [1, 2, 3, 2, 3, 4], "timestamp": range(6)}
    write_table(LAYOUT.interactions, pa.table(log), INTERACTIONS)


def verdicts(judge: str) -> list[tuple]:
    table = read_table(LAYOUT.verdicts(judge), VERDICTS).to_pydict()
    return list(zip(table["item"], table["next_item"], table["feasible"], strict=True))


def test_similar_items_may_follow_each_other():
    write_matrix(LAYOUT.embeddings, np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]]))
    run("similarity", similarity={"threshold": 0.8, "percentile": None})
    assert verdicts("similarity") == [(1, 2, True), (2, 3, False), (3, 4, True)]
    assert read_json(LAYOUT.metrics("similarity")) == {
        "pairs": 3,
        "least_cosine": 0.8,
        "feasible": pytest.approx(2 / 3),
        "feasible_by_attributes": pytest.approx(1 / 3),
        "agreement_with_attributes": pytest.approx(2 / 3),
    }
    run("similarity", similarity={"percentile": 100.0})
    assert [feasible for *_, feasible in verdicts("similarity")] == [True, False, True]


def test_a_language_model_judges_and_writes(tmp_path):
    save_tiny_causal(tmp_path / "model", [*TITLES, "yes no"])
    own = {"model": str(tmp_path / "model")}
    run("language_model", language_model={**own, "margin": -1000.0})
    assert verdicts("language_model") == [(1, 2, True), (2, 3, True), (3, 4, True)]
    odds = read_table(LAYOUT.verdicts("language_model"), VERDICTS)["score"].to_pylist()
    middle = sorted(odds)[1]
    run("language_model", language_model={**own, "margin": middle + 1e-3})
    assert [feasible for *_, feasible in verdicts("language_model")] == [one > middle for one in odds]
    assert read_json(LAYOUT.metrics("language_model"))["feasible"] == pytest.approx(1 / 3)

    run("profiles", profiles={**own, "new_tokens": 4})
    written = read_table(LAYOUT.texts("profiles"), ITEMS)
    assert written.drop(["text"]) == read_table(LAYOUT.items, ITEMS).drop(["text"])
    assert written["text"].to_pylist() != TITLES
    assert read_json(LAYOUT.metrics("profiles"))["items"] == 4

    lsa = {"model": "lsa", "dimension": 1}
    run("embed", embed=lsa)
    first = read_matrix(LAYOUT.embeddings)
    texts = pa.array(["war and peace", "war", "peace", "war war"])
    index = written.schema.get_field_index("text")
    write_table(LAYOUT.texts("profiles"), written.set_column(index, "text", texts), ITEMS)
    run("embed", embed={**lsa, "texts": "profiles"})
    assert not np.array_equal(read_matrix(LAYOUT.embeddings), first)
