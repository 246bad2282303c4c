"""Experiments' files: the repository's own, what a row's overrides are, and mistakes as one line."""

import re

import pytest

from prorl.config.evaluate import Evaluate
from prorl.config.finetune import Finetune
from prorl.config.pretrain import Pretrain
from prorl.config.section import ConfigError
from prorl.config.sections import SECTIONS
from prorl.experiments.definition import experiment_names, read_experiment
from prorl.experiments.running import check_settings, planned
from prorl.params import params_of, read_params
from prorl.policy.pretraining import in_steps
from prorl.presets import with_layers
from prorl.rl.trainer import n_steps_and_centering
from tests.experiments.files import write
from tools.stage_dependencies import ROOT

NAMES = experiment_names(ROOT)
ONE_SEED = {"prolonged", "slices", "to-the-default"}
PUBLISHED = {"label": "A", "curve": "b", "published": {"first": {11: 2}}}
LONG = {"seeds": [1], "pretrain_passes": 3, "passes": 10, "set": ["finetune.gamma=0.9"]}


@pytest.mark.parametrize("dataset", ["ml-100k", "ml-1m"])
@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_every_experiment_has_settings_that_the_pipeline_accepts(name, dataset):
    experiment = read_experiment(ROOT, name)
    params = with_layers(
        ROOT / "params.yaml", [] if dataset == "ml-100k" else [ROOT / "presets" / f"{dataset}.yaml"]
    )
    runs = planned(experiment, params, dataset, [1, 2])
    for run in runs:
        check_settings(experiment, run)
        settings = params_of(run.params, run.name).section(Finetune, dataset)
        n_steps_and_centering(settings, steps_per_epoch=110)  # raises
    assert (
        len({run.name for run in runs})
        == len(runs)
        == 2 * len({tuple(overrides) for overrides in experiment.overrides.values()})
    )
    assert all(run.params != params and run.params["training_seed"] == run.seed for run in runs)


@pytest.mark.parametrize("name", [name for name in NAMES if read_experiment(ROOT, name).contents.long])
def test_every_long_row_makes_the_papers_passes_in_a_training_that_nothing_ends(name):
    experiment = read_experiment(ROOT, name).at_maturity()
    runs = planned(experiment, with_layers(ROOT / "params.yaml", []), "ml-100k", [1])
    for run in runs:
        check_settings(experiment, run)
        params = params_of(run.params, run.name)
        finetune = params.section(Finetune, "ml-100k")
        source = -(-10559 // finetune.prompts_per_step)  # the training prompts of MovieLens-100K
        assert n_steps_and_centering(finetune, source) == (10 * source, source)
        assert finetune.a2c.warmup_steps <= source
        asked = params.section(Pretrain, "ml-100k")
        pretrain = in_steps(asked, 10559)
        assert pretrain.max_steps == 200 * -(-10559 // asked.batch_size)
        assert pretrain.patience * pretrain.evaluate_every > pretrain.max_steps
    assert len({run.name for run in runs}) == len(runs)
    assert all(run.name.startswith(f"ml-100k-{name}-long-") for run in runs)
    of_pretraining = {str([run.params[key] for key in ("pretrain", "policy", "decoding")]) for run in runs}
    assert len(of_pretraining) == (2 if name == "slices" else 1), "all rows share it"


def test_the_tables_of_the_paper_share_their_long_rows():
    """The row of all rewards, centered, by PSAE is one training in three tables."""
    rows = {"estimators": "position_specific", "ablation": "full", "rewards": "full"}
    found = {
        str(sorted(read_experiment(ROOT, name).at_maturity().overrides[row])) for name, row in rows.items()
    }
    assert len(found) == 1


def test_long_overrides_lie_over_the_common_ones_and_below_a_rows_own(tmp_path):
    rows = {
        "first": {"label": "a"},
        "second": {"label": "b", "set": ["finetune.gamma=0.5"]},
        "third": {"label": "c", "unset": ["finetune.gamma"]},
    }
    experiment = write(tmp_path, rows=rows, long=LONG)
    assert experiment.overrides["first"] == ["finetune.steps=200"]
    long = experiment.at_maturity()
    passes = ["finetune.steps=null", "pretrain.passes=3", "finetune.epochs=10"]
    assert long.overrides == {
        "first": [*passes, "finetune.gamma=0.9"],
        "second": [*passes, "finetune.gamma=0.5"],
        "third": passes,
    }
    assert (long.label, long.options, long.contents.seeds) == ("own-long", "own --long", [1])
    with pytest.raises(ConfigError, match=r"experiments/own\.yaml: no `long:` part, which --long runs"):
        write(tmp_path, rows=rows).at_maturity()


def test_numbers_of_sampled_paths_are_asked_of_the_evaluation(tmp_path):
    experiment = write(tmp_path, best_of=[1, 2, 8])
    assert experiment.overrides["first"] == ["finetune.steps=200", "evaluate.rollouts=[1,2,8]"]


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_states_its_claim_and_its_seeds(name):
    contents = read_experiment(ROOT, name).contents
    assert all(text.strip() for text in (contents.title, contents.source, contents.claim))
    assert len(contents.seeds) == (1 if name in ONE_SEED else 3)
    assert contents.targets == ["evaluate"]


def test_the_path_from_the_released_recipe_starts_at_its_preset_and_ends_at_the_default():
    experiment = read_experiment(ROOT, "released-to-ours")
    first, *_, last = experiment.overrides
    second_half = read_experiment(ROOT, "to-the-default")
    further, *_, with_adamw = second_half.overrides
    optimizers = read_experiment(ROOT, "optimizer").overrides
    ours = with_layers(ROOT / "params.yaml", [])
    started = planned(experiment.only([first]), ours, "ml-100k", [1])[0].params
    released = with_layers(ROOT / "params.yaml", [ROOT / "presets" / "released.yaml"])
    row, preset = params_of(started, "row"), params_of(released, "preset")
    for kind in SECTIONS.values():
        dataset = "ml-100k" if kind.per_data_set else None
        expected = preset.section(kind, dataset)
        if isinstance(expected, Evaluate):  # the preset also shows the best of the released beam search
            expected = expected.replace(live_beams=[])
        assert row.section(kind, dataset) == expected, kind.section
    codes = {"quantize.n_codebooks=3", "quantize.expand_final=true"}
    assert set(experiment.overrides[last]) - codes == set(second_half.overrides[further])
    assert set(second_half.overrides[with_adamw]) == set(optimizers["adamw"])
    demonstrations = read_experiment(ROOT, "demonstrations").overrides
    assert set(optimizers["muon"]) == set(demonstrations["search"])
    identifiers = read_experiment(ROOT, "identifiers").overrides
    assert set(demonstrations["corrected"]) == set(identifiers["texts"])
    rows = (
        ("identifiers", "more"),
        ("prompts", "sixteen"),
        ("ctr-weight", "six"),
        ("ctr-weight", "six_and_a_half"),
        ("centering", "all"),
        ("centering", "averaged"),
        ("anchor", "held"),
    )
    more, sixteen, six, six_and_a_half, all_centred, averaged, held = (
        params_of(planned(read_experiment(ROOT, name).only([row]), ours, "ml-100k", [1])[0].params, row)
        for name, row in rows
    )
    default = read_params(ROOT / "params.yaml")
    for kind in SECTIONS.values():
        dataset = "ml-100k" if kind.per_data_set else None
        sections = [params.section(kind, dataset) for params in (more, sixteen, six)]
        assert sections[0] == sections[1] == sections[2], kind.section
        assert six_and_a_half.section(kind, dataset) == all_centred.section(kind, dataset), kind.section
        assert averaged.section(kind, dataset) == default.section(kind, dataset), kind.section
        assert held.section(kind, dataset) == default.section(kind, dataset), kind.section


def test_a_rows_overrides_are_the_common_ones_and_its_own_which_win(tmp_path):
    rows = {
        "first": {"label": "a", "set": ["finetune.steps=3", "finetune.gamma=0.5"]},
        "second": {"label": "b"},
    }
    experiment = write(tmp_path, rows=rows)
    assert experiment.overrides == {
        "first": ["finetune.steps=3", "finetune.gamma=0.5"],
        "second": ["finetune.steps=200"],
    }


def test_a_share_is_one_of_what_all_rows_set_where_they_set_it(tmp_path):
    rows = {
        "first": {"label": "a", "set": ["finetune.steps=33%", "pretrain.max_steps=1%"]},
        "second": {"label": "b", "unset": ["pretrain.max_steps"], "set": ["finetune.steps=50%"]},
    }
    experiment = write(tmp_path, rows=rows)
    assert experiment.overrides["first"] == ["finetune.steps=66", "pretrain.max_steps=1%"]
    assert experiment.overrides["second"] == ["finetune.steps=33"]
    with pytest.raises(
        ConfigError, match=r"'finetune.steps=5%': a share of 'null', allowed: of a whole number"
    ):
        write(
            tmp_path,
            common=["finetune.steps=null"],
            rows={"first": {"label": "a", "set": ["finetune.steps=5%"]}},
        )


def test_shares_of_pretraining_are_those_of_the_steps_that_the_whole_of_it_takes():
    runs = planned(read_experiment(ROOT, "maturity"), with_layers(ROOT / "params.yaml", []), "ml-100k", [1])
    steps = {run.row: run.params["pretrain"]["max_steps"] for run in runs}
    assert sorted(steps.values()) == [18, 594, 1188, 1800]


def test_a_row_that_unsets_goes_on_from_the_row_before_it(tmp_path):
    rows = {
        "first": {"label": "a", "set": ["finetune.gamma=0.5", "finetune.temperature=2"]},
        "second": {"label": "b", "unset": ["finetune.gamma"]},
        "third": {
            "label": "c",
            "unset": ["finetune.steps", "finetune.temperature"],
            "set": ["finetune.gamma=0.9"],
        },
    }
    experiment = write(tmp_path, rows=rows)
    assert experiment.overrides["second"] == ["finetune.steps=200", "finetune.temperature=2"]
    assert experiment.overrides["third"] == ["finetune.gamma=0.9"]


def test_rows_with_the_same_overrides_share_a_run(tmp_path):
    experiment = write(tmp_path)
    assert [experiment.run_of(row) for row in experiment.overrides] == ["first", "second", "first"]
    params = with_layers(ROOT / "params.yaml", [])
    assert [run.row for run in planned(experiment, params, "ml-100k", [1])] == ["first", "second"]
    assert [run.row for run in planned(experiment.only(["sampled"]), params, "ml-100k", [1, 2])] == [
        "first",
        "first",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"titel": "x"}, "titel: unknown key; did you mean 'title'?"),
        ({"reference": "third"}, "reference: got 'third', allowed: a row: first, second, sampled"),
        ({"seeds": []}, "seeds: got [], allowed: at least one number, each once"),
        ({"seeds": [1, 1]}, "seeds: got [1, 1], allowed: at least one number, each once"),
        ({"seeds": ["1"]}, "seeds[0]: got '1' (str), allowed: a whole number"),
        (
            {"common": ["finetune.steps"]},
            "got 'finetune.steps', allowed: key=value, as in finetune.gamma=0.9",
        ),
        ({"rows": {"first": {}}}, "rows.first.label: missing"),
        ({"rows": {"First": {"label": "a"}}}, "rows: got 'First', allowed: small letters, digits and _"),
        (
            {"rows": {"first": {"label": "a", "published": {"ioi": 1}}}},
            "rows.first.published: got 'ioi', allowed: ior, ctr",
        ),
        (
            {"rows": {"first": {"label": "a", "against": "b"}}},
            "rows.first.against: got 'b', allowed: a row: first",
        ),
        (
            {
                "training": {
                    "a": {
                        "label": "A",
                        "curve": "train/length",
                        "after": 0,
                        "until": 1,
                        "relative_to": "sampled",
                    }
                }
            },
            "training.a.relative_to: got 'sampled', allowed: a row of policy prorl",
        ),
        ({"metrics": ["ior", "iou"]}, "metrics: got 'iou', allowed: ioi, ior, ctr, "),
        (
            {"rows": {"first": {"label": "a", "decoding": "gredy"}}},
            "rows.first.decoding: got 'gredy', allowed: greedy, rollout@K, beam@K, max@K, target@K",
        ),
        (
            {"rows": {"first": {"label": "a", "decoding": "rollout@0"}}},
            "rows.first.decoding: got 'rollout@0', allowed: greedy, rollout@K",
        ),
        ({"best_of": [2, 1]}, "best_of: got [2, 1], allowed: growing numbers of paths, each at least 1"),
        ({"best_of": [0, 1]}, "best_of: got [0, 1], allowed: growing numbers of paths, each at least 1"),
        ({"long": LONG | {"passes": 0}}, "long.passes: got 0 (int), allowed: a number at least 1"),
        ({"long": LONG | {"seeds": []}}, "long.seeds: got [], allowed: at least one number, each once"),
        (
            {"long": LONG | {"by_pass": {"a": {"label": "A", "curve": "b", "published": {"x": {1: 2}}}}}},
            "long.by_pass.a.published: got 'x', allowed: a row: first, second, sampled",
        ),
        (
            {
                "long": LONG
                | {"by_pass": {"a": {"label": "A", "curve": "b", "published": {"first": {11: 2}}}}}
            },
            "long.by_pass.a.published.first: got 11, allowed: a pass, 1 to 10",
        ),
        (
            {"long": LONG | {"by_pass": {"a": {"label": "A", "curve": "b", "relative_to": "sampled"}}}},
            "long.by_pass.a.relative_to: got 'sampled', allowed: a row of policy prorl",
        ),
        (
            {"rows": {"first": {"label": "a", "unset": ["seed"]}}},
            "rows.first.unset: got 'seed', allowed: what the row before sets: ",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=re.escape(f"experiments/own.yaml: {message}")) as error:
        write(tmp_path, **changes)
    assert "\n" not in str(error.value)


def test_a_window_without_steps_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"own\.yaml: training\.a\.after: got 0\.5, allowed: below until, 0\.5"
    ):
        write(tmp_path, training={"a": {"label": "A", "curve": "train/length", "after": 0.5, "until": 0.5}})


def test_a_missing_key_is_named(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "own.yaml").write_text("title: a\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"experiments/own\.yaml: source: missing"):
        read_experiment(tmp_path, "own")


def test_an_unknown_experiment_or_row_is_an_error_that_names_those_there_are(tmp_path):
    experiment = write(tmp_path)
    with pytest.raises(ConfigError, match="no experiment 'other'; there are: own"):
        read_experiment(tmp_path, "other")
    with pytest.raises(
        ConfigError, match="experiment 'own' has no row 'third'; there are: first, second, sampled"
    ):
        experiment.only(["third"])
    with pytest.raises(ConfigError, match="no folder experiments/; run from the root of the repository"):
        experiment_names(tmp_path / "experiments")
