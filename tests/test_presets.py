"""Presets: settings laid over params.yaml."""

import re

import pytest

from prorl.config.decoding import Decoding
from prorl.config.evaluate import Evaluate
from prorl.config.finetune import Finetune
from prorl.config.mine import Mine
from prorl.config.prepare import Prepare
from prorl.config.pretrain import Pretrain
from prorl.config.section import ConfigError
from prorl.config.simulator import Simulator
from prorl.datasets import DATASETS
from prorl.params import laid_over, lay_over, read_params
from prorl.presets import (
    PER_DATA_SET,
    PRESETS,
    add_data_set,
    checkable,
    fill_in_entries,
    preset_file,
    round_trip_yaml,
    with_layers,
    write_params,
)
from tools.stage_dependencies import ROOT

PARAMS = ROOT / "params.yaml"
PRESET_FILES = sorted((ROOT / PRESETS).glob("*.yaml"))
RELEASED = ROOT / "presets" / "released.yaml"
BENCHMARK = ROOT / "presets" / "benchmark.yaml"
GENERAL = {"datasets": ["other"]}


@pytest.fixture
def layer(tmp_path):
    """A function that writes settings to a file and gives its path."""

    def write(settings, name="own"):
        path = tmp_path / f"{name}.yaml"
        round_trip_yaml().dump(settings, path)
        return path

    return write


def test_a_mapping_is_merged_key_by_key_and_a_list_is_replaced():
    values = {"a": {"b": 1, "c": {"d": [1, 2], "e": None}}, "f": [1, 2, 3]}
    lay_over(values, {"a": {"c": {"d": [3], "e": {"g": 1}}}, "f": [4], "h": 5})
    assert values == {"a": {"b": 1, "c": {"d": [3], "e": {"g": 1}}}, "f": [4], "h": 5}


@pytest.mark.parametrize(
    "preset", [path for path in PRESET_FILES if path not in (RELEASED, BENCHMARK)], ids=lambda path: path.stem
)
def test_every_preset_is_valid_and_changes_its_own_data_set_alone(preset):
    params = with_layers(PARAMS, [preset])
    (dataset,) = params["datasets"]
    assert dataset in DATASETS
    assert preset.stem.removeprefix(dataset) in ("", "-gpu", "-paper")
    default, sections = (
        round_trip_yaml().load(PARAMS),
        [name for name, values in params.items() if isinstance(values, dict)],
    )
    for name in sections:
        own = {dataset} if dataset in params[name] else set()
        assert params[name].keys() - own == default[name].keys() - {"ml-100k"}
        assert all(params[name][key] == default[name][key] for key in params[name].keys() - own)
    assert all(dataset in params[section] for section in PER_DATA_SET), "DVC needs them all"
    finetune = checkable(params, "params.yaml").section(Finetune, dataset)
    assert (finetune.steps or 0) + (finetune.epochs or 0) > 0


def test_the_benchmark_has_more_guides_and_judges_and_leaves_all_else_as_it_is():
    """So it takes the policies and simulators of the default run as they are."""
    params, default = with_layers(PARAMS, [BENCHMARK]), round_trip_yaml().load(PARAMS)
    for key in ("guides", "simulators"):
        assert set(default[key]) <= set(params[key])
    assert len(params["guides"]) > len(default["guides"])
    assert default["guide"].keys() < params["guide"].keys()
    assert params["evaluate"] == default["evaluate"] | {"rejection": params["evaluate"]["rejection"]}
    own = ("guides", "simulators", "guide", "evaluate")
    assert {name: value for name, value in params.items() if name not in own} == {
        name: value for name, value in default.items() if name not in own
    }


def test_the_released_recipe_is_reached_by_settings_alone():
    released, default = checkable(with_layers(PARAMS, [RELEASED]), "params.yaml"), read_params(PARAMS)
    assert released.datasets == ["ml-100k"]
    decoding, finetune = released.section(Decoding), released.section(Finetune, "ml-100k")
    assert (decoding.constrained, decoding.forbid, decoding.min_length) == (False, [], 0)
    assert (finetune.item_log_prob, finetune.kl.estimator, finetune.empty_paths, finetune.targets) == (
        "mean",
        "k1",
        "drop",
        "mined",
    )
    for kind in (Pretrain, Finetune):
        section = released.section(kind, "ml-100k")
        assert section.embedding_learning_rate == section.learning_rate
    assert finetune.steps == default.section(Finetune, "ml-100k").steps
    for kind in (Prepare, Mine, Simulator):
        assert released.section(kind, "ml-100k") == default.section(kind, "ml-100k")
    evaluate = default.section(Evaluate, "ml-100k").replace(live_beams=[10])  # its `_max@10`
    assert released.section(Evaluate, "ml-100k") == evaluate


def test_settings_of_ones_own_are_laid_over_the_presets_and_comments_stay(layer, tmp_path):
    own = layer({"finetune": {"other": {"steps": 87}}, "seed": 5}, "more")
    params = with_layers(
        PARAMS, [layer(GENERAL | {"finetune": {"other": {"steps": 90, "centering_steps": 8}}}), own]
    )
    assert params["finetune"]["other"] == {"steps": 87, "centering_steps": 8}
    assert params["seed"] == 5
    write_params(params, tmp_path / "params.yaml")
    assert "# Every setting of the pipeline;" in (tmp_path / "params.yaml").read_text(encoding="utf-8")


def test_a_layer_need_not_name_the_entries_of_its_data_sets(layer):
    params = with_layers(PARAMS, [layer({"datasets": ["a", "b"], "finetune": {"b": {"gamma": 0.5}}})])
    for section in PER_DATA_SET:
        own = {"gamma": 0.5} if section == "finetune" else {}
        assert (params[section]["a"], params[section]["b"]) == ({}, own), section
        assert "ml-100k" not in params[section]


def test_a_data_set_is_added_with_its_entries_and_nothing_else_changes(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(PARAMS.read_bytes())
    add_data_set(path, "own")
    add_data_set(path, "own-2")
    before, after = (file.read_text(encoding="utf-8").splitlines() for file in (PARAMS, path))
    added = [line for line in after if line.strip() in ("own: {}", "own-2: {}")]
    assert len(added) == 2 * len(PER_DATA_SET)
    assert [line for line in after if line not in added and not line.startswith("datasets:")] == [
        line for line in before if not line.startswith("datasets:")
    ]
    assert "datasets: [ml-100k, own, own-2]" in after
    assert read_params(path).datasets == ["ml-100k", "own", "own-2"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ml-100k", "data set 'ml-100k' is in `datasets` already"),
        ("a&b", "got 'a&b', allowed: letters, digits, - and _"),
        ("tabular", "got 'tabular', allowed: a name that is no setting, as prepare.tabular is"),
    ],
)
def test_a_data_set_that_cannot_be_added_leaves_the_settings_as_they_are(tmp_path, name, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(PARAMS.read_bytes())
    with pytest.raises(ConfigError, match=re.escape(message)):
        add_data_set(path, name)
    assert path.read_bytes() == PARAMS.read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"finetune": {"stepz": 3}}, "finetune.stepz: unknown key; did you mean 'steps'?"),
        ({"finetun": {"steps": 3}}, "finetun: unknown key; did you mean 'finetune'?"),
        ({"finetune": 3}, "finetune: got 3, allowed: a mapping"),
        ({"datasets": "ml-1m"}, "datasets: got 'ml-1m' (str), allowed: a list"),
        ({"datasets": ["a b"]}, "datasets[0]: got 'a b', allowed: letters, digits, - and _"),
        ({"datasets": ["import"]}, "datasets[0]: got 'import', allowed: a name that is no setting"),
        ({"fetch": {"other": None}}, "fetch.other: got None, allowed: a mapping, `{}` where nothing differs"),
        (
            {"prepare": {"other": {"split": [8, 0, 1]}}},
            "prepare.split[1]: got 0.0 (float), allowed: a number above 0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line_that_names_the_preset(layer, settings, message):
    preset = layer(laid_over(GENERAL, settings))
    with pytest.raises(ConfigError, match=re.escape(f"own.yaml over params.yaml: {message}")) as error:
        with_layers(PARAMS, [preset])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("seed: [", "not readable as YAML"), ("", "expected a mapping of sections, found NoneType")],
)
def test_a_file_that_is_no_mapping_is_an_error_that_names_it(tmp_path, text, message):
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"own.yaml: {message}"):
        with_layers(PARAMS, [tmp_path / "own.yaml"])


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ConfigError, match=r"own\.yaml: no such file"):
        with_layers(PARAMS, [tmp_path / "own.yaml"])


def test_papers_presets_have_the_published_settings():
    """Steps are about the paper's 200 passes of batches of 1,024 over its instances."""
    instances = {"ml-1m": 56_141, "steam": 78_152, "amazon-books": 66_881}
    rates = {"ml-1m": 1e-4, "steam": 1e-5, "amazon-books": 5e-4}
    for dataset, n in instances.items():
        params = checkable(with_layers(PARAMS, [ROOT / "presets" / f"{dataset}-paper.yaml"]), "params.yaml")
        pretrain, finetune = (params.section(kind, dataset) for kind in (Pretrain, Finetune))
        assert pretrain.max_steps * pretrain.batch_size / n == pytest.approx(200, rel=0.01)
        assert (finetune.epochs, finetune.learning_rate) == (50, rates[dataset])
    steam = checkable(with_layers(PARAMS, [ROOT / "presets/steam-paper.yaml"]), "p").section(Prepare, "steam")
    assert steam.attributes == ["specs", "publisher", "developer"]
    assert (steam.min_user_interactions, steam.min_item_interactions) == (20, 40)


def test_what_is_checked_has_the_types_that_the_stages_read(tmp_path):
    """A document with its comments knows how its numbers and texts were written."""
    text = PARAMS.read_text(encoding="utf-8") + (
        "written: {hexadecimal: 0x1F, underscores: 1_000, float: 1e-3, quoted: 'a', \"double\": [on, null]}\n"
        "anchored: &yes true\nalias: *yes\nblock: |-\n  two\n  lines\n"
    )
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    document = round_trip_yaml().load(tmp_path / "params.yaml")
    assert typed(checkable(document, "p").raw) == typed(read_params(tmp_path / "params.yaml").raw)


def typed(value):
    """`value` with the type of every part of it."""
    if isinstance(value, dict):
        return type(value), [(typed(key), typed(held)) for key, held in value.items()]
    if isinstance(value, list):
        return type(value), [typed(held) for held in value]
    return type(value), value


def test_an_unknown_preset_is_an_error_that_names_those_there_are():
    there = (
        "amazon-books-paper, amazon-books, benchmark, ml-100k-gpu, ml-1m-gpu, ml-1m-paper, ml-1m, released, "
        "steam-paper, steam"
    )
    with pytest.raises(ConfigError, match=f"no preset 'ml-10m'; there are: {there}"):
        preset_file(ROOT, "ml-10m")


@pytest.mark.parametrize(
    ("dataset", "expected"), [("ml-1m", ["Drama"]), ("ml-100k", ["Drama"]), ("shop", []), ("steam", [])]
)
def test_drama_is_ignored_on_movielens_alone(dataset, expected):
    document = round_trip_yaml().load(PARAMS)
    document["datasets"] = ["ml-100k", *([dataset] if dataset != "ml-100k" else [])]
    fill_in_entries(document)
    params = checkable(document, "params.yaml")
    assert params.section(Mine, dataset).ignored_attributes == expected


@pytest.mark.parametrize("preset", ["ml-1m", "ml-1m-gpu", "ml-1m-paper"])
def test_presets_of_movielens_ignore_drama(preset):
    layered = with_layers(PARAMS, [preset_file(ROOT, preset)])
    assert checkable(layered, preset).section(Mine, "ml-1m").ignored_attributes == ["Drama"]
