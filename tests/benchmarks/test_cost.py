"""How the benchmark of costs takes turns, and what its table says. Its smoke size runs with the others'."""

import pytest
import torch

from benchmarks.cost import MAX_TURNS, SECONDS, SLOW, Cost, Load, in_turns, one_by_one, table, together
from benchmarks.harness import Options
from tests.tiny_models import some_prompts

CPU = Options(quick=False, results=None, device=torch.device("cpu"))


@pytest.fixture
def takes(monkeypatch):
    """A function that gives a run taking some seconds by a clock of its own; `told` are names and turns."""
    now, told = [0.0], []
    monkeypatch.setattr("benchmarks.cost.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("benchmarks.harness.gc.collect", lambda: 0)  # of all tests before, at every turn

    def run_of(name, seconds):
        def run(turn):
            now[0] += seconds
            told.append((name, turn))

        return run

    run_of.told = told
    return run_of


def test_runs_take_turns_one_prompt_after_another_until_their_time_is_up(takes):
    taken, _ = in_turns({"a": takes("a", 1.0), "b": takes("b", SECONDS / 4)}, CPU)
    turns = [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2), ("b", 3), ("a", 3)]
    assert takes.told == [("a", 0), ("b", 0), *turns]
    assert taken == {"a": [1.0] * 4, "b": [SECONDS / 4] * 4}


def test_quick_runs_take_no_more_turns_than_there_are(takes):
    taken, _ = in_turns({"a": takes("a", 0.001)}, CPU)
    assert len(taken["a"]) == MAX_TURNS


def test_what_is_slow_runs_once_and_that_counts(takes):
    taken, _ = in_turns({"slow": takes("slow", 2 * SLOW), "fast": takes("fast", SECONDS / 2)}, CPU)
    assert list(taken) == ["slow", "fast"]
    assert taken["slow"] == [2 * SLOW]
    taken, _ = in_turns({"slow": takes("slow", 2 * SLOW)}, CPU)
    assert taken == {"slow": [2 * SLOW]}


def test_a_prompt_has_its_turn_alone_or_with_all():
    class Guide:
        n_items = 9

        def paths(self, prompts):
            return prompts.number

    prompts = some_prompts(5, 9)
    assert [one_by_one(Guide(), prompts)(turn).tolist() for turn in (0, 3)] == [[0], [3]]
    assert together(Guide(), prompts)(3).tolist() == [0, 1, 2, 3, 4]


def test_costs_in_a_batch_are_a_prompts_and_stand_beside_the_policys():
    costs = {
        "policy": Cost(Load(512, 512), [0.01, 0.02, 0.09], [1.024], 3 * 2**20, 2**20),
        "search": Cost(Load(4, 2), [0.05], [0.4, 0.2], 2**20, 2**21),
    }
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table(1_000, costs)]
    assert cells == [
        ["1,000", "policy", "20.0 ms", "", "2.0 ms", "", "512", "3 MiB", "1 MiB", "3, 1"],
        ["1,000", "search", "50.0 ms", "2.5", "75.0 ms", "37.5", "4", "1 MiB", "2 MiB", "1, 2"],
    ]
