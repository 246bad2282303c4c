"""params.yaml is read strictly: every mistake is one line that names file, key, value and what is allowed."""

import re

import pytest
from ruamel.yaml import YAML

from prorl.check import require
from prorl.config.decoding import Decoding
from prorl.config.finetune import Finetune
from prorl.config.heads import Heads
from prorl.config.mine import Mine
from prorl.config.prepare import Prepare
from prorl.config.section import ConfigError, Settings, build
from prorl.config.sections import SECTIONS
from prorl.config.simulator import Simulator
from prorl.params import read_params
from tools.stage_dependencies import ROOT

PARAMS = ROOT / "params.yaml"


@pytest.fixture
def changed(tmp_path):
    """A function that writes params.yaml with `change(params)` applied, and gives its path."""

    def write(change):
        yaml = YAML(typ="safe")
        raw = yaml.load(PARAMS)
        change(raw)
        path = tmp_path / "params.yaml"
        yaml.dump(raw, path)
        return path

    return write


def put(key, value):
    """A change that sets the dotted `key`."""

    def change(raw):
        *path, last = key.split(".")
        for name in path:
            raw = raw[name]
        raw[last] = value

    return change


def drop(key):
    """A change that removes the dotted `key`."""

    def change(raw):
        *path, last = key.split(".")
        for name in path:
            raw = raw[name]
        del raw[last]

    return change


def test_the_projects_own_settings_are_valid_for_every_section_and_data_set():
    params = read_params(PARAMS)
    for kind in SECTIONS.values():
        for dataset in params.datasets:
            settings = params.section(kind, dataset if kind.per_data_set else None)
            assert isinstance(settings, kind)


def test_numbers_are_of_the_type_that_the_settings_state():
    params = read_params(PARAMS)
    assert isinstance(params.section(Simulator, "ml-100k").learning_rate, float)
    assert params.section(Prepare, "ml-100k").split == [8.0, 1.0, 1.0]


def test_a_data_sets_entry_holds_over_the_sections_own_and_for_no_other_data_set(changed):
    def change(raw):
        raw["datasets"] = ["ml-100k", "other"]
        for name, kind in SECTIONS.items():
            if kind.per_data_set:
                raw[name]["other"] = {}
        raw["finetune"]["other"] = {"learning_rate": 0.5, "weights": {"ctr": 0.25}}

    params = read_params(changed(change))
    own, other = params.section(Finetune, "ml-100k"), params.section(Finetune, "other")
    assert own == params.section(Finetune)
    assert other.learning_rate == 0.5
    assert other.weights == {**own.weights, "ctr": 0.25}
    assert other.replace(learning_rate=own.learning_rate, weights=own.weights) == own


def test_the_training_seed_is_the_seed_where_it_is_null(changed):
    assert read_params(changed(put("training_seed", None))).training_seed == read_params(PARAMS).seed
    assert read_params(changed(put("training_seed", 7))).training_seed == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("seed", "2026"), "seed: got '2026' (str), allowed: a whole number"),
        (put("seed", True), "seed: got True (bool), allowed: a whole number"),
        (put("training_seed", 1.5), "training_seed: got 1.5 (float), allowed: a whole number"),
        (put("datasets", []), "datasets: got an empty list, allowed: at least one data set"),
        (put("datasets", "ml-100k"), "datasets: got 'ml-100k' (str), allowed: a list"),
        (put("finetune.steps", 1.5), "finetune.steps: got 1.5 (float), allowed: a whole number"),
        (put("finetune.steps", 0), "finetune.steps: got 0 (int), allowed: a number at least 1"),
        (
            put("finetune.gamma", 1.01),
            "finetune.gamma: got 1.01 (float), allowed: a number above 0 and at most 1",
        ),
        (put("finetune.gamma", float("nan")), "finetune.gamma: got nan"),
        (
            put("finetune.learning_rate", "1e-4x"),
            "finetune.learning_rate: got '1e-4x' (str), allowed: a number",
        ),
        (
            put("finetune.targets", "hard"),
            "finetune.targets: got 'hard' (str), allowed: mined, random, mixed",
        ),
        (
            put("finetune.targets", ["mined"]),
            "finetune.targets: got ['mined'] (list), allowed: mined, random, mixed",
        ),
        (
            put("finetune.weights.ctr", -1),
            "finetune.weights.ctr: got -1.0 (float), allowed: a number at least 0",
        ),
        (put("finetune.weights", 1), "finetune.weights: got 1 (int), allowed: a mapping"),
        (
            put("finetune.learning_rat", 1e-4),
            "finetune.learning_rat: unknown key; did you mean 'learning_rate'?",
        ),
        (put("finetune.kl.zzz", 1), "finetune.kl.zzz: unknown key; allowed: estimator, coefficient, target"),
        (put("finetun", {}), "finetun: unknown key; did you mean 'finetune'?"),
        (
            put("finetune.reference_reset", {"evry": 3}),
            "finetune.reference_reset.evry: unknown key; did you mean 'every'?",
        ),
        (
            put("finetune.reference_reset", {"every": 0}),
            "finetune.reference_reset.every: got 0 (int), allowed: a number at least 1",
        ),
        (
            put("finetune.empty_paths", "act"),
            "finetune.empty_paths: got act, allowed: forbid where decoding.min_length is 8",
        ),
        (
            put("finetune.stop_on_errors", {"min_valid_share": 0.5, "patience": 3}),
            "finetune.stop_on_errors: got a mapping, "
            "allowed: null where decoding.constrained is true, since there are no errors",
        ),
        (drop("finetune.kl"), "finetune.kl: missing"),
        (drop("finetune"), "finetune: missing"),
        (put("finetune", None), "finetune: got None, allowed: a mapping"),
        (
            drop("finetune.ml-100k"),
            "finetune.ml-100k: got None, allowed: a mapping, `{}` where nothing differs",
        ),
        (
            put("datasets", ["ml-100k", "own"]),
            "fetch.own: got None, allowed: a mapping, `{}` where nothing differs",
        ),
        (
            put("finetune.ml-100k", {"steps": "many"}),
            "finetune.steps: got 'many' (str), allowed: a whole number",
        ),
        (
            put("decoding.forbid", ["repeat"]),
            "decoding.forbid[0]: got 'repeat' (str), allowed: repeats, history, target",
        ),
        (put("reduce.whiten", 1), "reduce.whiten: got 1 (int), allowed: true or false"),
        (put("evaluate.rollouts", [1, 0]), "evaluate.rollouts[1]: got 0 (int), allowed: a number at least 1"),
        (
            put("pretrain.simulator", "BERT4Rec"),
            "pretrain.simulator: got 'BERT4Rec', allowed: one of `simulators`, ['SASRec', 'GRU4Rec']",
        ),
        (
            put("finetune.ml-100k", {"simulator": "GRU4Rec"}),
            "finetune.ml-100k.simulator: allowed only as finetune.simulator, for all data sets",
        ),
        (put("guides", []), "guides: got an empty list, allowed: at least one guide"),
        (
            put("guides", ["prorl"]),
            "guides[0]: got 'prorl', allowed: a name that is no policy of the pipeline",
        ),
        (put("guides", ["search", "mine"]), "guide.mine: missing; `guides` names it"),
        (put("guide.search", 3), "guide.search: got 3, allowed: a mapping"),
        (
            put("guide.search.simulator", "BERT4Rec"),
            "guide.search.simulator: got 'BERT4Rec', allowed: one of `simulators`, ['SASRec', 'GRU4Rec']",
        ),
        (
            put("simulator.SASRec.hidden_dropout_prob", 1),
            "simulator.SASRec.hidden_dropout_prob: got 1.0 (float), allowed: a number at least 0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line_that_names_key_value_and_what_is_allowed(changed, change, message):
    path = changed(change)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: {message}")) as error:
        require(read_params(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("forbid", "min_length", "message"),
    [
        (["repeats"], 0, r"decoding.forbid: got \['repeats'\], allowed with `constrained: false`: \[\]"),
        ([], 1, "decoding.min_length: got 1, allowed with `constrained: false`: 0"),
    ],
)
def test_unconstrained_decoding_has_no_rules(forbid, min_length, message):
    rules = {"constrained": False, "max_length": 10}
    assert build(Decoding, {**rules, "forbid": [], "min_length": 0}, "decoding", "file").max_length == 10
    with pytest.raises(ConfigError, match=message):
        build(Decoding, {**rules, "forbid": forbid, "min_length": min_length}, "decoding", "file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("finetune.offset", 1.0),
            "finetune.offset: got 1.0, allowed: null where finetune.centering is averaged",
        ),
        (
            put("finetune.centering", "fixed_offset"),
            "finetune.offset: got None, allowed: a number where finetune.centering is fixed_offset",
        ),
        (
            lambda raw: raw["finetune"].update(normalise="per_reward", centering="fixed_offset", offset=1.0),
            "finetune.normalise: got per_reward, allowed: none where finetune.centering is fixed_offset",
        ),
        (
            lambda raw: raw["finetune"].update(estimator="expected", item_log_prob="mean"),
            "finetune.item_log_prob: got mean, allowed: sum where finetune.estimator is expected",
        ),
        (
            lambda raw: raw["finetune"].update(estimator="expected", updates_per_rollout=2),
            "finetune.updates_per_rollout: got 2, allowed: 1 where finetune.estimator is expected",
        ),
        (
            put("pretrain.select_on", {}),
            "pretrain.select_on: got an empty mapping, allowed: at least one metric, or null",
        ),
        (
            lambda raw: raw["finetune"].update(estimator="expected", skip_alike=True),
            "finetune.skip_alike: got True, allowed: False where finetune.estimator is expected",
        ),
        (
            lambda raw: raw["finetune"].update(estimator="expected", empty_paths="drop"),
            "finetune.empty_paths: got drop, allowed: forbid or act where finetune.estimator is expected",
        ),
        (
            put("finetune.kl", {"estimator": "exact", "coefficient": 0.0, "target": 1.0}),
            "finetune.kl.coefficient: got 0.0, allowed: a number",
        ),
        (
            put("finetune.reference_reset", {"every": 3, "stalled": 2}),
            "finetune.reference_reset.every: got 3, allowed: one of `every` and `stalled`, and not both",
        ),
        (
            put("finetune.reference_reset", {"optimiser": True}),
            "finetune.reference_reset.every: got None, allowed: one of `every` and `stalled`, and not both",
        ),
        (
            put("finetune.epochs", 3),
            "finetune.steps: got 120, allowed: a number where finetune.epochs is null, null where it is one",
        ),
        (put("prepare.split", [8, 2]), "prepare.split: got [8.0, 2.0], allowed: 3 shares: of training"),
        (
            put("pretrain.warmup_steps", 8001),
            "pretrain.warmup_steps: got 8001, allowed: at most pretrain.max_steps, 2000",
        ),
        (
            put("simulator.SASRec.hidden_size", 65),
            "simulator.SASRec.hidden_size: got 65, allowed: a multiple of n_heads, 2",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_contradict_each_other_are_one_line_that_names_them(changed, change, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        require(read_params(changed(change)))
    assert "\n" not in str(error.value)


def test_an_unknown_data_set_is_an_error_that_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"'ml-10m' is not in `datasets`, which holds \['ml-100k'\]"):
        read_params(PARAMS).section(Mine, "ml-10m")


@pytest.mark.parametrize(
    ("text", "message"),
    [("seed: [", "not readable as YAML"), ("- 1", "expected a mapping of sections, found list")],
)
def test_a_file_that_is_no_mapping_is_one_line_that_names_it(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"params.yaml: {message}") as error:
        read_params(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_an_error_that_says_where_to_run(tmp_path):
    with pytest.raises(ConfigError, match="no such file; run from the root of the repository"):
        read_params(tmp_path / "params.yaml")


MODELS = [Heads, *SECTIONS.values()]
MODELS += [
    field.annotation
    for section in SECTIONS.values()
    for field in section.model_fields.values()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_setting_is_described_has_no_default_and_a_bound_that_allows_some_number(model):
    for key, field in model.model_fields.items():
        assert field.description, key
        assert field.is_required(), f"{key}: params.yaml states every value"
        low, high = (
            [getattr(part, bound) for part in field.metadata for bound in bounds if hasattr(part, bound)]
            for bounds in (("gt", "ge"), ("lt", "le"))
        )
        assert not low or not high or max(low) < min(high), key
