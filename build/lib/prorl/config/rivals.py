"""Settings of the guides that are fitted to a simulator: bandits, and reinforcement learning as in
production.
"""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from prorl.config.pretrain import SearchWeights
from prorl.config.section import Refused, Settings


class StepWeights(Settings):
    """What counts in an item's reward beside its gain in interest, which weighs 1."""

    ctr: float = Field(ge=0, description="Weight of an item's acceptance")
    coherence: float = Field(
        ge=0, description="What an item gains that shares an attribute with the one before"
    )


class CandidateSettings(Settings):
    """A guide that chooses among candidates that a simulator names at each step."""

    simulator: str = Field(description="The simulator that it learns on, and that names the candidates")
    n_candidates: int = Field(ge=1, description="Items that are weighed at each step")


class LinUCBSettings(CandidateSettings):
    """A linear bandit over features that all items share."""

    weights: SearchWeights = Field(
        description="What counts beside an item's gain in interest, which weighs 1"
    )
    alpha: float = Field(ge=0, description="How many deviations of its estimate an item's score is raised by")
    ridge: float = Field(gt=0, description="What the matrix of features starts with on its diagonal")
    interactions: int = Field(ge=1, description="Items that are shown in training")
    batch_size: int = Field(
        ge=1, description="Prompts that are shown items at once, before any is learnt from"
    )


class NetworkSettings(CandidateSettings):
    """A guide with a network that is trained by gradient steps."""

    hidden_size: int = Field(ge=1, description="Width of the network's one hidden layer")
    steps: int = Field(ge=1, description="Steps of training")
    batch_size: int = Field(ge=1, description="Paths of a step")
    learning_rate: float = Field(gt=0, description="Learning rate of AdamW")


class OffPolicySettings(NetworkSettings):
    """REINFORCE on logged paths."""

    weights: StepWeights = Field(description="What counts beside an item's gain in interest, which weighs 1")
    paths: int = Field(ge=1, description="Paths that are logged")
    temperature: float = Field(gt=0, description="Of the softmax over candidates that the log is drawn from")
    propensities: Literal["exact", "learned", "none"] = Field(
        description="What importance weights divide by: the log's own propensities, a model of them that is "
        "learnt from the log, or nothing; without weights the policy learns what was logged often"
    )
    cap: float = Field(gt=0, description="The largest importance weight")
    slate: int = Field(
        ge=1, description="Items shown at once, which the top-K correction is for; 1 is a path"
    )
    gamma: float = Field(ge=0, le=1, description="Discount of later rewards")


class DQNSettings(NetworkSettings):
    """Q-learning in sessions that the user may leave."""

    weights: StepWeights = Field(description="What counts beside an item's gain in interest, which weighs 1")
    gamma: float = Field(ge=0, le=1, description="Discount of later rewards")
    polyak: float = Field(
        gt=0, le=1, description="Share of the way that the target network goes at each update"
    )
    replay: int = Field(ge=1, description="The last so many shown items are learnt from")
    update_size: int = Field(
        ge=1, description="Shown items of an update; there is one for each item of a path"
    )
    epsilon: float = Field(
        ge=0, le=1, description="Share of items explored with at the end; at the start all are"
    )
    top: int = Field(ge=1, description="Best items that exploration draws from")
    temperature: float = Field(gt=0, description="Of the softmax over them")
    leaves_after: int | None = Field(
        ge=1,
        description="Refused items from which on each refusal may end the session, as likely as the item was "
        "to be refused; null: nobody leaves",
    )


class CriticWeights(Settings):
    """What the actor makes of the two critics."""

    immediate: float = Field(ge=0, description="Weight of the acceptance to come")
    delayed: float = Field(ge=0, description="Weight of the interest gained by the end of the path")


class TwoCriticsSettings(NetworkSettings):
    """An actor that weighs three predictions, and two critics."""

    weights: CriticWeights = Field(description="What counts for the actor")
    gamma: float = Field(
        ge=0, le=1, description="Discount of acceptance to come; the delayed critic has none"
    )
    polyak: float = Field(
        gt=0, le=1, description="Share of the way that the target networks go at each update"
    )
    replay: int = Field(ge=1, description="The last so many shown items are learnt from")
    update_size: int = Field(
        ge=1, description="Shown items of an update; there is one for each item of a path"
    )
    noise: float = Field(ge=0, description="Deviation of what is added to the weights to explore")
    largest: float = Field(gt=0, description="The largest weight of a prediction")


class UtilityTuningSettings(NetworkSettings):
    """A policy that chooses the weights of a utility for each prompt."""

    weights: StepWeights = Field(
        description="What counts in a path's reward beside IoI, which weighs 1: its CTR, its coherence"
    )
    levels: list[float] = Field(
        min_length=2,
        description="What each of the three weights of the utility may be; all combinations are tried",
    )
    logged: int = Field(
        ge=2, description="Prompts that are logged with weights drawn uniformly; a fifth is held out"
    )
    swept: int = Field(ge=1, description="Prompts that each combination is judged on, as the baseline")
    normalise: Literal["standard", "minmax"] = Field(
        description="Of rewards: by mean and deviation of the log, cut at 3; or by the least and the "
        "most of a batch"
    )

    @model_validator(mode="after")
    def _levels_differ(self) -> Self:
        if len(set(self.levels)) < len(self.levels) or min(self.levels) < 0:
            raise Refused("levels", self.levels, "different numbers of at least 0")
        return self


class ImpatientSettings(Settings):
    """A choice between guides for each target, from partly finished paths."""

    simulator: str = Field(description="The simulator of the users that try the guides")
    guides: dict[str, dict[str, Any]] = Field(
        min_length=2, description="The guides to choose from: settings of each, as in `guide`"
    )
    ctr: float = Field(ge=0, description="Weight of a path's CTR in its outcome, beside IoI, which weighs 1")
    past_targets: int = Field(ge=2, description="Targets that the prior is estimated from")
    past_users: int = Field(ge=2, description="Paths towards each of them by each guide")
    new_targets: int | None = Field(
        ge=1, description="Other targets, new to the guides, that are tried day by day; null: all"
    )
    users_per_day: int = Field(ge=1, description="Users who start a path towards each new target every day")
    days: int = Field(ge=1, description="Days of trying; a path shows an item a day")
