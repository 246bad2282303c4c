"""Where pre-training's demonstrations come from: mined paths, and paths found by a search on a simulator.

Shape key: `b` prompts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Protocol, cast

import torch
from accelerate.utils import reduce

from prorl.checkpoint import Checkpoint
from prorl.config.pretrain import Pretrain
from prorl.devices import process
from prorl.instances import Instances
from prorl.paths.sequences import Sequences
from prorl.paths.slices import random_slices
from prorl.prompts import Demonstrations, Prompts, concatenated, mined, random_prompts
from prorl.runtime import derived_seed, progress

BATCHES_AT_ONCE = 16  # that are searched for together: a search is faster on many prompts
MOST_KEPT = 256  # batches that are gone through again and again, where demonstrations are seen more than once
SEARCHED_AT_ONCE = 512  # prompts between two signs of progress
# Prompts, the acceptance, None where there is none, and paths [b, t] to follow, None for the search's own.
Search = Callable[[Prompts, float | None, torch.Tensor | None], Demonstrations]
Writer = Callable[[Prompts, float | None], torch.Tensor]  # a policy's paths [b, t] at an acceptance
ToldAt = Callable[[int], float | None]  # the acceptance that the policy is told at a batch


class Source(Protocol):
    """Demonstrations to train on."""

    def batch(self, number: int, n: int, generator: torch.Generator) -> Demonstrations:
        """`n` of them, batch `number`, from 1: the same for the same number, `n` and `generator`."""
        ...

    def to(self, device: torch.device) -> "Source":
        """The same on `device`."""
        ...


@dataclass(frozen=True)
class Pool:
    """Demonstrations that there are already, drawn again and again."""

    demonstrations: Demonstrations

    def batch(self, number: int, n: int, generator: torch.Generator) -> Demonstrations:
        """See `Source.batch`."""
        rows = torch.randint(len(self.demonstrations), (n,), generator=generator)
        return self.demonstrations[rows.to(self.demonstrations.target.device)]

    def to(self, device: torch.device) -> "Pool":
        """See `Source.to`."""
        return Pool(self.demonstrations.to(device))


@dataclass
class Fresh:
    """Demonstrations found by `search` while training: random histories of `instances` towards random
    targets.

    `BATCHES_AT_ONCE` batches are searched for together, each process taking a share of their prompts, and
    each at the acceptance that the policy is `told` at its batch. They follow from `seed` and the batch's
    number alone, so that a run that goes on finds the same ones. The last `n_kept` batches are kept.

    From batch `written_from` on, `writer` writes the paths, and the search says what it would have taken at
    each of their places. That is the policy in training, as it is by then, so a run that goes on needs the
    paths of those kept: `written`, {block: [b, t]}.
    """

    instances: Instances
    sequences: Sequences
    n_items: int
    seed: int
    search: Search
    told: ToldAt
    n_kept: int = BATCHES_AT_ONCE
    writer: Writer | None = None
    written_from: int = 1
    written: dict[int, torch.Tensor] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _made: dict[int, list[Demonstrations]] = field(default_factory=dict)  # by block, the oldest first

    def batch(self, number: int, n: int, generator: torch.Generator) -> Demonstrations:
        """See `Source.batch`; `n` is that of all batches."""
        block, place = divmod(number - 1, BATCHES_AT_ONCE)
        if block not in self._made:
            seed = derived_seed(self.seed, "fresh", block)
            prompts = random_prompts(self.instances, self.sequences, self.n_items, n * BATCHES_AT_ONCE, seed)
            self._made[block] = self._batches(block, prompts.to(self.device), n)
            if len(self._made) * BATCHES_AT_ONCE > self.n_kept:
                del self._made[next(iter(self._made))]
            for old in [old for old in self.written if old <= block - self.n_kept // BATCHES_AT_ONCE]:
                del self.written[old]
        return self._made[block][place]

    def _batches(self, block: int, prompts: Prompts, n: int) -> list[Demonstrations]:
        """`prompts` in batches of `n` with their paths, all that are told the same searched for together."""
        first = block * BATCHES_AT_ONCE + 1
        told = [self.told(first + place) for place in range(BATCHES_AT_ONCE)]
        batch = torch.arange(len(prompts), device=self.device).view(-1, n)
        writer = self.writer if first >= self.written_from else None
        found: dict[int, Demonstrations] = {}
        for acceptance in dict.fromkeys(told):
            places = [place for place, own in enumerate(told) if own == acceptance]
            find = partial(self._found, prompts, acceptance, self.written.get(block), writer)
            part = shared(find, batch[places].flatten())
            found |= {place: part[slice(i * n, (i + 1) * n)] for i, place in enumerate(places)}
        batches = [found[place] for place in range(BATCHES_AT_ONCE)]
        if writer is not None:
            self.written[block] = torch.cat([part.path for part in batches])
        return batches

    def _found(
        self,
        prompts: Prompts,
        acceptance: float | None,
        written: torch.Tensor | None,
        writer: Writer | None,
        rows: torch.Tensor,
    ) -> Demonstrations:
        """What the search finds for `rows` of `prompts`, or says of the paths `written` for all of them, or
        of those that `writer` writes now.
        """
        followed = None
        if written is not None:
            followed = written.to(self.device)[rows]
        elif writer is not None:
            followed = writer(prompts[rows], acceptance)
        return self.search(prompts[rows], acceptance, followed)

    def to(self, device: torch.device) -> "Fresh":
        """See `Source.to`."""
        return replace(self, device=device, _made={})


def shared(find: Callable[[torch.Tensor], Demonstrations], rows: torch.Tensor) -> Demonstrations:
    """What `find` gives for `rows` [b]; with several processes each finds those of a share, and all get
    all.
    """
    state = process()
    if state.num_processes == 1:
        return find(rows)
    own = torch.arange(len(rows), device=rows.device)[state.process_index :: state.num_processes]
    found = find(rows[own])

    def of_all(name: str) -> torch.Tensor:
        part = getattr(found, name)
        whole = part.new_zeros(len(rows), *part.shape[1:])
        whole[own] = part
        return cast(torch.Tensor, reduce(whole, "sum"))

    return Demonstrations(*(of_all(entry.name) for entry in fields(Demonstrations)))


def searched(
    search: Callable[[Prompts], Demonstrations],
    prompts: Prompts,
    every_seconds: float,
    checkpoint: Checkpoint | None = None,
) -> Demonstrations:
    """What `search` finds for `prompts`, `SEARCHED_AT_ONCE` at a time; what `checkpoint` holds of it is taken
    from there. It is replaced every `every_seconds`, where SIGTERM ends the process, and at the end.
    """
    stored = None if checkpoint is None else checkpoint.load()
    done = [] if stored is None else [Demonstrations(**stored[0]).to(prompts.target.device)]
    batches = [
        prompts[first : first + SEARCHED_AT_ONCE] for first in range(0, len(prompts), SEARCHED_AT_ONCE)
    ]
    n_done = 0 if stored is None else stored[1]["batches"]
    watched = progress(
        batches[n_done:],
        description="search for paths",
        unit="batch",
        every_seconds=every_seconds,
        total=len(batches),
        initial=n_done,
    )

    def save() -> None:
        if checkpoint is not None and done and process().is_main_process:
            whole = concatenated(done)
            parts = {entry.name: getattr(whole, entry.name) for entry in fields(whole)}
            checkpoint.save(parts, {"batches": n_done})

    saved = time.monotonic()
    try:
        for batch in watched:
            done.append(search(batch))
            n_done += 1
            if time.monotonic() - saved >= every_seconds or n_done == len(batches):
                save()
                saved = time.monotonic()
    except SystemExit:
        save()
        raise
    return concatenated(done)


@dataclass(frozen=True)
class Mixture:
    """Demonstrations by source, and the share of every batch that comes from each: {name: share}.

    Each batch is `seen` as often in training, `n_kept` of them one after another, then those again; a pool's
    share of it is drawn anew each time.
    """

    train: dict[str, Source]
    validation: dict[str, Demonstrations]
    shares: dict[str, float]
    seen: int = 1
    n_kept: int = BATCHES_AT_ONCE

    def to(self, device: torch.device) -> "Mixture":
        """The same on `device`."""
        train = {name: source.to(device) for name, source in self.train.items()}
        validation = {name: part.to(device) for name, part in self.validation.items()}
        return replace(self, train=train, validation=validation)

    @property
    def written(self) -> dict[int, torch.Tensor]:
        """The paths of `Fresh.written`, where they are kept; of pools none."""
        found = self.train.get("search")
        return found.written if isinstance(found, Fresh) else {}

    def number(self, step: int) -> int:
        """The number of the batch that is seen at `step`, both counted from 1."""
        block, place = divmod(step - 1, self.n_kept * self.seen)
        return block * self.n_kept + place % self.n_kept + 1

    def n_batches(self, steps: int) -> int:
        """How many batches have been seen after `steps`."""
        blocks, left = divmod(steps, self.n_kept * self.seen)
        return blocks * self.n_kept + min(left, self.n_kept)

    def drawn(self, step: int, batch_size: int, seed: int) -> Demonstrations:
        """The batch of `step`, drawn with `seed`: of each source its share."""
        generator = torch.Generator().manual_seed(seed)
        return concatenated(
            [
                self.train[name].batch(self.number(step), n, generator)
                for name, n in self.counts(batch_size).items()
                if n
            ]
        )

    def counts(self, batch_size: int) -> dict[str, int]:
        """How many of the demonstrations of a batch come from each source: its share, rounded, the last
        source having what the others leave.
        """
        *others, last = self.shares
        found = {name: round(batch_size * self.shares[name]) for name in others}
        return {**found, last: batch_size - sum(found.values())}


def mixture(
    train: Instances,
    validation: Instances,
    sequences: Sequences,
    n_items: int,
    max_length: int,
    settings: Pretrain,
    seed: int,
    search: Search | None,
    told: ToldAt,
    every_seconds: float,
    checkpoint: Checkpoint | None = None,
    writer: Writer | None = None,
) -> Mixture:
    """Mined paths, or random slices in their place; and where there is a `search`, paths that it finds
    towards random targets.

    Fresh ones are at the acceptance that the policy is `told` at their batch, others at that of batch 1.
    Paths that are searched for beforehand tell how far they are every `every_seconds`; as often they are kept
    beside `checkpoint`, where a run that was killed finds them again. The `writer` writes the paths of the
    batches that are made after `search.own_paths_after` of the steps.
    """
    logged = {"train": train, "validation": validation}
    if settings.paths == "slices":
        logged = {
            split: random_slices(part, sequences, derived_seed(seed, "slices", split))
            for split, part in logged.items()
        }
    own = {"mined": mined(logged["validation"], max_length)}
    sources: dict[str, Source] = {"mined": Pool(mined(logged["train"], max_length))}
    if search is None:
        return Mixture(sources, own, {"mined": 1.0})

    def found(instances: Instances, split: str, n_paths: int) -> Demonstrations:
        search_seed = derived_seed(seed, "search", split)
        prompts = random_prompts(instances, sequences, n_items, n_paths, search_seed)
        kept = None if checkpoint is None else checkpoint.beside(f"search-{split}")
        return searched(lambda batch: search(batch, told(1), None), prompts, every_seconds, kept)

    asked, shares = settings.search, {"mined": 1 - settings.search.share, "search": settings.search.share}
    own["search"] = found(validation, "validation", asked.validation_paths)
    if not asked.fresh:
        return Mixture(sources | {"search": Pool(found(train, "train", asked.paths))}, own, shares)
    n_kept = kept_batches(settings.max_steps, asked.seen)
    fresh = Fresh(train, sequences, n_items, seed, search, told, n_kept)
    demonstrations = Mixture(sources | {"search": fresh}, own, shares, asked.seen, n_kept)
    if asked.own_paths_after is not None:
        fresh.writer = writer
        fresh.written_from = demonstrations.n_batches(int(asked.own_paths_after * settings.max_steps)) + 1
    return demonstrations


def kept_batches(n_steps: int, seen: int) -> int:
    """How many batches are gone through `seen` times before the next ones are made: so many that it takes a
    fourth of `n_steps` at most, but no fewer than are searched for together.
    """
    if seen == 1:
        return BATCHES_AT_ONCE
    blocks = n_steps // (4 * seen * BATCHES_AT_ONCE)
    return min(MOST_KEPT, max(1, blocks) * BATCHES_AT_ONCE)
