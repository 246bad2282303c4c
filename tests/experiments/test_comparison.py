"""Rows compared prompt by prompt, figures of the training, and the page they make."""

import subprocess

import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from prorl.cli import main
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.experiments import comparison
from prorl.experiments.comparison import compare, divide_by_others
from prorl.experiments.definition import read_experiment
from prorl.experiments.pages import document, findings, markdown, write_page
from prorl.experiments.results import Result, curves_of
from prorl.experiments.statistics import difference, over_seeds
from prorl.files import read_json
from prorl.layout import Layout
from prorl.metrics.intervals import UserBootstrap
from tests.experiments.files import write
from tools.stage_dependencies import ROOT

USERS = np.array([1, 1, 2, 3])
TRAINING = {
    "length": {"label": "Length", "curve": "train/length", "after": 0, "until": 0.5},
    "late": {"label": "Late", "curve": "train/length", "after": 0.5, "until": 1, "relative_to": "first"},
}


@pytest.fixture
def result(tmp_path):
    """A function that makes the result of a run: `ior` of each prompt, under both policies; `scale` is also
    what path lengths grow by.
    """

    def make(name, ior, scale=1.0, targets=(5, 6, 7, 8)):
        curve = tmp_path / name / "reports/ml-100k/curves/finetune/plots/metrics/train/length.tsv"
        curve.parent.mkdir(parents=True)
        rows = "".join(f"{step}\t{scale * step}\n" for step in (1, 2, 3, 4))
        curve.write_text(f"step\tlength\n{rows}", encoding="utf-8")
        prompts = pd.DataFrame({"prompt": range(4), "user": USERS, "target": targets})
        parts = [
            prompts.assign(
                policy=policy,
                simulator=simulator,
                ior=np.array(ior) + plus,
                ctr=0.5,
                **{"rollout@3/ior": 9.0},
            )
            for plus, policy in ((0, "prorl"), (100, "pretrained"))
            for simulator in ("SASRec", "GRU4Rec")
        ]
        files = DirFileSystem(tmp_path / name, LocalFileSystem())
        return Result(name, pd.concat(parts), files, curves_of(Layout("ml-100k")))

    return make


@pytest.fixture
def experiment(tmp_path):
    return write(tmp_path, training=TRAINING)


@pytest.fixture
def results(result):
    first = {1: result("first-1", [0, 2, 4, 6]), 2: result("first-2", [2, 4, 6, 8], 3.0)}
    return {
        "first": first,
        "second": {1: result("second-1", [1, 4, 6, 9], 2.0), 2: result("second-2", [3, 6, 8, 11], 2.0)},
        "sampled": first,
    }


def test_values_are_averaged_over_seeds_and_users_are_resampled():
    bootstrap = UserBootstrap.of_users(USERS, 500, 0)
    values = np.array([[0.0, 2, 4, 6], [2, 4, 6, 8]])
    assert over_seeds(values, bootstrap) == bootstrap.mean(np.array([1.0, 3, 5, 7])) | {"seeds": [3.0, 5.0]}


@pytest.mark.parametrize(
    ("second", "mean", "clear"),
    [
        ([[1.0, 1, 1, 1], [2, 2, 2, 2]], 1.5, True),
        ([[3.0, 3, 3, 3], [-1, -1, -1, -1]], 1.0, False),
        ([[0.0, 0, 9, -8]] * 2, 0.25, False),
    ],
    ids=["every seed and user", "one seed the other way", "one user the other way"],
)
def test_a_difference_is_clear_if_its_interval_excludes_0_and_every_seed_agrees(second, mean, clear):
    found = difference(np.array(second), np.zeros((2, 4)), UserBootstrap.of_users(USERS, 500, 0))
    assert found["mean"] == mean
    assert found["clear"] is clear


def test_rows_are_paired_with_the_reference_under_every_simulator(experiment, results):
    comparison = compare(experiment, results)
    assert comparison.simulators == ["SASRec", "GRU4Rec"]
    assert (comparison.n_users, comparison.n_prompts) == (3, 4)
    for simulator in comparison.simulators:
        first, second, sampled = (
            comparison.rows[row]["metrics"][simulator] for row in ("first", "second", "sampled")
        )
        assert first["ior"]["seeds"] == [3.0, 5.0]
        assert second["ior"]["mean"] == 6.0
        paired = comparison.rows["second"]["differences"][simulator]["ior"]
        assert (paired["mean"], paired["seeds"], paired["clear"]) == (2.0, [2.0, 2.0], True)
        assert sampled == {"ior": sampled["ior"]}, "sampled paths have no ctr here"
        assert sampled["ior"]["mean"] == 9.0
        assert simulator not in comparison.rows["first"]["differences"]


def test_training_figures_are_means_over_their_steps_and_over_seeds(experiment, results):
    rows = compare(experiment, results).rows
    assert rows["first"]["training"] == {"length": (1.5 + 4.5) / 2, "late": 1.0}
    assert rows["sampled"]["training"] == {}, "its policy is the pre-trained one"
    assert rows["second"]["training"] == {"length": 3.0, "late": 7.0 / ((3.5 + 10.5) / 2)}


def test_a_figure_relative_to_one_that_is_0_is_left_out(tmp_path):
    experiment = write(tmp_path, training=TRAINING)
    rows = {
        row: {"training": {"length": 2.0, "late": late}} for row, late in (("first", 0.0), ("second", 3.0))
    }
    divide_by_others(experiment.contents, rows)
    assert rows == {row: {"training": {"length": 2.0}} for row in ("first", "second")}


def test_a_row_that_others_are_compared_with_cannot_be_left_out(experiment, results):
    assert list(compare(experiment.only(["first", "second"]), results).rows) == ["first", "second"]
    with pytest.raises(ConfigError, match="row 'first' is left out, and others are compared with it"):
        compare(experiment.only(["second"]), results)


def test_rows_judged_on_other_prompts_are_refused(experiment, results, result):
    results["second"][2] = result("other", [1, 2, 3, 4], targets=(5, 6, 7, 9))
    with pytest.raises(DataError, match="other: judged on other prompts than row first"):
        compare(experiment, results)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"policy": "another"}, "no results of another under SASRec; there are: pretrained under GRU4Rec"),
        ({"decoding": "beam@7"}, "row second: no metrics of 'beam@7'; columns are: prompt, user"),
    ],
)
def test_an_unknown_policy_or_decoding_is_an_error_that_says_what_there_is(tmp_path, results, row, message):
    experiment = write(
        tmp_path, rows={"first": {"label": "a"}, "second": {"label": "b", "set": ["seed=2"], **row}}
    )
    with pytest.raises(DataError, match=message):
        compare(experiment, {row: results[row] for row in experiment.overrides})


def test_a_way_to_decode_that_a_guide_lacks_is_an_error_like_one_that_nobody_has(tmp_path, results):
    """Its columns are empty for that guide alone."""
    for result in (*results["first"].values(), *results["second"].values()):
        result.prompts.loc[result.prompts.policy == "prorl", "rollout@3/ior"] = np.nan
    second = {"label": "b", "set": ["seed=2"], "decoding": "rollout@3"}
    experiment = write(tmp_path, rows={"first": {"label": "a"}, "second": second})
    with pytest.raises(DataError, match="row second: no metrics of 'rollout@3'; columns are: prompt, user"):
        compare(experiment, {row: results[row] for row in experiment.overrides})


def test_a_figure_without_steps_is_an_error_that_names_the_run(tmp_path, results):
    training = {"length": {"label": "Length", "curve": "train/length", "after": 0, "until": 0.1}}
    with pytest.raises(DataError, match=r"first-1: .*length\.tsv: no step in 0\.0 to 0\.1 of 4 steps"):
        compare(write(tmp_path, training=training), results)


def test_the_page_sets_ours_beside_the_published_figures_under_their_simulator(tmp_path, experiment, results):
    comparison = compare(experiment, results)
    page = markdown(tmp_path, experiment, comparison, "ml-100k", [1, 2], "abc")
    judged = {
        simulator: page.partition(f"## Judged by {simulator}")[2].partition("##")[0]
        for simulator in comparison.simulators
    }
    low, high = (comparison.rows["first"]["metrics"]["SASRec"]["ior"][end] for end in ("low", "high"))
    assert "|  | IoR | published | CTR |" in judged["SASRec"]
    assert f"| First | 4.0 [{low:.1f}, {high:.1f}] | 7.0 | 0.500 [0.500, 0.500] |" in judged["SASRec"]
    assert "published" not in judged["GRU4Rec"]
    assert "| Second | First | **2.0 [" in judged["GRU4Rec"]
    assert "| First | 3.0 / 5.0 | 0.500 / 0.500 |" in page
    assert "| Second | `finetune.steps=200` `finetune.gamma=0.5` | `prorl` | greedy |" in page
    assert "what the paper says" in page
    assert "    prorl experiments table own --dataset ml-100k --seeds 1 2\n" in page
    write_page(tmp_path, experiment, comparison, "ml-100k", [1, 2], "abc")
    assert (tmp_path / "reports/experiments/ml-100k/own.md").read_text(encoding="utf-8") == f"{page}\n"
    assert read_json(tmp_path / "reports/experiments/ml-100k/own.json") == document(
        experiment, comparison, "ml-100k", [1, 2], "abc"
    )


def test_findings_of_the_data_set_stand_on_its_page_alone(tmp_path, experiment, results):
    comparison = compare(experiment, results)
    folder = tmp_path / "reports/experiments/ml-100k"
    folder.mkdir(parents=True)
    (folder / "own.findings.md").write_text("It\nshows.\n\nIn part.\n", encoding="utf-8")
    page = markdown(tmp_path, experiment, comparison, "ml-100k", [1, 2], "abc")
    assert "\n\n## Findings\n\nIt shows.\n\nIn part.\n\n## Judged by" in page
    assert "Findings" not in markdown(tmp_path, experiment, comparison, "ml-1m", [1, 2], "abc")


@pytest.mark.parametrize("path", sorted(ROOT.glob("reports/experiments/*/*.findings.md")), ids=str)
def test_a_stored_page_has_the_findings_that_stand_beside_it(path):
    label, dataset = path.name.removesuffix(".findings.md"), path.parent.name
    name = label.removesuffix("-long")
    stored = path.with_name(f"{label}.md").read_text(encoding="utf-8")
    experiment = read_experiment(ROOT, name)
    found = findings(ROOT, experiment if label == name else experiment.at_maturity(), dataset)
    assert "\n\n".join(["## Findings", *found, "## Judged by"]) in stored


@pytest.fixture
def at_repository(repository, results, monkeypatch):
    """At the root of a repository with an experiment and its results, which the commit before the last holds
    too.
    """
    write(repository)
    for message in ("Second", "Third"):
        subprocess.run(["git", "add", "--all"], cwd=repository, check=True)
        subprocess.run(
            ["git", "commit", "--quiet", "--allow-empty", "--message", message], cwd=repository, check=True
        )
    monkeypatch.setattr(comparison, "read_results", lambda root, experiment, params, dataset, seeds, commit: {
        row: {seed: results[row][seed] for seed in seeds} for row in experiment.contents.rows
    })  # fmt: skip
    monkeypatch.chdir(repository)
    return repository


def test_the_whole_table_of_the_checked_out_commit_is_printed_and_written(at_repository, capsys):
    assert main(["experiments", "table", "own"]) == 0
    printed = capsys.readouterr().out
    assert "| Second |" in printed
    assert (at_repository / "reports/experiments/ml-100k/own.md").read_text(encoding="utf-8") == printed


@pytest.mark.parametrize("options", [["--seeds", "1"], ["--only", "first", "second"], ["--commit", "HEAD~1"]])
def test_a_part_of_a_table_or_one_of_another_commit_is_printed_alone(options, at_repository, capsys):
    assert main(["experiments", "table", "own", *options]) == 0
    assert "| Second |" in capsys.readouterr().out
    assert not (at_repository / "reports").exists()


def test_the_page_leads_to_the_long_rows_where_there_is_a_page_of_them(tmp_path, results):
    long = {"seeds": [1], "pretrain_passes": 2, "passes": 3, "set": []}
    experiment = write(tmp_path, training=TRAINING, long=long)
    comparison, words = compare(experiment, results), "The same rows at the paper's maturity: "
    assert words not in markdown(tmp_path, experiment, comparison, "ml-100k", [1, 2], "abc")
    other = tmp_path / "reports/experiments/ml-100k/own-long.md"
    other.parent.mkdir(parents=True)
    other.write_text("the long rows\n", encoding="utf-8")
    page = markdown(tmp_path, experiment, comparison, "ml-100k", [1, 2], "abc")
    assert f"\n\n{words}[own-long](own-long.md).\n\n" in page
