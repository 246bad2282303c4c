"""The real pipeline on a miniature: real DVC, real data, every stage."""

import math
import resource

import pytest

from tests.stage_dependencies import DVC_FILE, round_trip_yaml

STAGES = round_trip_yaml().load(DVC_FILE)["stages"]
DATASET = "ml-100k"
SIMULATORS = ("SASRec", "GRU4Rec")
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
    f"{stage}@{DATASET}{simulator}"
    for stage in STAGES
    for simulator in ([f"-{name}" for name in SIMULATORS] if stage == "simulator" else [""])
]


def declared(kinds=("outs", "metrics", "plots")):
    """Paths of all stages' outputs for the one data set."""
    paths = []
    for stage in STAGES.values():
        for out in (out for kind in kinds for out in stage.get(kind, [])):
            path = (out if isinstance(out, str) else next(iter(out))).replace("${item.dataset}", DATASET)
            paths += (
                [path.replace("${item.simulator}", name) for name in SIMULATORS]
                if "${item.simulator}" in path
                else [path]
            )
    return paths


def test_every_stage_runs_once_on_the_way_from_raw_logs_to_report(pipeline):
    assert sorted(pipeline.ran) == sorted(NAMES)
    assert pipeline.ran[0] == f"fetch@{DATASET}"
    assert pipeline.ran[-3:] == [f"finetune@{DATASET}", f"evaluate@{DATASET}", f"report@{DATASET}"]


def test_every_declared_output_is_written_and_no_other_file(pipeline):
    outputs = declared()
    assert [path for path in outputs if not (pipeline.clone.root / path).exists()] == []
    written = pipeline.clone.files("data", "models", "reports")
    extra = [
        path for path in written if not any(path == out or path.startswith(f"{out}/") for out in outputs)
    ]
    assert extra == [f"reports/{DATASET}/runtime.json"]
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


def test_a_second_run_does_nothing_and_quickly(pipeline):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert pipeline.clone.repro() == []
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5, "seconds of CPU time"
    assert pipeline.clone.dvc("status", "--json").strip() == "{}"
    assert pipeline.clone.run("git", "status", "--porcelain").stdout == ""


def test_a_colleague_pulls_all_results_and_has_nothing_to_run(pipeline):
    assert pipeline.colleague.files("data", "models").keys() == pipeline.clone.files("data", "models").keys()
    weights = f"models/policies/{DATASET}/prorl"
    for name, path in pipeline.clone.files(weights).items():
        assert (pipeline.colleague.root / name).read_bytes() == path.read_bytes()
    assert pipeline.colleague.repro() == []


def test_a_changed_setting_of_finetune_runs_finetune_evaluate_and_report_again_and_shows_in_every_diff(
    pipeline, tmp_path
):
    clone = pipeline.colleague
    params, lock = (clone.root / "params.yaml").read_bytes(), (clone.root / "dvc.lock").read_bytes()
    learning_rate = 0.0123
    clone.set(finetune={"learning_rate": learning_rate})
    assert clone.repro() == [f"finetune@{DATASET}", f"evaluate@{DATASET}", f"report@{DATASET}"]
    assert "finetune.learning_rate" in clone.dvc("params", "diff")
    changed = clone.dvc("metrics", "diff", "--json")
    assert f"reports/{DATASET}/evaluation.json" in changed
    assert "pretrain.json" not in changed
    assert '"rev": "HEAD"' in clone.dvc("plots", "diff", "--json")
    (clone.root / "params.yaml").write_bytes(params)
    (clone.root / "dvc.lock").write_bytes(lock)
    clone.run("git", "checkout", "--", "reports")
    clone.dvc("checkout")
    assert clone.repro() == []


def test_another_data_sets_entry_runs_nothing_of_this_one_again(pipeline):
    clone = pipeline.colleague
    params = (clone.root / "params.yaml").read_bytes()
    sections = [
        name
        for name, values in round_trip_yaml().load(params).items()
        if isinstance(values, dict) and DATASET in values
    ]
    clone.set(
        datasets=[DATASET, "ml-1m"],
        **{name: {"ml-1m": {"steps": 7} if name == "finetune" else {}} for name in sections},
    )
    names = [name for name in clone.dvc("status", "--json").split('"') if "@" in name]
    (clone.root / "params.yaml").write_bytes(params)
    assert names
    assert all("@ml-1m" in name for name in names)


def test_metrics_show_answers_for_every_stage(pipeline):
    shown = pipeline.clone.dvc("metrics", "show", "--json")
    for path in declared(("metrics",)):
        assert f'"{path}"' in shown, path


def test_plots_show_draws_every_curve_over_steps(pipeline):
    drawn = pipeline.clone.dvc("plots", "show", "--json")
    curves = [path for path in pipeline.clone.files(f"reports/{DATASET}/curves") if path.endswith(".tsv")]
    assert {path.split("/curves/")[1].split("/plots/")[0] for path in curves} == {
        *(f"simulator/{name}" for name in SIMULATORS),
        "pretrain",
        "finetune",
    }
    for path in curves:
        assert f'"{path}"' in drawn, path
        header = (pipeline.clone.root / path).read_text(encoding="utf-8").splitlines()[0]
        assert header.split("\t")[0] == "step", path


def test_a_remote_needs_no_data_in_git_and_pull_of_one_model_brings_that_alone(pipeline, untouched):
    untouched.dvc("pull", f"models/policies/{DATASET}/prorl")
    assert (untouched.root / f"models/policies/{DATASET}/prorl").is_dir()
    assert not (untouched.root / "data").exists()
    assert untouched.dvc("metrics", "show", "--json") == pipeline.clone.dvc("metrics", "show", "--json"), (
        "metrics come with git"
    )


def assert_interval(value, name):
    """A mean with an interval around it, or a mean alone where nothing is resampled."""
    assert value.keys() == {"mean", "low", "high"}, name
    assert math.isfinite(value["mean"]), name
    if value["low"] is not None:
        assert value["low"] <= value["mean"] <= value["high"], name


def test_evaluation_holds_every_policy_simulator_and_metric_with_intervals(pipeline):
    evaluation = pipeline.clone.read(f"reports/{DATASET}/evaluation.json")
    assert evaluation.keys() == set(POLICIES)
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
    assert pretrain["search"]["paths"] == 16
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
    assert runtime.keys() == set(NAMES)
    for path, file in pipeline.clone.files("reports").items():
        if not path.endswith("runtime.json"):
            assert not {"peak_memory_mib", "host"} & set(file.read_text(encoding="utf-8").split('"')), path
