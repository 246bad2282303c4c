"""What fitted guides share beside walks: features that are standardised, a guide by scores of candidates,
networks, prompts to learn from, and what is kept of a fit.

Shape key: `b` prompts, `r` paths under way, `t` path position, `c` candidates, `f` features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from prorl.errors import DataError
from prorl.guide import GuideContext
from prorl.guides.stepping import write_paths
from prorl.guides.walks import Candidates, Walk, World
from prorl.prompts import Prompts, random_prompts
from prorl.runtime import derived_seed

FILE = "fitted.safetensors"
SCALING_PROMPTS = 256  # whose paths features are standardised on


@dataclass(frozen=True)
class CandidateGuide:
    """Shows the candidate with the best score, by `scores`, from the walk and its candidates, [r, c]."""

    world: World
    scores: Callable[[Candidates], torch.Tensor]

    @property
    def n_items(self) -> int:
        """See `Guide.n_items`."""
        return self.world.simulator.n_items

    @torch.no_grad()
    def paths(self, prompts: Prompts) -> torch.Tensor:
        """See `Guide.paths`."""
        return write_paths(self.world, prompts, self.step)

    def step(self, walk: Walk) -> Walk:
        """The walk with the best candidates shown."""
        candidates = walk.candidates
        return walk.after(candidates.at(candidates.best(self.scores(candidates))))

    def states(self, prompts: Prompts, paths: torch.Tensor) -> torch.Tensor:
        """See `CostedGuide.states`: one for each item of history and path."""
        return prompts.history.shape[1] + (paths != 0).sum(1)


@dataclass(frozen=True)
class Standard:
    """Mean and deviation of features, each [f], that are to have mean 0 and deviation 1."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Features [.., f] less the mean, by the deviation, none beyond 10 deviations."""
        return ((features - self.mean) / self.scale).clamp(-10, 10)

    @classmethod
    def of(cls, features: torch.Tensor) -> Self:
        """That of `features` [r, f]; what never varies is left as it is, less its mean."""
        scale = features.std(0, correction=0)
        return cls(features.mean(0), torch.where(scale > 1e-6, scale, 1.0))

    @classmethod
    def of_candidates(cls, world: World, context: GuideContext) -> Self:
        """That of the candidates of paths drawn uniformly from them, for prompts of training users."""
        prompts = training_prompts(context, world.simulator.n_items, SCALING_PROMPTS, "scaling")
        seed = derived_seed(context.seed, context.key, "walks")
        generator, found = torch.Generator().manual_seed(seed), []

        def step(walk: Walk) -> Walk:
            candidates = walk.candidates
            found.append(candidates.features[candidates.allowed])
            return walk.after(candidates.at(drawn(candidates.allowed.float(), generator)))

        write_paths(world, prompts, step)
        return cls.of(torch.cat(found))


def drawn(shares: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A place [r] of each row, drawn in proportion to `shares` [r, c]; the generator is one of the CPU."""
    return torch.multinomial(shares.cpu(), 1, generator=generator)[:, 0].to(shares.device)


def standardised(scores: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Scores [r, c] with mean 0 and deviation 1 over those `allowed` [r, c] of each row."""
    n = allowed.sum(1, keepdim=True)
    centred = scores - (scores * allowed).sum(1, keepdim=True) / n
    deviation = ((centred.square() * allowed).sum(1, keepdim=True) / n).sqrt()
    return centred / deviation.clamp(min=1e-6)


def training_prompts(context: GuideContext, n_items: int, n_prompts: int, purpose: str) -> Prompts:
    """Prompts of training users with random targets, for one `purpose`."""
    data, seed = context.data, derived_seed(context.seed, context.key, purpose)
    return random_prompts(data.train, data.sequences, n_items, n_prompts, seed).to(context.device)


def new_network(
    n_in: int, hidden_size: int, n_out: int, context: GuideContext, purpose: str
) -> nn.Sequential:
    """A network with one hidden layer, whose answers start at 0; its weights are drawn for `purpose`, and
    other random numbers stay as they are.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(context.seed, context.key, purpose))
        last = nn.Linear(hidden_size, n_out)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(nn.Linear(n_in, hidden_size), nn.ReLU(), last).to(context.device)


def save_fitted(context: GuideContext, tensors: dict[str, torch.Tensor]) -> None:
    """Keep `tensors` in the folder of the guide."""
    save_file(
        {name: part.detach().contiguous().cpu() for name, part in tensors.items()}, context.folder / FILE
    )


def load_fitted(context: GuideContext) -> dict[str, torch.Tensor]:
    """What `save_fitted` kept. Raises `DataError` where there is nothing."""
    path = context.folder / FILE
    if not path.exists():
        raise DataError(f"{path}: no such file; the guide stage writes it")
    return load_file(path, device=str(context.device))


def part_of(tensors: dict[str, torch.Tensor], name: str, mark: str = "/") -> dict[str, torch.Tensor]:
    """The tensors named `name` and what follows `mark`, by that."""
    start = f"{name}{mark}"
    return {key.removeprefix(start): part for key, part in tensors.items() if key.startswith(start)}
