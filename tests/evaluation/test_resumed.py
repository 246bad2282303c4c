"""An evaluation that is ended at any batch goes on from there, and finds the same."""

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from prorl.evaluation import precision
from prorl.evaluation.evaluate import evaluate
from prorl.evaluation.kept import Parts, Store
from prorl.evaluation.precision import chosen
from tests.evaluation.test_evaluate import SETTINGS
from tests.evaluation.test_kept import as_text, guides, judge, kept_in  # noqa: F401

ENDED = SystemExit(128 + signal.SIGTERM)


class Ending:
    """A guide that ends the process when it is asked for paths for the n-th time; then it goes on."""

    def __init__(self, guide, n):
        self.guide, self.n_items, self.n, self.asked = guide, guide.n_items, n, 0

    def paths(self, prompts):
        self.asked += 1
        if self.asked == self.n:
            raise ENDED
        return self.guide.paths(prompts)

    def states(self, prompts, paths):
        return self.guide.states(prompts, paths)


def test_an_evaluation_that_was_ended_asks_for_no_batch_twice(tmp_path, judge, guides):  # noqa: F811
    small = replace(judge, batch_size=2)
    settings = SETTINGS.replace(batch_size=2)
    guides = {"policy": guides["policy"], "greedy": guides["greedy"].guide}
    whole = evaluate(guides, small, {}, settings, 60)
    n_batches = -(-len(judge.prompts) // 2)
    for n in (1, 3, n_batches):
        folder = tmp_path / str(n)
        ending = Ending(guides["greedy"], n)
        with pytest.raises(SystemExit):
            evaluate(guides | {"greedy": ending}, small, {}, settings, 60, kept_in(folder))
        assert len(list(folder.glob("greedy-paths-*.parts.npz"))) == (n > 1)
        again = evaluate(guides | {"greedy": ending}, small, {}, settings, 60, kept_in(folder))
        assert ending.asked == n_batches + 1, "all, and the one that it was ended at once more"
        assert as_text(again) == as_text(whole)
        assert not list(folder.glob("*.parts.npz"))


def test_parts_are_kept_every_so_often_and_at_the_end_of_the_process(tmp_path):
    store, asked = Store(tmp_path), []

    def compute(parts, stop=None):
        for i in range(4):
            if i == stop:
                raise ENDED
            parts.arrays(f"a/{i}", lambda i=i: asked.append(i) or {"x": np.full(2, i), "y": np.zeros(1)})
        return {"sum": np.array([sum(int(parts.arrays(f"a/{i}", dict)["x"][0]) for i in range(4))])}

    with pytest.raises(SystemExit):
        store.resumed("label", "key", lambda parts: compute(parts, stop=3))
    assert store.resumed("label", "key", compute)["sum"].tolist() == [6]
    assert asked == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["label-key.npz"]
    always = Parts(tmp_path / "p.npz", every_seconds=0)
    always.arrays("a", lambda: {"x": np.ones(1)})
    assert Parts(tmp_path / "p.npz").arrays("a", dict)["x"].tolist() == [1], "also where it was killed"
    assert Parts().arrays("a", lambda: {"x": np.ones(1)})["x"].tolist() == [1]
    Parts().save()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512_bf16", "float32"), ("fpu amx_bf16 x", "bf16"), ("fpu amx_bf16x", "float32")],
)
def test_auto_takes_what_the_processor_is_fast_at_and_says_so(flags, expected, tmp_path, monkeypatch, capsys):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(precision, "CPU_FLAGS", tmp_path / "cpuinfo")
    cpu = torch.device("cpu")
    assert chosen("auto", cpu) == expected
    assert capsys.readouterr().err.startswith(f"evaluate.precision: auto is {expected}: the processor has ")
    monkeypatch.setattr(precision, "CPU_FLAGS", tmp_path / "missing")
    assert chosen("auto", cpu) == chosen("auto", torch.device("mps")) == "float32"
    capsys.readouterr()
    assert (chosen("float32", cpu), chosen("bf16", cpu)) == ("float32", "bf16")
    assert capsys.readouterr().err == ""
