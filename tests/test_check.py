"""What is wrong in params.yaml: all findings at once, a line each; and which names there may be."""

import time

import pytest

from prorl.check import findings, findings_in, registered
from prorl.config.section import ConfigError
from prorl.guides.registry import GUIDES
from prorl.names import REGISTRIES, every_finding
from prorl.params import Params, laid_over, params_of, read_yaml
from tools.stage_dependencies import ROOT

RAW = read_yaml(ROOT / "params.yaml")
RELEASED = {
    "decoding": {"constrained": False, "forbid": [], "min_length": 0},
    "pretrain": {"search": {"own_paths_after": None}},
    "finetune": {"empty_paths": "act"},
}


def params_with(changes: dict) -> Params:
    """params.yaml with `changes` laid over it."""
    return params_of(laid_over(RAW, changes), "params.yaml")


def with_data_sets(names: list[str]) -> dict:
    """Changes that add data sets with an empty entry in every section."""
    sections = [name for name, value in RAW.items() if isinstance(value, dict) and "ml-100k" in value]
    return {"datasets": ["ml-100k", *names]} | {section: {name: {} for name in names} for section in sections}


def test_the_projects_own_settings_have_no_mistakes():
    assert findings(params_with({}), REGISTRIES) == []
    assert findings(params_with(RELEASED), REGISTRIES) == []


def test_what_is_imported_and_no_path_that_is_cut_is_right():
    changes = {
        "prepare": {"ml-100k": {"split_from": "files/ml"}},
        "mine": {"ml-100k": {"import": "files/ml", "max_run": 11}},
    }
    assert findings(params_with(changes), REGISTRIES) == []


def test_all_mistakes_are_told_at_once_and_none_twice():
    changes = {
        "finetun": {},
        "mine": {"min_run": 11},
        "embed": {"model": "lsa"},
        "reduce": {"dimension": 999},
        "pretrain": {"own": {"patience": 0, "max_steps": 50}},
        "finetune": {"estimator": "ppo", "centering_steps": 40},
    }
    changes = laid_over(with_data_sets(["own"]), changes)
    allowed = "allowed: at most embed.dimension, 128, where embed.model is lsa"
    assert findings(params_with(changes), REGISTRIES) == [
        f"params.yaml: {text}"
        for text in (
            "finetun: unknown key; did you mean 'finetune'?",
            "mine.min_run: got 11, allowed: at most mine.max_run, 10",
            "pretrain.patience: got 0 (int), allowed: a number at least 1",
            f"reduce.dimension: got 999 for ml-100k, {allowed}",
            "finetune.centering_steps: got 40, allowed: at most a tenth of finetune.steps, 12",
            f"reduce.dimension: got 999 for own, {allowed}",
            "fetch.source: got 'own' (str), allowed: ml-100k, ml-1m, steam, amazon-books, tabular",
            "finetune.estimator: got 'ppo' (str), "
            f"allowed: {', '.join(REGISTRIES['finetune.estimator'])}, or module:attribute",
        )
    ]


@pytest.mark.parametrize("name", ["a&b", "$(ls)", "a b", "a.b", "../a", "-a", "_a", "", "a\nb", "é"])
@pytest.mark.parametrize("key", ["datasets", "simulators"])
def test_names_that_a_shell_or_a_path_would_read_otherwise_are_refused(key, name):
    with pytest.raises(ConfigError) as error:
        params_with({key: [*RAW[key], name]})
    assert str(error.value) == (
        f"params.yaml: {key}[{len(RAW[key])}]: got {name!r}, "
        "allowed: letters, digits, - and _, of which the first is a letter or a digit"
    )


@pytest.mark.parametrize("name", ["a", "ml-1m", "Own_2", "2020-books"])
def test_plain_names_are_allowed(name):
    assert findings(params_with(with_data_sets([name]))) == []


@pytest.mark.parametrize("key", ["datasets", "simulators", "guides"])
def test_a_list_holds_at_least_one_name(key):
    with pytest.raises(ConfigError, match=f"{key}: got an empty list, allowed: at least one"):
        params_with({key: []})


@pytest.mark.parametrize("key", ["datasets", "simulators", "guides"])
def test_a_name_stands_there_once(key):
    with pytest.raises(ConfigError, match="allowed: each name once"):
        params_with({key: [*RAW[key], RAW[key][0]]})


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("import", "a name that is no setting, as quantize.import is"),
        ("tabular", "a name that is no setting, as prepare.tabular is"),
        ("rq_vae", "a name that is no setting, as quantize.rq_vae is"),
        ("GRU4Rec", "a name that is no setting, as simulator.GRU4Rec is"),
        ("experiments", "a name that leaves reports/experiments to the tables of experiments"),
    ],
)
def test_a_data_set_is_not_named_like_what_stands_in_its_place(name, allowed):
    params = params_with({"datasets": ["ml-100k", name]})
    assert findings(params)[0] == f"params.yaml: datasets[1]: got {name!r}, allowed: {allowed}"


def test_a_simulator_is_not_named_like_a_setting_or_a_data_set():
    found = findings(params_with({"simulators": ["SASRec", "GRU4Rec", "epochs"]}))
    assert found == [
        "params.yaml: simulators[2]: got 'epochs', allowed: a name that is no setting, as simulator.epochs is"
    ]
    found = findings(params_with({"simulators": ["SASRec", "GRU4Rec", "ml-100k"]}))
    assert found == [
        "params.yaml: datasets[0]: got 'ml-100k', allowed: a name that is not in `simulators` too"
    ]


def test_a_key_that_a_data_set_alone_has_is_missing_from_the_section():
    raw = laid_over(RAW, {"finetune": {"ml-100k": {"gamma": 0.5}}})
    del raw["finetune"]["gamma"]
    assert findings(params_of(raw, "params.yaml")) == ["params.yaml: finetune.gamma: missing"]


def test_a_name_from_outside_is_known_once_its_registry_has_it():
    params = params_with({"finetune": {"estimator": "own"}})
    assert len(findings(params, REGISTRIES)) == 1
    assert findings(params, {**REGISTRIES, "finetune.estimator": ["own"]}) == []


def test_a_class_of_ones_own_is_in_no_registry():
    own = {"mine": {"class": "module:Class", "settings": {}}, "epochs": 3}
    raw = RAW | {"simulators": ["mine", "other"], "simulator": RAW["simulator"] | own}
    params = params_of(raw, "params.yaml")
    assert list(registered(params, {"simulators": ["SASRec"]})) == [
        "simulators[1]: got 'other' (str), allowed: SASRec",
    ]


def test_a_guide_is_of_a_known_kind_and_searches_a_simulator_that_there_is():
    guides = {"first": {"kind": "polic"}, "search": {"simulator": "BERT4Rec"}}
    assert findings(params_with({"guides": list(guides), "guide": guides})) == [
        f"params.yaml: guide.first.kind: got 'polic', allowed: {', '.join(GUIDES)}, or module:attribute",
        "params.yaml: guide.search.simulator: got 'BERT4Rec', allowed: one of `simulators`, "
        "['SASRec', 'GRU4Rec']",
    ]


def test_checking_without_registries_takes_a_moment():
    started = time.perf_counter()
    findings(params_with({}))
    assert time.perf_counter() - started < 1


def test_a_mistake_outside_sections_hides_none_within_them():
    raw = laid_over(RAW, {"seed": "x", "finetune": {"gamma": 3}})
    assert findings_in(raw, "params.yaml") == [
        "params.yaml: seed: got 'x' (str), allowed: a whole number",
        "params.yaml: finetune.gamma: got 3.0 (float), allowed: a number above 0 and at most 1",
    ]
    assert findings_in(RAW, "params.yaml", REGISTRIES) == []


def test_a_section_that_is_missing_is_one_line():
    raw = {name: value for name, value in RAW.items() if name != "fetch"}
    assert findings_in(raw, "params.yaml", REGISTRIES) == ["params.yaml: fetch: missing"]


@pytest.mark.parametrize("name", ["states", "popularity", "section", "replace"])
def test_a_simulator_is_not_named_like_what_stands_beside_it_in_results_or_code(name):
    found = findings(params_with({"simulators": ["SASRec", "GRU4Rec", name]}))
    assert found == [
        f"params.yaml: simulators[2]: got {name!r}, allowed: a name that stands for nothing else"
    ]


def test_the_class_of_an_own_simulator_is_looked_for_before_anything_runs():
    changes = {"simulators": ["SASRec", "GRU4Rec", "Mine"]}
    raw = laid_over(RAW, changes | {"simulator": {"Mine": {"class": "nowhere:Class", "settings": {}}}})
    (found,) = every_finding(raw, "params.yaml")
    assert found.startswith("params.yaml: simulator.Mine.class: got 'nowhere:Class'")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mine": {"ml-100k": {"feasibility": "similarity"}}},
            "similarity.datasets: got [], allowed: with ml-100k, which is mined by it",
        ),
        (
            {"mine": {"feasibility": "language_model"}, "similarity": {"datasets": ["ml-100k"]}},
            "language_model.datasets: got [], allowed: with ml-100k, which is mined by it",
        ),
        (
            {"embed": {"texts": "profiles"}},
            "profiles.datasets: got [], allowed: with ml-100k, as embed.texts is profiles",
        ),
        (
            {"profiles": {"datasets": ["ml-1m"]}},
            "profiles.datasets: got 'ml-1m', allowed: one of `datasets`, ['ml-100k']",
        ),
        (
            {"profiles": {"ml-100k": {"datasets": ["ml-100k"]}}},
            "profiles.ml-100k.datasets: allowed only as profiles.datasets, for all data sets",
        ),
        (
            {"embed": {"ml-100k": {"texts": "prepared"}}},
            "embed.ml-100k.texts: allowed only as embed.texts, for all data sets",
        ),
    ],
)
def test_optional_stages_are_there_where_they_are_needed(changes, message):
    assert findings(params_with(changes)) == [f"params.yaml: {message}"]


def test_an_optional_stage_that_is_listed_is_right():
    listed = {"datasets": ["ml-100k"]}
    changes = {"similarity": listed, "profiles": listed, "embed": {"texts": "profiles"}}
    assert findings(params_with({**changes, "mine": {"feasibility": "similarity"}})) == []


def test_the_main_judge_is_a_simulator_and_what_guides_are_chosen_by_are_metrics():
    found = findings(params_with({"selection": {"simulator": "BERT5", "on": {"joy": 1.0}}}), REGISTRIES)
    assert found[0] == (
        f"params.yaml: selection.simulator: got 'BERT5', allowed: one of `simulators`, {RAW['simulators']}"
    )
    assert found[1].startswith("params.yaml: selection.on: got 'joy' (str), allowed: ioi, ")
    assert findings(params_with({"selection": {"prompts": 0}})) == [
        "params.yaml: selection.prompts: got 0 (int), allowed: a number at least 1"
    ]
