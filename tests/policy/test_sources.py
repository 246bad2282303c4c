"""Where demonstrations come from: pools, fresh ones, and their mixture in batches."""

from dataclasses import replace

import pytest
import torch

from prorl.policy import sources
from prorl.policy.sources import (
    BATCHES_AT_ONCE,
    Fresh,
    Mixture,
    Pool,
    kept_batches,
    mixture,
)
from prorl.prompts import Demonstrations, mined, random_prompts
from prorl.runtime import derived_seed
from tests.tiny_models import PRETRAIN, random_catalogue, random_instances

N_ITEMS = 30
TRAIN, SEQUENCES = random_instances(12, N_ITEMS)
VALIDATION, _ = random_instances(5, N_ITEMS, seed=1)


class Search:
    """Gives every prompt the path of its target alone, and remembers what it was asked."""

    def __init__(self):
        self.asked, self.told = [], []

    def __call__(self, prompts, acceptance, followed):
        self.asked.append(prompts)
        self.told.append(acceptance)
        if followed is not None:
            return Demonstrations.certain(prompts, followed)
        path = torch.zeros(len(prompts), 4, dtype=torch.int64)
        path[:, 0] = prompts.target
        return Demonstrations.certain(prompts, path)


def settings(**changes):
    return PRETRAIN.replace(search=PRETRAIN.search.replace(**changes))


def never(step):
    """No acceptance is told."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def equal(one, other):
    return all(torch.equal(value, getattr(other, name)) for name, value in vars(one).items())


def test_a_pool_is_drawn_from_again_and_again():
    demonstrations = mined(TRAIN, 4)
    pool = Pool(demonstrations)
    many = pool.batch(1, 200, generator())
    assert len(many) == 200
    assert set(many.number.tolist()) == set(range(len(TRAIN)))
    assert equal(pool.batch(7, 200, generator()), many)
    assert not equal(pool.batch(1, 200, generator(1)), many)


def test_fresh_demonstrations_are_seen_once_and_searched_for_together():
    search = Search()
    fresh = Fresh(TRAIN, SEQUENCES, N_ITEMS, 7, search, never)
    batches = [fresh.batch(step, 3, generator()) for step in range(1, 2 * BATCHES_AT_ONCE + 1)]
    assert [len(prompts) for prompts in search.asked] == [3 * BATCHES_AT_ONCE] * 2
    for block, prompts in enumerate(search.asked):
        expected = random_prompts(
            TRAIN, SEQUENCES, N_ITEMS, 3 * BATCHES_AT_ONCE, derived_seed(7, "fresh", block)
        )
        assert equal(prompts, expected)
        own = batches[block * BATCHES_AT_ONCE : (block + 1) * BATCHES_AT_ONCE]
        assert torch.equal(torch.cat([batch.target for batch in own]), expected.target)
        assert torch.equal(torch.cat([batch.path[:, 0] for batch in own]), expected.target)


def test_what_is_told_at_a_step_is_searched_for_at_that_acceptance():
    catalogue = replace(random_catalogue(N_ITEMS), acceptances=(0.0, 0.5, 1.0), acceptance=0.5)
    search = Search()
    fresh = Fresh(TRAIN, SEQUENCES, N_ITEMS, 7, search, catalogue.acceptance_at)
    batches = [fresh.batch(step, 3, generator()) for step in range(1, BATCHES_AT_ONCE + 1)]
    assert search.told == [0.5, 0.0, 1.0]
    assert [len(prompts) for prompts in search.asked] == [24, 12, 12]
    untold = Fresh(TRAIN, SEQUENCES, N_ITEMS, 7, Search(), never)
    for step, batch in enumerate(batches, start=1):
        assert equal(batch, untold.batch(step, 3, generator()))
        asked = search.asked[search.told.index(catalogue.acceptance_at(step))]
        assert set(batch.number.tolist()) <= set(asked.number.tolist())


@pytest.mark.parametrize("step", [1, 5, 16, 17, 40])
def test_a_run_that_goes_on_sees_the_same_fresh_demonstrations(step):
    from_start = Fresh(TRAIN, SEQUENCES, N_ITEMS, 7, Search(), never)
    for earlier in range(1, step):
        from_start.batch(earlier, 3, generator())
    anew = Fresh(TRAIN, SEQUENCES, N_ITEMS, 7, Search(), never)
    assert equal(anew.batch(step, 3, generator()), from_start.batch(step, 3, generator()))


class Writer:
    """A policy that learns: each call writes other paths."""

    def __init__(self):
        self.calls = []

    def __call__(self, prompts, acceptance):
        self.calls.append((len(prompts), acceptance))
        path = torch.full((len(prompts), 4), len(self.calls))
        return torch.cat([path[:, :2], prompts.target[:, None], path[:, :1]], dim=1)


def writing_from(number, writer):
    catalogue = replace(random_catalogue(N_ITEMS), acceptances=(0.0, 0.5), acceptance=0.5)
    told = catalogue.acceptance_at
    return Fresh(TRAIN, SEQUENCES, N_ITEMS, 7, Search(), told, writer=writer, written_from=number)


def test_the_policy_writes_the_paths_from_a_batch_on():
    writer, block = Writer(), BATCHES_AT_ONCE
    found = writing_from(block + 1, writer)
    plain = writing_from(block + 1, None)
    for number in (1, block):
        assert equal(found.batch(number, 3, generator()), plain.batch(number, 3, generator()))
    assert not writer.calls
    later = [found.batch(number, 3, generator()) for number in range(block + 1, 2 * block + 1)]
    assert writer.calls == [(24, 0.5), (24, 0.0)], "as told at its batches"
    for place, batch in enumerate(later):
        other = plain.batch(block + 1 + place, 3, generator())
        assert equal(batch[:], replace(other, path=batch.path)), "the prompts stay"
        assert torch.equal(batch.path[:, 2], other.target)
        assert (batch.path[:, 0] == 1 + place % 2).all()
    assert list(found.written) == [1]


def test_a_run_that_goes_on_takes_what_the_policy_wrote_before():
    from_start = writing_from(1, Writer())
    batch = from_start.batch(3, 3, generator())
    writer = Writer()
    anew = writing_from(1, writer)
    anew.written.update(from_start.written)
    assert equal(anew.batch(3, 3, generator()), batch)
    assert not writer.calls
    anew.batch(BATCHES_AT_ONCE + 1, 3, generator())
    assert writer.calls
    assert list(anew.written) == [1], "of one block kept, one block's paths are"
    assert anew.to(torch.device("cpu")).written is anew.written


@pytest.mark.parametrize(("seen", "n_steps", "begins"), [(1, 64, 33), (3, 600, 305), (3, 3500, 1761)])
def test_the_policy_writes_what_is_made_after_its_share_of_the_steps(seen, n_steps, begins):
    """From the next search after half of the steps on; what was made before is seen as often as the rest."""
    writer = Writer()
    asked = settings(fresh=True, seen=seen, share=1.0, validation_paths=3, own_paths_after=0.5)
    asked = asked.replace(max_steps=n_steps)
    parts = TRAIN, VALIDATION, SEQUENCES, N_ITEMS, 4, asked, 7, Search(), never, 60
    found = mixture(*parts, writer=writer)
    first = next(step for step in range(1, n_steps + 1) if found.drawn(step, 2, step) and writer.calls)
    assert first == begins
    never_own = asked.replace(search=asked.search.replace(own_paths_after=None))
    without = mixture(*parts[:5], never_own, *parts[6:], writer=writer)
    assert without.train["search"].writer is None


def test_a_run_that_goes_on_among_batches_seen_before_sees_the_same():
    """In the second round through the kept batches, all of which the policy has written in the first."""

    def started(writer):
        asked = settings(fresh=True, seen=3, share=1.0, validation_paths=3, own_paths_after=0.0)
        parts = TRAIN, VALIDATION, SEQUENCES, N_ITEMS, 4, asked.replace(max_steps=600), 7, Search(), never
        return mixture(*parts, 60, writer=writer)

    from_start = started(Writer())
    drawn = {step: from_start.drawn(step, 2, step) for step in range(1, 48 + 12)}
    assert list(from_start.written) == [0, 1, 2]
    writer = Writer()
    anew = started(writer)
    anew.written.update(from_start.written)
    assert all(equal(anew.drawn(step, 2, step), drawn[step]) for step in range(48 + 1, 48 + 12))
    assert not writer.calls
    for step in range(3 * 48 + 1, 6 * 48 + 1):
        anew.drawn(step, 2, step)
    assert list(anew.written) == [3, 4, 5], "paths that no batch needs any more are forgotten"


def test_batches_are_mixed_in_their_shares():
    drawn = Mixture(
        {"mined": Pool(mined(TRAIN, 4)), "search": Fresh(TRAIN, SEQUENCES, N_ITEMS, 7, Search(), never)},
        {},
        {"mined": 0.25, "search": 0.75},
    )
    batch = drawn.drawn(1, 8, 3)
    assert len(batch) == 8
    assert batch.path[2:, 1].eq(0).all()
    assert torch.equal(batch.path[2:, 0], batch.target[2:])
    assert equal(drawn.drawn(1, 8, 3), batch)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.75, 1.0])
def test_shares_that_are_rounded_make_a_whole_batch(batch_size, share):
    drawn = Mixture(
        {"mined": Pool(mined(TRAIN, 4)), "search": Pool(mined(TRAIN, 4))},
        {},
        {"mined": 1 - share, "search": share},
    )
    counts = drawn.counts(batch_size)
    assert sum(counts.values()) == len(drawn.drawn(1, batch_size, 3)) == batch_size
    assert abs(counts["search"] - batch_size * share) <= 0.5


@pytest.mark.parametrize(("seen", "kept"), [(1, 16), (3, 48)])
def test_batches_are_seen_as_often_as_asked_each_searched_for_once(seen, kept):
    search = Search()
    asked = settings(fresh=True, seen=seen, share=1.0, validation_paths=3, own_paths_after=None)
    asked = asked.replace(max_steps=600)
    found = mixture(TRAIN, VALIDATION, SEQUENCES, N_ITEMS, 4, asked, 7, search, never, 60)
    n_steps = kept * seen + BATCHES_AT_ONCE
    numbers = [found.number(step) for step in range(1, n_steps + 1)]
    first = list(range(1, kept + 1))
    assert numbers == first * seen + list(range(kept + 1, kept + BATCHES_AT_ONCE + 1))
    assert [found.n_batches(step) for step in range(1, n_steps + 1)] == [
        len(set(numbers[:step])) for step in range(1, n_steps + 1)
    ]
    batches: dict[int, Demonstrations] = {}
    for step, number in enumerate(numbers, start=1):
        drawn = found.drawn(step, 2, step)
        assert equal(drawn, batches.setdefault(number, drawn))
    searched = [len(prompts) for prompts in search.asked[1:]]  # the first were those to validate on
    assert searched == [2 * BATCHES_AT_ONCE] * (1 + kept // BATCHES_AT_ONCE)
    assert equal(found.drawn(kept * seen, 2, 0), batches[kept])


@pytest.mark.parametrize(
    ("n_steps", "seen", "kept"),
    [(20, 1, 16), (20, 3, 16), (600, 3, 48), (3500, 3, 256), (3500, 1, 16), (90_000, 2, 256)],
)
def test_a_fourth_of_the_steps_at_most_goes_through_the_same_batches(n_steps, seen, kept):
    assert kept_batches(n_steps, seen) == kept


def test_what_is_found_beforehand_is_drawn_not_gone_through():
    asked = settings(fresh=False, seen=3, paths=20, own_paths_after=None)
    found = mixture(TRAIN, VALIDATION, SEQUENCES, N_ITEMS, 4, asked, 7, Search(), never, 60)
    steps = range(1, 3000, 100)
    assert [found.number(step) for step in steps] == list(steps)


def test_without_a_search_there_are_mined_paths_alone():
    found = mixture(TRAIN, VALIDATION, SEQUENCES, N_ITEMS, 4, settings(), 7, None, never, 60)
    assert (found.shares, list(found.train)) == ({"mined": 1.0}, ["mined"])
    assert equal(found.train["mined"].demonstrations, mined(TRAIN, 4))
    assert equal(found.validation["mined"], mined(VALIDATION, 4))


@pytest.mark.parametrize("fresh", [True, False])
def test_a_search_validates_on_paths_of_its_own_and_trains_on_fresh_ones_or_a_pool(fresh, monkeypatch):
    monkeypatch.setattr(sources, "SEARCHED_AT_ONCE", 8)
    search = Search()
    asked = settings(fresh=fresh, paths=21, validation_paths=3, share=0.75, own_paths_after=None)
    found = mixture(TRAIN, VALIDATION, SEQUENCES, N_ITEMS, 4, asked, 7, search, never, 60)
    assert found.shares == {"mined": 0.25, "search": 0.75}
    sizes = [len(prompts) for prompts in search.asked]
    assert sizes == ([3] if fresh else [3, 8, 8, 5])
    expected = random_prompts(VALIDATION, SEQUENCES, N_ITEMS, 3, derived_seed(7, "search", "validation"))
    assert torch.equal(found.validation["search"].target, expected.target)
    if fresh:
        assert isinstance(found.train["search"], Fresh)
    else:
        expected = random_prompts(TRAIN, SEQUENCES, N_ITEMS, 21, derived_seed(7, "search", "train"))
        assert torch.equal(found.train["search"].demonstrations.target, expected.target)


@pytest.mark.parametrize("paths", ["searched", "writing", "written"])
def test_several_processes_share_a_search(monkeypatch, paths):
    """Each process writes and searches for its own prompts; their parts add up to what one alone finds."""

    def fresh():
        writer = None if paths == "searched" else Writer()
        source = writing_from(1, writer)
        if paths == "written":
            source.written[0] = torch.arange(3 * BATCHES_AT_ONCE)[:, None].expand(-1, 4) % N_ITEMS + 1
        return source, writer

    alone, writer = fresh()
    batch = alone.batch(1, 3, generator())
    assert not writer or len(writer.calls) == (2 if paths == "writing" else 0)
    parts = []
    state = type("State", (), {"num_processes": 2, "process_index": 0})
    monkeypatch.setattr(sources, "process", lambda: state)
    monkeypatch.setattr(sources, "reduce", lambda tensor, how: tensor)
    for index in (0, 1):
        state.process_index = index
        source, writer = fresh()
        parts.append(source.batch(1, 3, generator()))
        assert not writer or writer.calls == [(12, 0.5), (12, 0.0)][: len(writer.calls)], "half of each"
    for name in ("number", "user", "history", "target", "path"):
        assert torch.equal(sum(getattr(part, name) for part in parts), getattr(batch, name)), name


def test_replace_keeps_alternatives():
    sure = mined(TRAIN, 4)
    assert sure.shares.shape == (len(TRAIN), 4, 0)
    other = replace(
        sure, shares=torch.ones(len(TRAIN), 4, 2), alternatives=torch.ones(len(TRAIN), 4, 2).long()
    )
    assert other[torch.tensor([1, 0])].shares.shape == (2, 4, 2)


def test_slices_stand_in_for_mined_paths_in_both_splits():
    parts = {
        paths: mixture(TRAIN, TRAIN, SEQUENCES, N_ITEMS, 4, PRETRAIN.replace(paths=paths), 3, None, never, 60)
        for paths in ("mined", "slices")
    }
    mined_train, slices_train = (parts[paths].train["mined"].demonstrations for paths in parts)
    mined_validation, slices_validation = (parts[paths].validation["mined"] for paths in parts)
    for own, other in ((mined_train, slices_train), (mined_validation, slices_validation)):
        assert torch.equal(own.user, other.user)
        assert torch.equal(own.lengths, other.lengths)
        for row in range(len(other)):
            line = [*other.history[row].tolist(), *other.path[row, : other.lengths[row]].tolist()]
            line.append(other.target[row].item())
            seen = SEQUENCES.of(other.user[row].item()).tolist()
            assert any(seen[i : i + len(line)] == line for i in range(len(seen)))
    assert not torch.equal(mined_train.path, slices_train.path)
    assert not torch.equal(slices_train.path, slices_validation.path), "each split draws its own"


def test_a_search_starts_from_the_mined_histories_even_beside_slices():
    search = Search()
    asked = settings(fresh=False, paths=20, own_paths_after=None).replace(paths="slices")
    mixture(TRAIN, TRAIN, SEQUENCES, N_ITEMS, 4, asked, 7, search, never, 60)
    expected = random_prompts(TRAIN, SEQUENCES, N_ITEMS, 20, derived_seed(7, "search", "train"))
    assert torch.equal(torch.cat([prompts.history for prompts in search.asked])[-20:], expected.history)
