"""Imports, settings and stored models on files that are spoilt: read, or one line that names the file."""

import copy
import json
import pickle
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from prorl.check import findings_in
from prorl.config.decoding import Decoding
from prorl.config.embed import EmbeddingImport
from prorl.config.quantize import Quantize
from prorl.config.section import LONGEST_MESSAGE, ConfigError, one_line
from prorl.config.sections import SECTIONS
from prorl.errors import DataError
from prorl.instances import read_instances
from prorl.items.embedding import imported as imported_vectors
from prorl.items.matrices import read_matrix
from prorl.layout import IDS_FILE
from prorl.params import params_of, read_params, read_yaml
from prorl.paths.released import _statistics
from prorl.paths.released_files import read_released
from prorl.policy.checkpoints import load_catalogue, load_policy, save_policy
from prorl.semantic_ids.quantisers import imported_codes
from prorl.semantic_ids.unique_ids import write_semantic_ids
from prorl.semantic_ids.vocabulary import Vocabulary
from prorl.simulators.scoring import load_simulator, save_simulator
from prorl.tables import ITEMS, read_table
from tests.fuzz.contents import RELEASED, SEQUENCES
from tests.hostile import BOUNDED, any_bytes, memory_bounded, only_declared
from tests.tiny_models import PARAMS, SIZES, random_catalogue, random_policy, recbole_model
from tools.stage_dependencies import ROOT

DECODING = PARAMS.section(Decoding)
QUANTIZE = PARAMS.section(Quantize).replace(n_codebooks=2, codebook_size=8, expand_final=False)
RAW_IDS = ["a", "b"]
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


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


# params.yaml


def places(value, place=()):
    """Every way from `value` to a value within it."""
    yield place
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*place, key))


PLACES = [place for place in places(PARAMS.raw) if place]


@BOUNDED
@given(st.sampled_from(PLACES), JSON_VALUES)
def test_any_value_in_params_is_taken_or_refused_in_one_line(place, value):
    raw = copy.deepcopy(PARAMS.raw)
    at = raw
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    for line in findings_in(raw, "params.yaml"):
        assert line.startswith("params.yaml: ")
    with only_declared(Path("params.yaml")):
        params = params_of(raw, "params.yaml")
        for kind in SECTIONS.values():
            params.section(kind, params.datasets[0] if kind.per_data_set else None)


@BOUNDED
@given(any_bytes(Path(ROOT / "params.yaml").read_bytes()[-3000:]))
def test_a_spoilt_params_file_is_read_or_refused_in_one_line(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with only_declared(tmp_path):
        read_params(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
         + b"".join(b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 108)),
         r"params.yaml: more than 100,000 values"),
        (b"a: &a [*a]", r"params.yaml: more than 50 levels"),
        (b"a: !!python/object/apply:os.system ['true']", r"params.yaml: not readable as YAML"),
        (b"a: 2001-99-99", r"params.yaml: not readable as YAML"),
        (b"a: \xff", r"params.yaml: not readable as YAML"),
        (b"a: \x00", r"params.yaml: not readable as YAML"),
        (b"a: " + b"[" * 3000, r"params.yaml: 3,000 opening brackets, allowed: at most 2,000"),
        (b"a: " + b"9" * 5000, r"params.yaml: not readable as YAML"),
        (b"a: 1\na: 2", r"params.yaml: not readable as YAML"),
        (b"#" * (4 * 2**20 + 1), r"params.yaml: 4,194,305 bytes, allowed: at most 4,194,304"),
    ],
)  # fmt: skip
def test_settings_that_could_fill_memory_or_run_something_are_refused(text, message, tmp_path):
    (tmp_path / "params.yaml").write_bytes(text)
    with memory_bounded(512), pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / "params.yaml")


def test_a_folder_is_no_params_file(tmp_path):
    with pytest.raises(ConfigError, match=f"{tmp_path}: Is a directory"):
        read_yaml(tmp_path)


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


class Running:
    """Writes a file where a pickle of it is loaded."""

    def __init__(self, ran):
        self.ran = ran

    def __reduce__(self):
        return open, (str(self.ran), "w")


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
        whole = {"x": copy.deepcopy(RELEASED[name])}
        at, way = whole, ("x", *place)
        for key in way[:-1]:
            at = at[key]
        at[way[-1]] = value
        (tmp_path / f"x.{name}").write_text(json.dumps(whole["x"]))
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


# Stored models


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    catalogue = random_catalogue(12)
    codes = np.array([[i // 4, i % 4] for i in range(12)])
    vocabulary = catalogue.vocabulary
    write_semantic_ids(folder / IDS_FILE, codes, Vocabulary(2, vocabulary.codebook_size))
    saved = load_catalogue(folder / IDS_FILE, DECODING, "separate")
    save_policy(folder / "policy", random_policy(saved), saved, folder / IDS_FILE)
    load_policy(folder / "policy")
    return folder / "policy"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulator") / "SASRec"
    save_simulator(folder, recbole_model("SASRec", 9, 6), "SASRec", SIZES["SASRec"].model_dump(), 6)
    load_simulator(folder)
    return folder


def copy_of(folder, place):
    shutil.rmtree(place / folder.name, ignore_errors=True)
    return Path(shutil.copytree(folder, place / folder.name))


@pytest.mark.parametrize("kind", ["policy", "simulator"])
@pytest.mark.parametrize("name", ["config.json", "prorl.json", "model.safetensors"])
def test_a_spoilt_model_is_loaded_or_refused_in_one_line(kind, name, request, tmp_path):
    folder = request.getfixturevalue(kind)
    load = load_policy if kind == "policy" else load_simulator
    if not (folder / name).exists():
        pytest.skip("a simulator has no such file")
    own, good = copy_of(folder, tmp_path), (folder / name).read_bytes()

    @BOUNDED
    @given(any_bytes(good))
    def spoilt(content):
        (own / name).write_bytes(content)
        with only_declared(tmp_path), memory_bounded(512):
            load(own)

    spoilt()
    if name.endswith("json"):
        config = json.loads(good)
        ways = [place for place in places(config) if place]

        @BOUNDED
        @given(
            st.sampled_from(ways),
            st.one_of(JSON_VALUES, st.sampled_from([0, -1, 10**9, 10**30, "x", None, []])),
        )
        def replaced(place, value):
            found = copy.deepcopy(config)
            at = found
            for key in place[:-1]:
                at = at[key]
            at[place[-1]] = value
            (own / name).write_text(json.dumps(found))
            with only_declared(tmp_path), memory_bounded(512):
                load(own)

        replaced()


@pytest.mark.parametrize("kind", ["policy", "simulator"])
def test_a_pickle_in_place_of_weights_is_refused_and_nothing_is_run(kind, request, tmp_path):
    own, ran = copy_of(request.getfixturevalue(kind), tmp_path), tmp_path / "ran"
    load = load_policy if kind == "policy" else load_simulator
    for content in (pickle.dumps(Running(ran)), b"PK\x03\x04"):
        (own / "model.safetensors").write_bytes(content)
        with pytest.raises(DataError, match=r"model.safetensors: not readable as safetensors: .*; allowed"):
            load(own)
    torch.save({"model": Running(ran)}, own / "model.safetensors")
    with pytest.raises(DataError, match=r"model.safetensors: not readable as safetensors"):
        load(own)
    (own / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model.safetensors: no such file"):
        load(own)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: {**w, "more": torch.zeros(1)},
            r"does not fit config.json: weight 'more' belongs to no part",
        ),
        (lambda w: dict(list(w.items())[1:]), r"does not fit config.json: weight '.*' is missing"),
        (
            lambda w: {k: v[..., :-1].contiguous() for k, v in w.items()},
            r"does not fit config.json: .* has shape",
        ),
        (
            lambda w: {k: v * torch.nan for k, v in w.items()},
            r"weight '.*' holds a number that is not finite",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["policy", "simulator"])
def test_weights_of_another_architecture_are_named(kind, change, message, request, tmp_path):
    own = copy_of(request.getfixturevalue(kind), tmp_path)
    save_file(change(load_file(own / "model.safetensors")), own / "model.safetensors")
    with pytest.raises(DataError, match=f"model.safetensors: {message}"):
        (load_policy if kind == "policy" else load_simulator)(own)
