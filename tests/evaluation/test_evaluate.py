"""Guides times simulators: structure, values, pairing and the best of several samples."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from prorl.config.evaluate import Evaluate, Rejection
from prorl.errors import DataError
from prorl.evaluation.evaluate import evaluate
from prorl.evaluation.judge import Judge
from prorl.evaluation.rejection import rejection_metrics
from prorl.metrics import path_metrics
from prorl.metrics.intervals import UserBootstrap
from prorl.paths.mining import attribute_words
from prorl.policy.guide import PolicyGuide
from prorl.prompts import Prompts
from prorl.runtime import derived_seed
from tests.tiny_models import (
    random_catalogue,
    random_instances,
    random_paths,
    random_policy,
    random_simulator,
)

N_ITEMS, T = 30, 4
SETTINGS = Evaluate(
    rollouts=[1, 3, 6],
    beams=[2, 4],
    live_beams=[2],
    target_percentiles=[50],
    rejection=None,
    bootstrap_resamples=200,
    diversity_pairs=60,
    batch_size=5,
    precision="float32",
)
WORDS = attribute_words(pa.array([[f"a{i % 3}", f"b{i % 5}"] for i in range(N_ITEMS)]), ignored=[])
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
BEST = {"rollout@1", "rollout@3", "rollout@6", "beam@2", "beam@4", "max@2"}
SAMPLED = {"ioi", "ior", "ctr", "coherence"}


class Prepared:
    """A guide with its paths [p, k, t] written beforehand: the first is its greedy one."""

    n_items = N_ITEMS

    def __init__(self, paths):
        self.written = paths

    def paths(self, prompts):
        return self.written[prompts.number, 0]

    def beams(self, prompts, n_beams):
        return self.written[prompts.number, :n_beams]

    def live_beams(self, prompts, n_beams):
        return self.written[prompts.number, -n_beams:]

    def samples(self, prompts, n_samples, seed):
        return self.written[prompts.number, :n_samples]


class Greedy:
    """A guide that can do no more than a guide must, and says what that costs."""

    n_items = N_ITEMS

    def __init__(self, paths):
        self.written = paths

    def paths(self, prompts):
        return self.written[prompts.number, 0]

    def states(self, prompts, paths):
        return 100 + (paths != 0).sum(1)


@pytest.fixture(scope="module")
def judge():
    prompts = Prompts.of(random_instances(9, N_ITEMS)[0])
    simulators = {name: random_simulator(N_ITEMS, name) for name in ("SASRec", "GRU4Rec")}
    return Judge(prompts, simulators, WORDS, T, SETTINGS.diversity_pairs, SETTINGS.batch_size, 7)


@pytest.fixture(scope="module")
def paths(judge):
    return {seed: random_paths(len(judge.prompts), 6, T, N_ITEMS, min_length=1, seed=seed) for seed in (1, 2)}


@pytest.fixture(scope="module")
def evaluation(judge, paths):
    guides = {"first": Prepared(paths[1]), "second": Prepared(paths[2]), "same": Prepared(paths[1])}
    return evaluate(guides, judge, {}, SETTINGS, 60)


def test_results_have_every_guide_simulator_and_metric(evaluation):
    results = evaluation.results
    assert list(results) == ["first", "second", "same"]
    for by_simulator in results.values():
        assert set(by_simulator) == {"SASRec", "GRU4Rec"}
        for metrics in by_simulator.values():
            assert set(metrics) == GREEDY | BEST
            assert all(set(metrics[label]) == SAMPLED for label in BEST)
            leaves = [metrics[name] for name in GREEDY] + [
                metrics[label][name] for label in BEST for name in SAMPLED
            ]
            for leaf in leaves:
                assert set(leaf) == {"mean", "low", "high"}
                assert leaf["low"] - 1e-9 <= leaf["mean"] <= leaf["high"] + 1e-9
    json.dumps(results, allow_nan=False)


def test_means_are_those_of_each_prompts_path(evaluation, judge, paths):
    prompts = judge.prompts
    for name, simulator in judge.simulators.items():
        scores = simulator.score(prompts.history, paths[1][:, :1], prompts.target)
        found = evaluation.results["first"][name]
        assert found["ioi"]["mean"] == pytest.approx(
            (scores.log_prob[:, 0, -1] - scores.log_prob[:, 0, 0]).double().mean().item(), abs=1e-5
        )
        assert found["ior"]["mean"] == pytest.approx(
            (scores.rank[:, 0, 0] - scores.rank[:, 0, -1]).double().mean().item()
        )
        assert found["length"]["mean"] == (paths[1][:, 0] != 0).sum(1).double().mean().item()
        coherence = path_metrics.coherence(paths[1][:, 0].numpy(), prompts.target.numpy(), WORDS)
        assert found["coherence"]["mean"] == pytest.approx(coherence.mean())


def test_the_best_of_more_samples_is_never_worse(evaluation, judge, paths):
    prompts = judge.prompts
    for name, simulator in judge.simulators.items():
        found = evaluation.results["second"][name]
        for metric in SAMPLED:
            assert (
                found["rollout@1"][metric]["mean"]
                <= found["rollout@3"][metric]["mean"]
                <= found["rollout@6"][metric]["mean"]
            )
        scores = simulator.score(prompts.history, paths[2], prompts.target)
        ioi = (scores.log_prob[..., -1] - scores.log_prob[..., 0]).double()
        assert found["rollout@3"]["ioi"]["mean"] == pytest.approx(
            ioi[:, :3].max(1).values.mean().item(), abs=1e-5
        )
        assert found["beam@2"]["ioi"]["mean"] == pytest.approx(
            ioi[:, :2].max(1).values.mean().item(), abs=1e-5
        )
        assert found["max@2"]["ioi"]["mean"] == pytest.approx(
            ioi[:, -2:].max(1).values.mean().item(), abs=1e-5
        )
        assert found["rollout@1"]["ioi"] == found["ioi"]  # the greedy path is the first sample here


def test_comparison_is_paired_prompt_by_prompt(evaluation, judge):
    assert list(evaluation.comparison) == ["second - first", "same - first", "second - same"]
    assert evaluation.comparison["second - same"] == evaluation.comparison["second - first"]
    for by_metric in evaluation.comparison["same - first"].values():
        assert all(leaf == {"mean": 0, "low": 0, "high": 0, "p": 1} for leaf in by_metric.values())
    rows = evaluation.per_prompt
    bootstrap = UserBootstrap.of_users(
        judge.prompts.user.numpy(), SETTINGS.bootstrap_resamples, derived_seed(7, "bootstrap")
    )
    for name in judge.simulators:
        first, second = (
            rows[(rows.policy == p) & (rows.simulator == name)].ior.to_numpy() for p in ("first", "second")
        )
        assert evaluation.comparison["second - first"][name]["ior"] == bootstrap.difference(second - first)


def test_every_prompts_result_is_a_row(evaluation, judge, paths):
    rows = evaluation.per_prompt
    n = len(judge.prompts)
    assert len(rows) == 3 * 2 * n
    part = rows[(rows.policy == "second") & (rows.simulator == "GRU4Rec")].reset_index(drop=True)
    assert part.prompt.tolist() == list(range(n))
    assert part.user.tolist() == judge.prompts.user.tolist()
    assert [list(h) for h in part.history] == judge.prompts.history.tolist()
    assert part.target.tolist() == judge.prompts.target.tolist()
    assert [list(p) for p in part.path] == [[i for i in path if i] for path in paths[2][:, 0].tolist()]
    assert [len(own) for own in part["steps/rank"]] == [len(path) + 1 for path in part.path]
    gained = [ranks[0] - ranks[-1] for ranks in part["steps/rank"]]
    assert gained == part.ior.tolist()
    interest = [values[-1] - values[0] for values in part["steps/log_prob"]]
    assert interest == pytest.approx(part.ioi.tolist(), abs=1e-5)
    for metric, value in evaluation.results["second"]["GRU4Rec"].items():
        of_prompts = (
            {f"{metric}/{name}": own for name, own in value.items()} if metric in BEST else {metric: value}
        )
        for column, own in of_prompts.items():
            assert part[column].mean() == pytest.approx(own["mean"]), column


def test_greedy_paths_towards_other_targets_are_judged_by_those(judge):
    catalogue = random_catalogue(N_ITEMS, forbid=["repeats", "history", "target"], max_length=T)
    guide, target = PolicyGuide(random_policy(catalogue), catalogue), 1 + judge.prompts.target % N_ITEMS
    evaluation = evaluate({"policy": guide}, judge, {"target@50": target}, SETTINGS, 60)
    other = replace(judge, prompts=replace(judge.prompts, target=target)).greedy_means(guide)
    for name, metrics in evaluation.results["policy"].items():
        assert set(metrics["target@50"]) == GREEDY
        for metric, value in metrics["target@50"].items():
            assert value["mean"] == pytest.approx(other[name][metric]), metric
        assert metrics["target@50"]["ioi"] != metrics["ioi"]
        rows = evaluation.per_prompt[evaluation.per_prompt.simulator == name]
        assert rows["target@50/ioi"].mean() == pytest.approx(other[name]["ioi"])


def test_greedy_paths_are_also_shown_to_users_who_refuse_items(judge, paths):
    refusing = Rejection(draws=None, boredom=None, leave=None)
    guides = {"greedy": Greedy(paths[2])}
    found = evaluate(guides, judge, {}, SETTINGS.replace(rejection=refusing), 60)
    expected = rejection_metrics(
        judge.simulators,
        judge.prompts,
        paths[2][judge.prompts.number, 0],
        judge.attribute_words,
        refusing,
        seed=0,
        batch_size=5,
    )
    for simulator, own in expected.items():
        judged = found.results["greedy"][simulator]
        assert {metric: value["mean"] for metric, value in judged["rejection"].items()} == pytest.approx(
            {metric: values.mean() for metric, values in own.items()}
        )
        assert judged["rejection"]["ioi"]["mean"] != judged["ioi"]["mean"]
    assert "rejection" not in evaluate(guides, judge, {}, SETTINGS, 60).results["greedy"]["SASRec"]


def test_judging_does_not_depend_on_the_batch_size(judge, paths):
    items = paths[1][:, 0]
    metrics = judge.metrics(items)
    other = Judge(judge.prompts, judge.simulators, WORDS, T, SETTINGS.diversity_pairs, 100, 7).metrics(items)
    for name in judge.simulators:
        for metric, values in metrics[name].items():
            np.testing.assert_allclose(values, other[name][metric], atol=1e-5, err_msg=metric)


def test_a_policys_evaluation_keeps_its_rules_and_repeats_with_its_seed(judge):
    catalogue = random_catalogue(N_ITEMS, forbid=["repeats", "history", "target"], max_length=T)
    guides = {"policy": PolicyGuide(random_policy(catalogue), catalogue)}
    evaluation = evaluate(guides, judge, {}, SETTINGS, 60)
    assert evaluate(guides, judge, {}, SETTINGS, 60).results == evaluation.results
    assert evaluation.comparison == {}
    for metrics in evaluation.results["policy"].values():
        for name in ("error", "repeats", "target_in_path", "history_in_path"):
            assert metrics[name] == {"mean": 0, "low": 0, "high": 0}
    assert judge.greedy_means(guides["policy"])["SASRec"]["ioi"] == pytest.approx(
        evaluation.results["policy"]["SASRec"]["ioi"]["mean"]
    )


def test_ways_of_decoding_that_a_guide_lacks_are_left_out_of_its_row(judge, paths, evaluation):
    guides = {"first": Prepared(paths[1]), "second": Prepared(paths[2]), "greedy": Greedy(paths[2])}
    target = 1 + judge.prompts.target % N_ITEMS
    found = evaluate(guides, judge, {"target@50": target}, SETTINGS, 60)
    *judges, last = found.results["greedy"]
    assert (judges, last) == (["SASRec", "GRU4Rec"], "states")
    for simulator in judges:
        assert set(found.results["greedy"][simulator]) == GREEDY | {"target@50"}
        for metric in GREEDY:
            expected = found.results["second"][simulator][metric]
            assert found.results["greedy"][simulator][metric] == expected
    assert set(found.comparison) == {"second - first", "greedy - first", "second - greedy"}
    rows = found.per_prompt
    own = rows[rows.policy == "greedy"]
    assert own[[f"{way}/{metric}" for way in BEST for metric in SAMPLED]].isna().all(axis=None)
    others = rows[rows.policy != "greedy"].drop(columns=[c for c in rows if c.startswith("target@50")])
    expected = evaluation.per_prompt[evaluation.per_prompt.policy != "same"]
    pd.testing.assert_frame_equal(others.reset_index(drop=True), expected.reset_index(drop=True))


def test_what_paths_cost_stands_beside_the_results(judge, paths, evaluation):
    found = evaluate({"greedy": Greedy(paths[2])}, judge, {}, SETTINGS, 60)
    assert found.results["greedy"]["states"] == pytest.approx(
        100 + (paths[2][:, 0] != 0).sum(1).double().mean().item()
    )
    assert not any("states" in judged for judged in evaluation.results.values())


def test_a_guide_over_other_items_than_the_simulators_is_an_error(judge, paths):
    guide = Greedy(paths[1])
    guide.n_items = N_ITEMS + 1
    with pytest.raises(DataError, match="guide mine: got 31 items, allowed: the 30 of simulator SASRec"):
        evaluate({"first": Prepared(paths[1]), "mine": guide}, judge, {}, SETTINGS, 60)


def test_a_guide_that_shows_a_blocked_item_is_refused(judge, paths):
    guides = {"first": Prepared(paths[1]), "second": Prepared(paths[2])}
    shown = int(paths[2][4, 0, 0])
    unshown = sorted(
        set(range(1, N_ITEMS + 1)) - {int(i) for own in paths.values() for i in own[:, 0].unique()}
    )
    prompt = int(torch.isin(paths[2][:, 0], torch.tensor([shown])).any(1).nonzero()[0])
    only = {"second": guides["second"], "same": guides["second"]}
    message = (
        f"guide second: prompt {prompt}: got item {shown} in its path, allowed: none that the guardrails"
    )
    with pytest.raises(DataError, match=message):
        evaluate(only, judge, {}, SETTINGS, 60, blocked=[shown])
    free = evaluate(guides, judge, {}, SETTINGS, 60)
    assert evaluate(guides, judge, {}, SETTINGS, 60, blocked=unshown).results == free.results


def test_guides_that_are_judged_are_counted(judge, paths, capsys):
    guides = {name: Prepared(paths[2]) for name in ("first", "second")}
    evaluate(guides, judge, {}, SETTINGS, 0)
    counted = [line for line in capsys.readouterr().err.splitlines() if line.startswith("judge: ")]
    assert "2/2" in counted[-1]
    assert any("1/2" in line for line in counted)
