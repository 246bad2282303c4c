"""Settings of guides after published methods that lead users to a target."""

from typing import Literal, Self

from pydantic import Field, model_validator

from prorl.config.causal import CAUSAL_MODEL
from prorl.config.floors import Distance
from prorl.config.section import Refused, Settings


class NextItemSettings(Settings):
    """The likeliest next items, re-ranked by how near they are to the target (Rec2Inf)."""

    simulator: str = Field(description="The simulator whose likeliest items are taken")
    k: int | None = Field(
        ge=1, description="How many of them at each step; null: all items, so that the nearest is taken"
    )
    distance: Distance = Field(
        description="Of the simulator's item vectors, `cosine` or `l2`; `attributes`: how many two items do "
        "not share"
    )


class GraphPathSettings(Settings):
    """The cheapest way through the graph of items that follow each other (Pf2Inf)."""

    way: Literal["shortest", "tree"] = Field(
        description="The cheapest way of all, or the one within a minimum spanning tree"
    )
    power: float = Field(
        gt=0, description="Items that followed each other c times are c^-power apart; 1 is the published"
    )


class IPGSettings(Settings):
    """Acceptance times the target's gain (IPG), with a user's and an item's intents where there are any
    (ITMPRec).
    """

    simulator: str = Field(description="The simulator that tells acceptance, states and item vectors")
    similarity: Literal["cosine", "dot"] = Field(
        description="By which a gain is told: `cosine` as released, or `dot` as published"
    )
    intents: int = Field(ge=0, description="Clusters of training states; 0: none, which is IPG")
    intent_weight: float = Field(
        ge=0, description="Weight lambda of the intents' agreement beside the acceptance"
    )
    centroids: Literal["fitted", "untrained"] = Field(
        description="Whether intents are what clustering finds, as described, or not trained, as released: "
        "their agreement is then .5 for all"
    )


class IRNSettings(Settings):
    """The influential recommender network."""

    n_layers: int = Field(ge=1, description="Layers")
    n_heads: int = Field(ge=1, description="Attention heads")
    hidden_size: int = Field(ge=2, description="Width, a multiple of twice the heads")
    inner_size: int = Field(ge=1, description="Width of the feed-forward layers")
    dropout: float = Field(ge=0, lt=1, description="Dropout")
    history_weight: float = Field(description="What is added to attention to what is past, w_h")
    target_weight: float = Field(
        description="What is added to attention to the target, w_t, times how impressionable a user is"
    )
    impressionability: Literal["learnt", "history"] = Field(
        description="One number learnt for all users, or a linear function of the mean item vector read"
    )
    shortest: int = Field(ge=3, description="Items of the shortest stretch of a user's log trained on")
    epochs: int = Field(ge=1, description="The most epochs")
    patience: int = Field(ge=1, description="Epochs without improvement after which training ends")
    halve_after: int = Field(
        ge=1, description="Epochs without improvement after which the learning rate is halved"
    )
    batch_size: int = Field(ge=1, description="Stretches at once")
    learning_rate: float = Field(gt=0, description="Learning rate")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden_size % (2 * self.n_heads):
            allowed = f"a multiple of twice n_heads, {2 * self.n_heads}"
            raise Refused("hidden_size", self.hidden_size, allowed)
        return self


class LLMSettings(Settings):
    """A language model that is asked for a path (LLM-IPP)."""

    model: str = Field(description=CAUSAL_MODEL)
    style: Literal["plain", "chain_of_thought", "tree_of_thought"] = Field(
        description="How the model is told to think"
    )
    asked_for: int = Field(ge=1, description="Items that it is asked for, at least")
    answers: int = Field(
        ge=1, description="Answers to each prompt, of which the best is taken; 2 as published, 1 is greedy"
    )
    picked_by: str | None = Field(
        description="The simulator that tells the best of several answers; null with one answer"
    )
    max_tokens: int = Field(ge=1, description="Tokens of the longest answer to each of the two questions")

    @model_validator(mode="after")
    def _best_of_several(self) -> Self:
        if (self.answers > 1) != (self.picked_by is not None):
            allowed = "null" if self.answers == 1 else "the name of a simulator"
            raise Refused("picked_by", repr(self.picked_by), allowed, where=f"with `answers: {self.answers}`")
        return self
