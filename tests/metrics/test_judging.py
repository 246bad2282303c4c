"""The metrics of many paths under simulators."""

import numpy as np
import pytest
import torch

from prorl.evaluation.judge import Judge
from prorl.metrics import path_metrics
from prorl.metrics.judging import judged_metrics
from prorl.metrics.registry import METRICS, Metric, decimals_of, headline, in_order, label
from prorl.prompts import Prompts
from prorl.reports import tables
from tests.reports.written_inputs import read_all, write_all
from tests.tiny_models import random_instances, random_paths, random_prompts, random_simulator

N_ITEMS = 15
WORDS = np.random.default_rng(0).integers(1, 8, (N_ITEMS + 1, 1)).astype(np.uint64)
SIMULATED = ["ioi", "ior", "ctr"]


def prompts_of(n_prompts):
    history, target = random_prompts(n_prompts, N_ITEMS)
    return Prompts(torch.arange(n_prompts), torch.arange(1, n_prompts + 1), history, target)


def found(prompts, items, names=METRICS, simulators=None, batch_size=8):
    simulators = simulators or {"SASRec": random_simulator(N_ITEMS)}
    return judged_metrics(names, simulators, prompts, items, WORDS, n_pairs=30, seed=0, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_simulated_metrics_are_those_of_each_path_alone(batch_size):
    simulator, prompts = random_simulator(N_ITEMS), prompts_of(4)
    items = random_paths(4, 2, 3, N_ITEMS)
    items[1, 0] = 0
    metrics = found(prompts, items, SIMULATED, {"one": simulator}, batch_size)["one"]
    for p in range(4):
        for m in range(2):
            path = items[p, m][items[p, m] != 0]
            alone = prompts[p : p + 1]
            scores = simulator.score(alone.history, path[None, None], alone.target)
            assert metrics["ioi"][p, m] == pytest.approx(
                (scores.log_prob[0, 0, -1] - scores.log_prob[0, 0, 0]).item(), abs=1e-5
            )
            assert metrics["ior"][p, m] == (scores.rank[0, 0, 0] - scores.rank[0, 0, -1]).item()
            assert metrics["ctr"][p, m] == pytest.approx(
                scores.acceptance.mean().item() if len(path) else 0.0, abs=1e-6
            )
    assert [metrics[name][1, 0] for name in SIMULATED] == [0, 0, 0]


def test_non_items_change_no_simulated_metric():
    items = torch.tensor([[[3, 9, 0, 0], [-1, 3, -1, 9], [-1, -1, 0, 0]]])
    for values in found(prompts_of(1), items, SIMULATED)["SASRec"].values():
        assert values[0, 1] == pytest.approx(values[0, 0])
        assert values[0, 2] == 0


def test_under_several_simulators_the_simulated_metrics_alone_differ():
    simulators = {name: random_simulator(N_ITEMS, name) for name in ("SASRec", "GRU4Rec")}
    judged = found(prompts_of(6), random_paths(6, 1, 3, N_ITEMS, min_length=1), simulators=simulators)
    one, other = judged["SASRec"], judged["GRU4Rec"]
    assert list(one) == list(other) == list(METRICS)
    assert [name for name in METRICS if not np.array_equal(one[name], other[name])] == SIMULATED


def test_ranks_and_lengths_are_shown_with_fewer_decimals():
    assert {name: m.decimals for name, m in METRICS.items() if m.decimals != 3} == {"ior": 1, "length": 2}


def test_every_metric_is_there_in_the_registrys_order_as_its_function_gives_it():
    prompts, items = prompts_of(6), random_paths(6, 2, 3, N_ITEMS)
    metrics = found(prompts, items)["SASRec"]
    assert list(metrics) == [
        *SIMULATED,
        *("coherence", "error", "length", "distinct", "diversity", "repeats"),
        *("target_in_path", "history_in_path"),
    ]
    assert all(values.shape == (6, 2) and values.dtype == np.float64 for values in metrics.values())
    rows, twice = items.flatten(0, 1).numpy(), np.repeat(np.arange(6), 2)
    target, history = prompts.target.numpy()[twice], prompts.history.numpy()[twice]
    for name, expected in {
        "coherence": path_metrics.coherence(rows, target, WORDS),
        "error": path_metrics.error(rows),
        "length": (rows != 0).sum(1),
        "distinct": path_metrics.distinct(rows),
        "diversity": path_metrics.diversity(rows, twice, 30, 0),
        "repeats": path_metrics.repeats(rows),
        "target_in_path": path_metrics.target_in_path(rows, target),
        "history_in_path": path_metrics.history_in_path(rows, history),
    }.items():
        np.testing.assert_array_equal(metrics[name].flatten(), expected, err_msg=name)


def test_what_does_not_depend_on_the_simulator_is_computed_once(monkeypatch):
    calls = []
    counted = Metric("counted", lambda paths: calls.append(1) or np.zeros(len(paths.items)), "Counted")
    monkeypatch.setitem(METRICS, "counted", counted)
    simulators = {"a": random_simulator(N_ITEMS), "b": random_simulator(N_ITEMS, "GRU4Rec")}
    metrics = found(prompts_of(3), random_paths(3, 1, 3, N_ITEMS), ["counted", "ioi"], simulators)
    assert len(calls) == 1
    assert not np.array_equal(metrics["a"]["ioi"], metrics["b"]["ioi"])


@pytest.fixture
def worst_acceptance(monkeypatch):
    """A metric from outside the library: one entry, and nothing else."""

    def worst(paths):
        return np.where(paths.items > 0, paths.acceptance, 1.0).min(1)

    entry = Metric("worst", worst, "Worst, of all items", 4, better="lower", simulated=True, headline=True)
    monkeypatch.setitem(METRICS, "worst", entry)


@pytest.mark.usefixtures("worst_acceptance")
def test_a_metric_from_outside_is_judged_selected_on_and_shown(tmp_path):
    prompts = Prompts.of(random_instances(4, N_ITEMS)[0])
    judge = Judge(prompts, {"SASRec": random_simulator(N_ITEMS)}, WORDS, 3, 30, 8, 7)
    paths = random_paths(len(prompts), 4, 3, N_ITEMS, min_length=1)
    own = judge.metrics(paths[:, 0])["SASRec"]
    assert list(own)[-1] == "worst"
    scores = judge.simulators["SASRec"].score(prompts.history, paths[:, :1], prompts.target)
    for row, length, value in zip(scores.acceptance[:, 0], own["length"], own["worst"], strict=True):
        assert value == pytest.approx(row[: int(length)].min().item())
    best = judge.best_of(paths, {"rollout@1": 1, "rollout@4": 4})["SASRec"]  # the lower, the better
    assert (best["rollout@4"]["worst"] <= best["rollout@1"]["worst"]).all()
    assert (best["rollout@4"]["worst"] < best["rollout@1"]["worst"]).any()
    each = [judge.metrics(paths[:, m])["SASRec"]["ioi"] for m in range(4)]
    assert best["rollout@4"]["ioi"] == pytest.approx(np.max(each, axis=0), abs=1e-5)

    class Prepared:
        n_items = N_ITEMS

        def paths(self, prompts):
            return paths[prompts.number, 0]

    whole = Judge(prompts, judge.simulators, WORDS, 3, 30, 100, 7)
    assert whole.greedy_means(Prepared())["SASRec"]["worst"] == pytest.approx(
        own["worst"].mean()
    )  # select_on

    write_all(tmp_path)
    inputs = read_all(tmp_path)
    inputs.evaluation["prorl"]["SASRec"]["worst"] = {"mean": 0.25, "low": 0.125, "high": 0.5}
    table = next(own for own in tables.results(inputs) if own.caption == "Greedy paths, judged by SASRec")
    place = table.columns.index("Worst, of all items")
    shown = {row[0]: row[place] for row in table.rows}
    assert shown.pop("prorl") == "0.2500 [0.1250, 0.5000]"
    assert set(shown.values()) == {"-"}


def test_labels_decimals_and_order_are_the_registrys_and_strangers_come_last():
    assert label("ior") == "IoR, increment of rank"
    assert label("mrr@10") == "mrr@10"
    assert (decimals_of("ior"), decimals_of("mrr@10")) == (1, 3)
    assert in_order(["x", "length", "a", "ioi"]) == ["ioi", "length", "a", "x"]
    assert headline() == ["ioi", "ior", "ctr", "coherence"]
    assert {name: metric.name for name, metric in METRICS.items()} == {name: name for name in METRICS}


def test_a_headline_metric_must_say_which_way_is_better():
    with pytest.raises(ValueError, match="metric x: headline: got True, allowed: False where better is None"):
        Metric("x", lambda paths: paths.rank, "X", headline=True)


class Counting:
    """A simulator that keeps how many paths it is given at once."""

    def __init__(self):
        self.inner, self.paths = random_simulator(N_ITEMS), []

    def score(self, history, path, target, *, ends=False):
        self.paths.append(path.shape[0] * path.shape[1])
        return self.inner.score(history, path, target, ends=ends)


@pytest.mark.parametrize(("m", "expected"), [(2, [16, 4]), (16, [128, 32]), (40, [120, 120, 120, 40])])
def test_of_many_paths_per_prompt_fewer_prompts_are_read_at_once(m, expected):
    """At most 16 times `batch_size` paths, and the same metrics as for a path alone."""
    counting, prompts, items = Counting(), prompts_of(10), random_paths(10, m, 3, N_ITEMS, min_length=1)
    metrics = found(prompts, items, SIMULATED, {"one": counting}, batch_size=8)["one"]
    assert counting.paths == expected
    for column in (0, m - 1):
        alone = found(prompts, items[:, column : column + 1], SIMULATED)["SASRec"]
        for name in SIMULATED:
            np.testing.assert_allclose(metrics[name][:, column], alone[name][:, 0], atol=1e-5)
