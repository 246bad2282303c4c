"""IPG: iterative preference guidance; and ITMPRec, which adds intents.

At each step the item is shown that is worth most, of those not shown yet:

    worth(i) = p(i) g(i),  p(i) = sigmoid(s . e_i),  g(i) = cos(e_i, e_T) - cos(s, e_T)

with the simulator's state s, which takes every item as accepted. Where the target may be shown its gain is
the greatest, and the path may end at once. ITMPRec adds to p(i) the agreement of intents, lambda times
sigmoid(c_u . c_i), c_u being the centroid nearest by cosine to the state, and c_i that nearest to the item.

Sources: Bi et al., WWW 2024 companion (arXiv 2403.07571), for IPG; Lian, Song, Ge, WWW 2025, for ITMPRec.
`similarity: cosine` is what IPG's released code computes; `dot` is its paper, whose gamma is a positive
factor of every gain and changes no choice. ITMPRec's released code throws its trained centroids away, so that
sigmoid(c . c) is about .5 for all: `centroids: untrained` computes p + .5 lambda.

Departures: the encoder is one of this project's simulators. Where no item gains anything, the product would
prefer items that are *not* accepted; a loss is divided by p there instead of multiplied. ITMPRec's intents
are k-means clusters of training states after training, not found along with it by contrastive learning. Its
arousal coefficient is a positive factor per user, which changes no choice, and its pre-match chooses targets:
both are left out.

Shape key: `b` prompts, `t` path position, `n` items, `d` simulator state, `i` intents.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from prorl.config.decoding import Decoding
from prorl.config.proactive import IPGSettings
from prorl.guide import GuideContext
from prorl.guides.reading_along import ReadingGuide
from prorl.guides.writing import States, Unfinished, step_by_step
from prorl.prompts import Prompts
from prorl.simulators.protocol import BranchingSimulator, branching

INTENTS_FILE = "intents.safetensors"
UNTRAINED = 0.5  # the agreement of all intents where their centroids are next to nothing


@dataclass(frozen=True)
class IPGGuide(ReadingGuide):
    """Weighs all items by `simulator`; centroids [i, d] are those of intents, None where there are none and
    where they are `untrained`.
    """

    simulator: BranchingSimulator
    similarity: str
    intent_weight: float
    centroids: torch.Tensor | None
    untrained: bool
    decoding: Decoding

    @classmethod
    def build(cls, settings: IPGSettings, context: GuideContext) -> "IPGGuide":
        """The guide of `settings`, with the intents that were fitted. Raises `ConfigError` for a simulator
        that does not show its states.
        """
        simulator = steering(settings, context)
        centroids = None
        if has_fitted(settings):
            centroids = load_file(context.folder / INTENTS_FILE)["centroids"].to(simulator.vectors)
        untrained = settings.intents > 0 and settings.centroids == "untrained"
        return cls(
            simulator, settings.similarity, settings.intent_weight, centroids, untrained, context.decoding
        )

    def _batch(self, prompts: Prompts) -> torch.Tensor:
        states, vectors = States(self.simulator), self.simulator.vectors
        of_item = None if self.centroids is None else self.centroids[_nearest(vectors, self.centroids)]

        def worth(unfinished: Unfinished) -> torch.Tensor:
            state = states.after(unfinished)
            taken = (state @ vectors.T).sigmoid()
            if self.untrained:
                taken = taken + UNTRAINED * self.intent_weight
            elif self.centroids is not None and of_item is not None:
                of_user = self.centroids[_nearest(state, self.centroids)]
                taken = taken + self.intent_weight * (of_user @ of_item.T).sigmoid()
            gain = self._gain(state, prompts.target)
            return torch.where(gain > 0, taken * gain, gain / taken)

        return step_by_step(prompts, self.decoding, self.n_items, worth, also=["repeats"])

    def _gain(self, state: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """What the target gains [b, n+1] by each item after `state` [b, d]."""
        vectors = self.simulator.vectors
        if self.similarity == "cosine":
            state, vectors = F.normalize(state, dim=-1), F.normalize(vectors, dim=-1)
        wanted = vectors[target]
        return wanted @ vectors.T - (state * wanted).sum(-1, keepdim=True)


def _nearest(vectors: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """The number of the centroid nearest by cosine to each of `vectors` [.., d]."""
    return (F.normalize(vectors, dim=-1) @ F.normalize(centroids, dim=-1).T).argmax(-1)


def has_fitted(settings: IPGSettings) -> bool:
    """Whether there are intents to fit, which are neither none nor untrained."""
    return settings.intents > 0 and settings.centroids == "fitted"


def steering(settings: IPGSettings, context: GuideContext) -> BranchingSimulator:
    """The simulator of `settings`. Raises `ConfigError` where it does not show its states."""
    name = settings.simulator
    return branching(context.simulators[name], name, f"{context.source}: {context.key}.simulator")
