"""The real pipeline on a miniature: real DVC, real data, every stage."""

import json
import math

import pandas as pd
import pytest

from prorl.bundle.policy import load_policy
from prorl.evaluation.judged import MILLISECONDS
from prorl.files import write_json
from prorl.presets import round_trip_yaml
from tests.pipeline.clones import ALWAYS, DATASET, TINY
from tools.stage_dependencies import DVC_FILE

# Optional stages are there for the data sets that their sections list, here for none.
STAGES = {
    name: stage
    for name, stage in round_trip_yaml().load(DVC_FILE)["stages"].items()
    if stage["matrix"]["dataset"] == "${datasets}"
}
SIMULATORS = ("SASRec", "GRU4Rec")
AXES = {
    "simulator": SIMULATORS,
    "validate": SIMULATORS,
    "guide": TINY["guides"],
}  # beside the data set, of the stages named so
POLICIES = ("pretrained", "prorl")
GREEDY = {
    "ioi",
    "ior",
    "ctr",
    "coherence",
    "error",
    "length",
    "distinct",
    "diversity",
    "repeats",
    "target_in_path",
    "history_in_path",
}
NAMES = [
    f"{stage}@{DATASET}{name}"
    for stage in STAGES
    for name in ([f"-{name}" for name in AXES[stage]] if stage in AXES else [""])
]


def declared(kinds=("outs", "metrics", "plots")):
    """Paths of all stages' outputs for the one data set."""
    paths = []
    for stage in STAGES.values():
        for out in (out for kind in kinds for out in stage.get(kind, [])):
            path = (out if isinstance(out, str) else next(iter(out))).replace("${item.dataset}", DATASET)
            axis = next((axis for axis in AXES if f"${{item.{axis}}}" in path), None)
            paths += [path.replace(f"${{item.{axis}}}", name) for name in AXES[axis]] if axis else [path]
    return paths


def test_every_stage_runs_once_on_the_way_from_raw_logs_to_report(pipeline):
    assert sorted(pipeline.ran) == sorted(NAMES)
    assert pipeline.ran[:2] == [ALWAYS, f"fetch@{DATASET}"]
    order = [pipeline.ran.index(f"{stage}@{DATASET}") for stage in ("finetune", "evaluate", "gate", "report")]
    assert order == sorted(order)
    assert order[-1] == len(NAMES) - 1


def test_every_declared_output_is_written_and_no_other_file(pipeline):
    outputs = declared()
    assert [path for path in outputs if not (pipeline.clone.root / path).exists()] == []
    written = pipeline.clone.files("data", "models", "reports")
    extra = [
        path for path in written if not any(path == out or path.startswith(f"{out}/") for out in outputs)
    ]
    assert extra == [f"reports/{DATASET}/runtime.json"]
    inputs = pipeline.clone.files(f"reports/{DATASET}/inputs")
    assert {pipeline.clone.read(path) == {} for path in inputs} == {True}, "no setting names an outside file"
    assert not list((pipeline.clone.root / ".checkpoints").glob("*")), "a finished stage leaves no checkpoint"


def test_git_holds_metrics_curves_and_the_page_and_neither_data_nor_models_nor_machines(pipeline):
    tracked = pipeline.clone.run("git", "ls-files").stdout.split()
    assert {"dvc.lock", f"reports/{DATASET}/index.html", f"reports/{DATASET}/evaluation.json"} <= set(tracked)
    assert not [
        path
        for path in tracked
        if path.startswith(("data/", "models/"))
        or path.endswith(("runtime.json", ".parquet", ".safetensors"))
    ]
    assert any(path.endswith("curves/finetune/plots/metrics/train/kl.tsv") for path in tracked)


def test_a_second_run_does_nothing(pipeline):
    assert pipeline.clone.repro() == [ALWAYS]
    assert pipeline.clone.dvc("status", "--json").strip() == f'{{"{ALWAYS}": ["always changed"]}}'
    assert pipeline.clone.run("git", "status", "--porcelain").stdout == ""


def test_a_colleague_pulls_all_results_and_has_nothing_to_run(pipeline):
    assert pipeline.colleague.files("data", "models").keys() == pipeline.clone.files("data", "models").keys()
    weights = f"models/policies/{DATASET}/prorl"
    for name, path in pipeline.clone.files(weights).items():
        assert (pipeline.colleague.root / name).read_bytes() == path.read_bytes()
    assert pipeline.colleague.repro() == [ALWAYS]


def test_a_changed_setting_of_finetune_runs_finetune_evaluate_and_report_again_and_shows_in_every_diff(
    pipeline,
):
    clone = pipeline.colleague
    with clone.changed():
        clone.set(finetune={"learning_rate": 0.0123})
        assert clone.repro() == [
            ALWAYS,
            *(f"{stage}@{DATASET}" for stage in ("finetune", "evaluate", "gate", "release", "report")),
        ]
        assert "finetune.learning_rate" in clone.dvc("params", "diff")
        (changed,) = json.loads(clone.dvc("metrics", "diff", "--json")).items()
        assert changed[0] == f"reports/{DATASET}/summary.json"
        assert {name.split(".")[0] for name in changed[1]} == {"prorl"}
        assert '"rev": "HEAD"' in clone.dvc("plots", "diff", "--json")
    assert clone.repro() == [ALWAYS]


def test_another_data_sets_entry_runs_nothing_of_this_one_again(pipeline):
    clone = pipeline.colleague
    params = round_trip_yaml().load(clone.root / "params.yaml")
    sections = [name for name, values in params.items() if isinstance(values, dict) and DATASET in values]
    with clone.changed():
        clone.set(
            datasets=[DATASET, "ml-1m"],
            **{name: {"ml-1m": {"steps": 7} if name == "finetune" else {}} for name in sections},
        )
        status = json.loads(clone.dvc("status", "--json"))
    assert {name for name in status if "@ml-1m" in name} == {
        name.replace(f"@{DATASET}", "@ml-1m") for name in NAMES
    }
    assert [name for name in status if "@ml-1m" not in name] == [ALWAYS]


def test_metrics_are_the_summary_whose_numbers_are_the_stages_own(pipeline):
    shown = json.loads(pipeline.clone.dvc("metrics", "show", "--json"))
    path = f"reports/{DATASET}/summary.json"
    assert list(shown[""]["data"]) == [path]
    summary = pipeline.clone.read(path)
    evaluation = pipeline.clone.read(f"reports/{DATASET}/evaluation.json")
    assert summary["prorl"]["GRU4Rec"]["ior"] == round(evaluation["prorl"]["GRU4Rec"]["ior"]["mean"], 2)
    assert summary["start"]["SASRec"]["ctr"] == round(evaluation["pretrained"]["SASRec"]["ctr"]["mean"], 4)
    assert summary["instances"] == pipeline.clone.read(f"reports/{DATASET}/mine.json")["instances"]["train"]


def test_a_comparison_of_two_commits_in_which_every_number_changed_fits_a_screen(pipeline, untouched):
    path = f"reports/{DATASET}/summary.json"

    def times(value, factor, decimals=4):
        if isinstance(value, dict):
            return {key: times(part, factor, 2 if key == "ior" else 4) for key, part in value.items()}
        if isinstance(value, int):
            return round(value * factor)
        return round(value * factor + 100 + 10**-decimals, decimals)

    before = pipeline.clone.read(path)
    before["search"] = before["start"]
    for factor in (3, -1):
        write_json(untouched.root / path, times(before, factor))
        untouched.commit("Other results")
    printed = untouched.dvc("metrics", "diff", "HEAD~1").splitlines()
    assert 17 < len(printed) < 40
    assert max(map(len, printed)) <= 80, "\n".join(printed)


def test_plots_show_draws_the_titled_plots_then_every_curve_over_steps_and_nothing_else(pipeline):
    done = pipeline.clone.run("dvc", "plots", "show", "--json")
    assert "failed" not in done.stderr
    drawn = [path for path, plots in json.loads(done.stdout)["data"].items() if plots]
    titled = [
        name.replace("${datasets[0]}", DATASET)
        for plot in round_trip_yaml().load(pipeline.clone.root / "dvc.yaml")["plots"]
        for name in plot
    ]
    assert {"kl", f"reports/{DATASET}/plots/frontier.json"} <= set(titled)
    assert drawn[: len(titled)] == titled
    curves = [path for path in pipeline.clone.files(f"reports/{DATASET}/curves") if path.endswith(".tsv")]
    assert {path.split("/curves/")[1].split("/plots/")[0] for path in curves} == {
        *(f"simulator/{name}" for name in SIMULATORS),
        "pretrain",
        "finetune",
    }
    assert set(drawn[len(titled) :]) == set(curves)
    for path in curves:
        header = (pipeline.clone.root / path).read_text(encoding="utf-8").splitlines()[0]
        assert header.split("\t")[0] == "step", path


def lists(value):
    """All lists in a value of JSON."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [value] * isinstance(value, list) + [found for part in parts for found in lists(part)]


def test_no_json_that_dvc_takes_for_a_plot_holds_an_empty_list(pipeline):
    """DVC takes a list for a plot's points, and crashes on one that has none."""
    paths = [path for path in declared(("plots",)) if path.endswith(".json")]
    assert f"reports/{DATASET}/quantize.json" in paths
    assert [path for path in paths if [] in lists(pipeline.clone.read(path))] == []


def test_a_remote_needs_no_data_in_git_and_pull_of_one_model_brings_that_alone(pipeline, untouched):
    untouched.dvc("pull", f"models/policies/{DATASET}/prorl")
    assert (untouched.root / f"models/policies/{DATASET}/prorl").is_dir()
    assert not (untouched.root / "data").exists()
    assert untouched.dvc("metrics", "show", "--json") == pipeline.clone.dvc("metrics", "show", "--json"), (
        "metrics come with git"
    )


def assert_interval(value, name):
    """A mean with an interval around it, or a mean alone where nothing is resampled; a difference has a p."""
    assert value.keys() - {"p"} == {"mean", "low", "high"}, name
    assert math.isfinite(value["mean"]), name
    if value["low"] is not None:
        assert value["low"] <= value["mean"] <= value["high"], name


def test_evaluation_holds_every_policy_simulator_and_metric_with_intervals(pipeline):
    evaluation = pipeline.clone.read(f"reports/{DATASET}/evaluation.json")
    assert evaluation.keys() == {*POLICIES, "search"}
    search = evaluation.pop("search")
    assert search.keys() == {*SIMULATORS, "states"}
    assert 10 < search["states"] <= 10 + 32 * 10, "the history's, and 32 candidates' a step"
    assert all(search[simulator].keys() == GREEDY for simulator in SIMULATORS), "it neither samples nor beams"
    for policy, simulators in evaluation.items():
        assert simulators.keys() == set(SIMULATORS)
        for simulator, metrics in simulators.items():
            assert metrics.keys() == GREEDY | {"rollout@1", "rollout@3"}
            for name in GREEDY:
                assert_interval(metrics[name], f"{policy}, {simulator}, {name}")
            for k in (1, 3):
                for name, value in metrics[f"rollout@{k}"].items():
                    assert_interval(value, f"{policy}, {simulator}, rollout@{k}, {name}")
            for name in ("error", "repeats", "target_in_path", "history_in_path"):
                assert metrics[name]["mean"] == 0, "constrained decoding forbids them"
            assert metrics["rollout@3"]["ioi"]["mean"] >= metrics["rollout@1"]["ioi"]["mean"]
            assert 1 <= metrics["length"]["mean"] <= 10
            assert all(
                0 <= metrics[name]["mean"] <= 1 for name in ("ctr", "coherence", "distinct", "diversity")
            )


def test_comparison_is_paired_by_simulator_and_its_means_are_the_differences(pipeline):
    evaluation = pipeline.clone.read(f"reports/{DATASET}/evaluation.json")
    comparison = pipeline.clone.read(f"reports/{DATASET}/comparison.json")["prorl - pretrained"]
    assert comparison.keys() == set(SIMULATORS)
    for simulator, metrics in comparison.items():
        assert {"ioi", "ior", "ctr"} <= metrics.keys()
        for name, value in metrics.items():
            assert_interval(value, name)
            means = [evaluation[policy][simulator][name]["mean"] for policy in POLICIES]
            assert value["mean"] == pytest.approx(means[1] - means[0], abs=1e-6), name


@pytest.mark.parametrize("name", SIMULATORS)
def test_simulators_report_ranking_beside_popularitys(pipeline, name):
    report = pipeline.clone.read(f"reports/{DATASET}/simulator/{name}.json")
    for ranking in (
        report["validation"],
        report["test"],
        report["popularity"]["validation"],
        report["popularity"]["test"],
    ):
        assert ranking.keys() == {"mrr@10", "recall@10", "ndcg@10"}
        assert 0 <= ranking["mrr@10"] <= ranking["ndcg@10"] <= ranking["recall@10"] <= 1
    assert 1 <= report["best_epoch"] <= report["epochs"] <= 2
    assert 0 <= report["untouched_items"] < report["n_items"]


def test_training_stages_report_steps_and_greedy_metrics_on_validation_prompts(pipeline):
    pretrain = pipeline.clone.read(f"reports/{DATASET}/pretrain.json")
    assert pretrain["stopped"] in ("flattened", "max_steps")
    assert pretrain["search"]["paths"] == pretrain["steps"] * 16
    finetune = pipeline.clone.read(f"reports/{DATASET}/finetune.json")
    assert finetune["steps"] == 3
    for greedy in (pretrain["validation"], finetune["validation_initial"], finetune["validation"]):
        assert GREEDY >= greedy.keys() >= {"ioi", "ior", "ctr", "length"}


def test_the_page_shows_the_numbers_of_the_metrics_files(pipeline):
    page = (pipeline.clone.root / f"reports/{DATASET}/index.html").read_text(encoding="utf-8")
    ioi = pipeline.clone.read(f"reports/{DATASET}/evaluation.json")["prorl"]["SASRec"]["ioi"]
    assert f"{ioi['mean']:.3f} [{ioi['low']:.3f}, {ioi['high']:.3f}]" in page
    assert "lsa" in page


def test_runtime_is_kept_apart_from_metrics(pipeline):
    runtime = pipeline.clone.read(f"reports/{DATASET}/runtime.json")
    assert runtime.keys() == {*NAMES, MILLISECONDS}
    for path, file in pipeline.clone.files("reports").items():
        if not path.endswith("runtime.json"):
            assert not {"peak_memory_mib", "host"} & set(file.read_text(encoding="utf-8").split('"')), path


def test_the_released_policy_guides_as_it_was_judged(pipeline):
    folder = pipeline.clone.root / f"models/released/{DATASET}/prorl"
    policy = load_policy(folder, "cpu")
    judged = pd.read_parquet(pipeline.clone.root / f"data/evaluation/{DATASET}/per_prompt.parquet")
    row = judged[judged.policy == "prorl"].iloc[0]
    (path,) = policy.guide(
        [policy.items[item] for item in row.history.tolist()], policy.items[int(row.target)]
    )
    assert [item.item for item in path.items] == row.path.tolist()
    (said,) = policy.judged([path])
    assert len(said.acceptance) == len(path.items)
    assert pipeline.clone.read(f"models/released/{DATASET}/prorl/metrics.json")["test"] == {
        name: pipeline.clone.read(f"reports/{DATASET}/evaluation.json")["prorl"][name] for name in SIMULATORS
    }
