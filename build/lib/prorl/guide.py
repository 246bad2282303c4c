"""What every method under comparison is: something that writes a path from a history towards a target.

A guide has `n_items` and `paths`. What else it can do is seen from the methods it has: `samples`, `beams`,
`states`. Nothing heavy is imported at run time, so that settings of guides are checked at once.

Shape key: `b` prompts, `m` samples per prompt, `k` beams per prompt, `t` path position, `n` items, `w` words
of attribute bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from prorl.config.section import Settings

if TYPE_CHECKING:
    import numpy as np
    import torch

    from prorl.config.decoding import Decoding
    from prorl.config.section import Precision
    from prorl.instances import Instances
    from prorl.paths.sequences import Sequences
    from prorl.prompts import Prompts
    from prorl.simulators.protocol import Simulator
    from prorl.training import Session


@runtime_checkable
class Guide(Protocol):
    """Writes guidance paths over the items 1 to `n_items`."""

    @property
    def n_items(self) -> int:
        """The number of items there are."""
        ...

    def paths(self, prompts: Prompts) -> torch.Tensor:
        """One path [b, t] for each prompt: items, -1 for tokens that are no item, 0 behind its end."""
        ...


@runtime_checkable
class SamplingGuide(Guide, Protocol):
    """A guide that can also write several different paths."""

    def samples(self, prompts: Prompts, n_samples: int, seed: int) -> torch.Tensor:
        """Paths [b, m, t] drawn independently, m = `n_samples`; those of a prompt depend on its number and
        `seed` alone.
        """
        ...


@runtime_checkable
class BeamGuide(Guide, Protocol):
    """A guide that can also name its likeliest paths."""

    def beams(self, prompts: Prompts, n_beams: int) -> torch.Tensor:
        """Paths [b, k, t] of a beam search with k = `n_beams` beams, the likeliest first."""
        ...


@runtime_checkable
class LiveBeamGuide(Guide, Protocol):
    """A guide that also has the beam search of the released code, in which no finished path keeps a beam."""

    def live_beams(self, prompts: Prompts, n_beams: int) -> torch.Tensor:
        """Paths [b, k, t] of a beam search that keeps k = `n_beams` paths under way, the best first."""
        ...


@runtime_checkable
class CostedGuide(Guide, Protocol):
    """A guide that can also say what its paths cost."""

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """How many states [b] of a history and one item after it a simulator computed for each of `paths`
        [b, t].
        """
        ...


@dataclass(frozen=True)
class GuideData:
    """What guides may learn from: nothing in it is of a test user.

    `train` and `validation` are instances of these users; `sequences`: all their interactions, by the numbers
    users have everywhere, those of test users being empty; `train_users` [u]: who the training users are;
    `titles` [n]: of the items 1 to n.
    """

    train: Instances
    validation: Instances
    sequences: Sequences
    train_users: np.ndarray
    titles: Sequence[str]


@dataclass(frozen=True)
class GuideContext:
    """What guides are built from beside their settings.

    `simulators` lie on `device`; a guide of the library has those alone that its settings name; `decoding`:
    the rules of paths, the items that the guardrails block (`Decoding.blocked`) among them; attribute_words
    [n+1, w]: each item's attributes as bits; `precision`: in which policies write; `seed`: of whatever is
    drawn; `source`: the file of the settings, and `key`: that of the guide's own, for errors; `folder`: of
    all guides, and in the context of one guide its own, which holds what it was fitted to.
    """

    simulators: Mapping[str, Simulator]
    decoding: Decoding
    attribute_words: np.ndarray
    data: GuideData
    device: torch.device
    precision: Precision
    seed: int
    source: str
    folder: Path
    key: str = "guide"


Fit = Callable[[Any, GuideContext, "Session"], dict[str, Any]]


@dataclass(frozen=True)
class GuideEntry:
    """A kind of guide: the model of its settings, what builds it from them, and what fits it before.

    A setting called `simulator` or `picked_by` must name one of `simulators`, or be null where it may; it is
    checked before anything is built. `fit` trains on `GuideContext.data` within a session, writes what
    `build` needs into the empty folder of the context, and gives figures of the training, {name: value}; None
    where there is nothing to train.
    """

    settings: type[Settings]
    build: Callable[[Any, GuideContext], Guide]
    fit: Fit | None = None
