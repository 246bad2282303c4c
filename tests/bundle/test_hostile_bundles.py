"""Released policies as anybody may send them: a policy that guides, or one line that names the file."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import prorl
from prorl.bundle.folder import FILES
from prorl.errors import DataError
from prorl.files import read_json
from prorl.tables import RELEASED_ITEMS, SEMANTIC_IDS, read_table, write_table
from tests.hostile import BOUNDED, JSON_VALUES, Running, any_bytes, memory_bounded, only_declared, with_value

READ = ("config.json", "prorl.json", "model.safetensors", "semantic_ids.parquet", "items.parquet")
PLACES = [
    *(("format_version",), ("dataset",), ("name",), ("identifiers",), ("target_tokens",), ("acceptances",)),
    *(("acceptance",), ("acceptances", 0), ("decoding",), ("blocked",), ("history_length",)),
    *(("decoding", key) for key in ("constrained", "forbid", "min_length", "max_length")),
]
NUMBERS = st.one_of(st.integers(0, 70), st.integers(-(2**31), 2**31 - 1), st.none())


def load_and_guide(folder):
    """Load the released policy in `folder`; what is loaded guides, and says what it is in JSON."""
    policy = prorl.load_policy(folder, "cpu")
    json.dumps([policy.name, policy.dataset, policy.version, policy.acceptances, policy.acceptance])
    first, *_, last = policy.items
    for path in policy.guide([[first], [first, last]], last):
        json.dumps([item.as_dict() for item in path[0].items])


def tried(folder, mib=512):
    """Load and guide; only declared errors may come, and `mib` MiB of memory must do."""
    with only_declared(folder), memory_bounded(mib):
        load_and_guide(folder)


@pytest.mark.parametrize("name", READ)
def test_a_policy_with_a_spoilt_file_guides_or_is_refused_in_one_line(name, copied):
    good = (copied / name).read_bytes()

    @BOUNDED
    @given(any_bytes(good))
    def spoilt(content):
        (copied / name).write_bytes(content)
        tried(copied)

    spoilt()


@BOUNDED
@given(st.data())
def test_a_truncated_file_is_never_loaded(copied, released, data):
    name = data.draw(st.sampled_from(READ))
    good = (released / name).read_bytes().rstrip()
    for other in READ:
        (copied / other).write_bytes((released / other).read_bytes())
    (copied / name).write_bytes(good[: data.draw(st.integers(0, len(good) - 1))])
    with pytest.raises(DataError, match=name):
        prorl.load_policy(copied, "cpu")


@BOUNDED
@given(
    st.sets(st.sampled_from(FILES), min_size=1), st.sets(st.sampled_from(["x.txt", ".x", "x.bin", "x.pkl"]))
)
def test_missing_files_are_named_and_others_do_no_harm(copied, released, missing, more):
    for path in copied.iterdir():
        if path.is_file():
            path.unlink()
    for name in FILES:
        (copied / name).write_bytes((released / name).read_bytes())
    for name in more:
        (copied / name).write_bytes(b"x")
    if pickles := more & {"x.bin", "x.pkl"}:
        with pytest.raises(DataError, match="|".join(pickles)):
            prorl.load_policy(copied, "cpu")
    else:
        load_and_guide(copied)
    for name in missing:
        (copied / name).unlink()
    with pytest.raises(DataError, match=r"no such file|a pickle"):
        prorl.load_policy(copied, "cpu")


@BOUNDED
@given(
    st.sampled_from(PLACES),
    st.one_of(JSON_VALUES, st.sampled_from([0, -1, 10**9, 10**30, "r1", ["r1"], [["r1"]], [None], [True]])),
)
def test_any_value_in_prorl_json_is_taken_or_refused_in_one_line(copied, released, place, value):
    own = with_value(read_json(released / "prorl.json"), place, value)
    (copied / "prorl.json").write_text(json.dumps(own))
    tried(copied)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("format_version", True, "1, 2, which this prorl reads"),
        ("format_version", 1.0, "1, 2, which this prorl reads"),
        ("identifiers", "words", "semantic, item"),
        ("name", 3, "text that is not empty"),
        ("dataset", "", "text that is not empty"),
        ("dataset", "\ud800", "text that is not empty, of whole characters"),
        ("history_length", 0, "a whole number of at least 1"),
        ("history_length", True, "a whole number of at least 1"),
        ("blocked", 3, "a list of raw ids"),
        ("blocked", "r1", "a list of raw ids"),
        ("blocked", [["r1"]], "a list of raw ids"),
        ("blocked", [f"r{item}" for item in range(1, 31)], "fewer than the 30 items"),
        ("acceptances", [0.5, 0.5], "different numbers from 0 to 1"),
        ("acceptances", [float("nan")], "different numbers from 0 to 1"),
        ("acceptance", 0.25, r"one of \[0.0, 0.5, 1.0\]"),
    ],
)
def test_what_prorl_json_says_is_of_the_right_kind(copied, key, value, allowed):
    own = read_json(copied / "prorl.json") | {key: value}
    (copied / "prorl.json").write_text(json.dumps(own))
    with pytest.raises(DataError, match=rf"prorl\.json: {key}: got .*, allowed: .*{allowed}"):
        prorl.load_policy(copied, "cpu")


def test_acceptances_that_the_policy_has_no_ids_for_are_refused(copied):
    own = read_json(copied / "prorl.json") | {"acceptances": [0.0, 1.0], "acceptance": 1.0}
    (copied / "prorl.json").write_text(json.dumps(own))
    message = r"config\.json: vocab_size: got 30, but the semantic IDs in .* make 29 ids"
    with pytest.raises(DataError, match=message):
        prorl.load_policy(copied, "cpu")


def rows_of(folder, name, schema):
    return read_table(folder / name, schema).to_pylist()


@BOUNDED
@given(st.integers(0, 29), st.sampled_from(["codes", "tokens"]), st.lists(NUMBERS, max_size=4))
def test_a_row_of_any_codes_is_taken_or_refused_in_one_line(copied, released, row, column, numbers):
    rows = rows_of(released, "semantic_ids.parquet", SEMANTIC_IDS)
    rows[row][column] = numbers
    write_table(
        copied / "semantic_ids.parquet", pa.Table.from_pylist(rows, schema=SEMANTIC_IDS), SEMANTIC_IDS
    )
    tried(copied)


@BOUNDED
@given(st.integers(1, 2**31), st.integers(1, 4), st.integers(0, 40))
def test_codes_of_any_codebook_are_taken_or_refused_in_one_line(copied, size, levels, n_items):
    """Codes that fit their tokens, of a codebook that is not the policy's."""
    rows = []
    for item in range(1, n_items + 1):
        codes = [0] * (levels - 1) + [item % size]
        tokens = [min(2**31 - 1, 1 + size * level + code) for level, code in enumerate(codes)]
        rows.append({"item": item, "codes": codes, "tokens": tokens})
    write_table(
        copied / "semantic_ids.parquet", pa.Table.from_pylist(rows, schema=SEMANTIC_IDS), SEMANTIC_IDS
    )
    with pytest.raises(DataError, match=str(copied)), memory_bounded(512):
        prorl.load_policy(copied, "cpu")


@BOUNDED
@given(
    st.integers(0, 29),
    st.one_of(
        st.tuples(st.just("item"), st.one_of(st.none(), st.integers(-5, 40))),
        st.tuples(st.sampled_from(["raw_id", "title"]), st.one_of(st.none(), st.text(max_size=9))),
        st.tuples(
            st.just("attributes"),
            st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=4)),
        ),
    ),
)
def test_an_item_of_any_content_is_taken_or_refused_in_one_line(copied, released, row, change):
    rows = rows_of(released, "items.parquet", RELEASED_ITEMS)
    rows[row][change[0]] = change[1]
    write_table(copied / "items.parquet", pa.Table.from_pylist(rows, schema=RELEASED_ITEMS), RELEASED_ITEMS)
    tried(copied)
    if change[0] == "raw_id" and not change[1]:
        with pytest.raises(DataError, match=rf"items.parquet: row {row + 1}: raw_id: got "):
            prorl.load_policy(copied, "cpu")


@pytest.mark.parametrize("column", ["raw_id", "title"])
def test_a_text_of_an_item_that_is_no_utf_8_is_refused(copied, column):
    table = read_table(copied / "items.parquet", RELEASED_ITEMS)
    texts = pa.array([b"\xff", *(b"%d" % item for item in range(29))], pa.binary())
    bad = pa.Array.from_buffers(pa.string(), 30, texts.buffers())
    pq.write_table(table.set_column(table.column_names.index(column), column, bad), copied / "items.parquet")
    with pytest.raises(DataError, match=r"items\.parquet: not readable as text: .*0xff"):
        prorl.load_policy(copied, "cpu")


@pytest.mark.parametrize("n_items", [1, 29, 31])
def test_more_or_fewer_items_than_semantic_ids_are_refused(copied, n_items):
    rows = [
        {"item": item, "raw_id": f"r{item}", "title": "", "attributes": []} for item in range(1, n_items + 1)
    ]
    write_table(copied / "items.parquet", pa.Table.from_pylist(rows, schema=RELEASED_ITEMS), RELEASED_ITEMS)
    with pytest.raises(DataError, match=rf"semantic_ids.parquet: got 30 items, allowed: {n_items}"):
        prorl.load_policy(copied, "cpu")


def changed_weights(folder, change):
    weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(change(weights), folder / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8, torch.complex64])
def test_weights_that_are_no_floating_point_numbers_are_refused(copied, dtype):
    changed_weights(copied, lambda weights: {name: t.to(dtype) for name, t in weights.items()})
    with pytest.raises(DataError, match=r"model.safetensors: weight '.*' holds .*, allowed: floating-point"):
        prorl.load_policy(copied, "cpu")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_weights_of_another_precision_are_taken_where_they_are_finite(copied, dtype):
    changed_weights(copied, lambda weights: {name: t.to(dtype) for name, t in weights.items()})
    load_and_guide(copied)
    changed_weights(copied, lambda weights: weights | {"shared.weight": weights["shared.weight"] * torch.inf})
    with pytest.raises(DataError, match=r"weight 'shared.weight' holds a number that is not finite"):
        prorl.load_policy(copied, "cpu")


def test_weights_that_only_float64_can_hold_are_not_finite_in_a_policy(copied):
    def beyond(weights):
        return weights | {
            "shared.weight": torch.full_like(weights["shared.weight"], 1e39, dtype=torch.float64)
        }

    changed_weights(copied, beyond)
    with pytest.raises(DataError, match=r"weight 'shared.weight' holds a number that is not finite"):
        prorl.load_policy(copied, "cpu")


@BOUNDED
@given(st.data())
def test_weights_with_any_tensor_changed_are_taken_or_refused_in_one_line(copied, released, data):
    weights = {name: tensor.clone() for name, tensor in load_file(released / "model.safetensors").items()}
    name = data.draw(st.sampled_from(sorted(weights)))
    kind = data.draw(st.sampled_from(["shape", "nan", "gone", "renamed", "large"]))
    tensor = weights.pop(name)
    if kind == "shape":
        weights[name] = torch.zeros(data.draw(st.lists(st.integers(0, 5), max_size=3)))
    elif kind == "nan":
        tensor.view(-1)[data.draw(st.integers(0, tensor.numel() - 1))] = torch.nan
        weights[name] = tensor
    elif kind == "renamed":
        weights[data.draw(st.text(max_size=5))] = tensor
    elif kind == "large":
        weights[name] = tensor + 1e38
    save_file(weights, copied / "model.safetensors")
    if kind == "large":
        tried(copied)
    else:
        with pytest.raises(DataError, match=r"model\.safetensors"):
            prorl.load_policy(copied, "cpu")


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("packed", [True, False])
def test_a_pickle_under_any_name_is_refused_and_never_run(copied, tmp_path, name, packed):
    ran = tmp_path / "ran"
    if packed:
        torch.save({"model": Running(ran)}, copied / name)
    else:
        (copied / name).write_bytes(pickle.dumps(Running(ran)))
    with pytest.raises(DataError, match=name):
        prorl.load_policy(copied, "cpu")
    assert not ran.exists()
    np.save(copied / name, np.array([Running(ran)], dtype=object), allow_pickle=True)
    assert not ran.exists()


def test_a_pickle_in_place_of_the_simulators_weights_is_refused_and_never_run(copied, tmp_path):
    torch.save({"model": Running(tmp_path / "ran")}, copied / "simulator" / "model.safetensors")
    policy = prorl.load_policy(copied, "cpu")
    path = policy.guide(["r1"], "r2")[0]
    with pytest.raises(DataError, match=r"simulator/model.safetensors: not readable as safetensors"):
        policy.judged([path])
    assert not (tmp_path / "ran").exists()


def test_settings_of_any_form_are_searched_with_or_refused_in_one_line(copied):
    policy = prorl.load_policy(copied, "cpu")
    good = read_json(copied / "params.json")["pretrain"]["search"]

    @BOUNDED
    @given(
        st.one_of(
            JSON_VALUES,
            st.builds(lambda v: {"pretrain": {"search": v}}, JSON_VALUES),
            st.builds(
                lambda key, v: {"pretrain": {"search": good | {key: v}}},
                st.sampled_from(sorted(good)),
                st.one_of(JSON_VALUES, st.just({"ctr": -1.0, "coherence": 0.0})),
            ),
        )
    )
    def searched(value):
        (copied / "params.json").write_text(json.dumps(value))
        with only_declared(copied):
            policy.search(["r1"], "r2")

    searched()
