"""A search for demonstrations that is ended goes on from the batch that it was at."""

import pytest
import torch

from prorl.checkpoint import Checkpoint
from prorl.policy import sources
from prorl.policy.sources import searched
from prorl.prompts import Demonstrations
from tests.tiny_models import prompts_of, random_paths, random_prompts

N_ITEMS = 12


def found(prompts):
    """Demonstrations of as many alternatives as the first history begins with, up to 3."""
    n = int(prompts.history[0, 0]) % 3 + 1
    path = random_paths(len(prompts), 1, 4, N_ITEMS, seed=int(prompts.number[0]))[:, 0]
    plain = Demonstrations.certain(prompts, path)
    parts = [getattr(plain, name) for name in ("number", "user", "history", "target", "path")]
    return Demonstrations(*parts, path[..., None].repeat(1, 1, n), torch.full((*path.shape, n), 1 / (n + 1)))


@pytest.mark.parametrize("error", [SystemExit, KeyError])
def test_a_search_that_was_ended_goes_on_and_finds_the_same(tmp_path, monkeypatch, error):
    """A process that is killed leaves what was kept last: with no seconds between, after every batch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "SEARCHED_AT_ONCE", 4)
    prompts = prompts_of(*random_prompts(18, N_ITEMS))
    whole, asked = searched(found, prompts, 60), []

    def ending(batch):
        asked.append(int(batch.number[0]))
        if len(asked) == 4:
            raise error
        return found(batch)

    run = Checkpoint("run", [], script=__file__)
    seconds = 60 if error is SystemExit else 0
    with pytest.raises(error):
        searched(ending, prompts, seconds, run.beside("search-train"))
    again = searched(ending, prompts, seconds, run.beside("search-train"))
    assert asked == [0, 4, 8, 12, 12, 16]
    for name, part in vars(whole).items():
        assert torch.equal(part, getattr(again, name)), name
    assert len(asked) == 6
    searched(ending, prompts, seconds, run.beside("search-train"))
    assert len(asked) == 6, "what is found stays until the run is over"
    assert run.load() is None
    run.remove()
    assert not list((tmp_path / ".checkpoints").iterdir())


def test_parts_of_a_run_have_checkpoints_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, other = (Checkpoint(name, [], script=__file__) for name in ("run", "run-search"))
    run.beside("search-train").save({"x": torch.ones(1)}, {})
    run.beside("search-validation").save({"x": torch.zeros(1)}, {})
    other.save({"x": torch.full((1,), 2.0)}, {})
    assert run.beside("search-train").load()[0]["x"].item() == 1
    run.remove()
    assert run.beside("search-train").load() is None
    assert other.load()[0]["x"].item() == 2
