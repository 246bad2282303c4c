"""Overrides applied to settings, and what DVC is given to apply them itself."""

import pytest
from dvc.utils.hydra import apply_overrides

from prorl.config.section import ConfigError
from prorl.experiments.overrides import applied
from prorl.presets import round_trip_yaml
from tools.stage_dependencies import ROOT

PARAMS = {
    "seed": 1,
    "decoding": {"forbid": ["repeats"], "min_length": 8},
    "finetune": {
        "steps": 100,
        "gamma": 1.0,
        "weights": {"ctr": 1.0, "ioi": 1.0},
        "ml-1m": {"steps": 300, "weights": {"ctr": 0.1}},
    },
}


def test_a_value_goes_to_the_data_sets_entry_where_that_has_the_key():
    overrides = [
        "finetune.steps=7",
        "finetune.gamma=0.5",
        "finetune.weights.ctr=0",
        "finetune.weights.ioi=0",
        "decoding.forbid=[]",
    ]
    params, for_dvc = applied(PARAMS, overrides, "ml-1m", "a.yaml")
    assert params["finetune"] == {
        "steps": 100,
        "gamma": 0.5,
        "weights": {"ctr": 1.0, "ioi": 0},
        "ml-1m": {"steps": 7, "weights": {"ctr": 0}},
    }
    assert params["decoding"]["forbid"] == []
    assert for_dvc[0] == "finetune.ml-1m.steps=7"
    assert for_dvc[1] == "finetune.gamma=0.5"
    assert PARAMS["finetune"]["gamma"] == 1.0, "what is given stays as it is"


def test_a_whole_number_in_the_place_of_a_float_is_the_float():
    """DVC's run cache takes 2 and 2.0 for two settings, and would train again."""
    params, for_dvc = applied(PARAMS, ["finetune.gamma=2", "seed=2"], "ml-100k", "a.yaml")
    assert for_dvc == ["finetune.gamma=2.0", "seed=2"]
    assert [type(value) for value in (params["finetune"]["gamma"], params["seed"])] == [float, int]


def test_the_later_of_two_overrides_holds():
    params, for_dvc = applied(PARAMS, ["seed=2", "seed=3"], "ml-100k", "a.yaml")
    assert params["seed"] == 3
    assert for_dvc == ["seed=3"]


@pytest.mark.parametrize(
    ("dataset", "share", "steps"), [("ml-1m", "33%", 99), ("ml-100k", "0.1%", 1), ("ml-100k", "66%", 66)]
)
def test_a_percentage_is_a_share_of_the_data_sets_own_number(dataset, share, steps):
    _, for_dvc = applied(PARAMS, [f"finetune.steps={share}"], dataset, "a.yaml")
    assert for_dvc[0].rpartition("=")[2] == str(steps)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "finetune.stepz=1",
            "a.yaml: finetune.stepz: params.yaml has no such key; did you mean 'finetune.steps'?",
        ),
        ("finetune.weights={ctr: 1}", "allowed: one value for one key, not a mapping"),
        ("finetune.gamma=50%", r"a share of 1\.0, allowed: of a whole number"),
    ],
)
def test_what_cannot_be_applied_is_an_error_that_names_it(override, message):
    with pytest.raises(ConfigError, match=message):
        applied(PARAMS, [override], "ml-100k", "a.yaml")


def test_a_mapping_stands_in_for_null_alone():
    params = {"finetune": {"reference_reset": None, "ml-100k": {}}}
    override = "finetune.reference_reset={stalled: 5, optimiser: true}"
    changed, for_dvc = applied(params, [override], "ml-100k", "a.yaml")
    assert changed["finetune"]["reference_reset"] == {"stalled": 5, "optimiser": True}
    assert for_dvc == [override]
    with pytest.raises(ConfigError, match="allowed: one value for one key, not a mapping"):
        applied(changed, [override], "ml-100k", "a.yaml")


def test_dvc_applies_them_to_the_same_settings(tmp_path):
    file = tmp_path / "params.yaml"
    params = round_trip_yaml().load(ROOT / "params.yaml")
    params["finetune"]["ml-100k"] = {"steps": 3}
    round_trip_yaml().dump(params, file)
    overrides = [
        "training_seed=3",
        "finetune.steps=50%",
        "finetune.learning_rate=1e-3",
        "decoding.forbid=[history]",
        "finetune.epochs=null",
        "finetune.reference_reset={stalled: 5, optimiser: true}",
    ]
    ours, for_dvc = applied(params, overrides, "ml-100k", "a.yaml")
    apply_overrides(file, for_dvc)
    assert round_trip_yaml().load(file) == ours
    assert ours["finetune"]["ml-100k"] == {"steps": 2}
