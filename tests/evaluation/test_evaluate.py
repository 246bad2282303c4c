"""Guides times simulators: structure, values, pairing and the best of several samples."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from prorl.config.evaluate import Evaluate
from prorl.evaluation.evaluate import Judge, evaluate
from prorl.evaluation.prompts import JudgedPrompts
from prorl.metrics import path_metrics
from prorl.metrics.intervals import UserBootstrap
from prorl.paths.mining import attribute_words
from prorl.policy.decoding import PolicyGuide
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
    policies={},
    rollouts=[1, 3, 6],
    beams=[2, 4],
    target_percentiles=[50],
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
BEST = {"rollout@1", "rollout@3", "rollout@6", "beam@2", "beam@4"}
SAMPLED = {"ioi", "ior", "ctr", "coherence"}


class Prepared:
    """A guide with its paths [p, k, t] written beforehand: the first is its greedy one."""

    def __init__(self, paths, prompts):
        self.paths_of = {
            tuple(row): own for row, own in zip(key(prompts.history, prompts.target), paths, strict=True)
        }

    def paths(self, history, target):
        return torch.stack([self.paths_of[tuple(row)][0] for row in key(history, target)])

    def beams(self, history, target, n_beams):
        return torch.stack([self.paths_of[tuple(row)][:n_beams] for row in key(history, target)])

    def samples(self, history, target, prompt, n_samples, seed):
        return torch.stack([self.paths_of[tuple(row)][:n_samples] for row in key(history, target)])


def key(history, target):
    return torch.cat([history, target[:, None]], dim=1).tolist()


@pytest.fixture(scope="module")
def judge():
    prompts = JudgedPrompts.of(random_instances(9, N_ITEMS)[0], torch.device("cpu"))
    simulators = {name: random_simulator(N_ITEMS, name) for name in ("SASRec", "GRU4Rec")}
    return Judge(prompts, simulators, WORDS, T, SETTINGS.diversity_pairs, SETTINGS.batch_size, 7)


@pytest.fixture(scope="module")
def paths(judge):
    return {seed: random_paths(len(judge.prompts), 6, T, N_ITEMS, min_length=1, seed=seed) for seed in (1, 2)}


@pytest.fixture(scope="module")
def evaluation(judge, paths):
    guides = {"first": Prepared(paths[1], judge.prompts), "second": Prepared(paths[2], judge.prompts)}
    return evaluate(guides | {"same": guides["first"]}, judge, {}, SETTINGS, 60)


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
        assert found["rollout@1"]["ioi"] == found["ioi"]  # the greedy path is the first sample here


def test_comparison_is_paired_prompt_by_prompt(evaluation, judge):
    assert set(evaluation.comparison) == {"second - first", "same - first"}
    for by_metric in evaluation.comparison["same - first"].values():
        assert all(leaf == {"mean": 0, "low": 0, "high": 0} for leaf in by_metric.values())
    rows = evaluation.per_prompt
    bootstrap = UserBootstrap.of_users(
        judge.prompts.user, SETTINGS.bootstrap_resamples, derived_seed(7, "bootstrap")
    )
    for name in judge.simulators:
        first, second = (
            rows[(rows.policy == p) & (rows.simulator == name)].ior.to_numpy() for p in ("first", "second")
        )
        assert evaluation.comparison["second - first"][name]["ior"] == bootstrap.mean(second - first)


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
