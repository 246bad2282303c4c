"""Section `pretrain`: supervised pre-training on mined paths, on a search's, and on own ones, corrected."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from prorl.config.section import Precision, Refused, Section, Settings


class SearchWeights(Settings):
    """What counts in the search beside an item's gain in interest, which weighs 1."""

    ctr: float = Field(ge=0, description="Weight of the logarithm of an item's acceptance")
    coherence: float = Field(
        ge=0, description="What an item loses that shares no attribute with the one before"
    )


class SearchedPaths(Settings):
    """Demonstrations found by search on a simulator."""

    share: float = Field(
        ge=0,
        le=1,
        description="Their share of each batch, the others being mined paths; 0 is the paper's recipe",
    )
    fresh: bool = Field(
        description="Whether they are made while training; else `paths` of them are made before, and drawn "
        "again and again"
    )
    seen: int = Field(ge=1, description="How often each fresh one is seen")
    paths: int = Field(ge=1, description="How many, where they are not fresh")
    validation_paths: int = Field(ge=1, description="How many there are to validate on")
    teacher: Literal["search", "lookahead", "beam"] = Field(
        description="What finds them: the search that takes one item after another, the same with an eye on "
        "what may follow, or a beam search"
    )
    ahead: int = Field(ge=1, description="Candidates at each step that a lookahead search looks ahead of")
    width: int = Field(ge=1, description="Paths under way for each prompt of a beam search")
    n_candidates: int = Field(ge=1, description="Items that the teacher weighs at each step")
    weights: SearchWeights = Field(
        description="What counts beside an item's gain in interest, which weighs 1"
    )
    temperature: float | None = Field(
        gt=0,
        description="What the worth of all candidates is divided by, to give the shares in which they are "
        "imitated; null: the path alone is, as it must with a beam",
    )

    own_paths_after: float | None = Field(
        ge=0,
        lt=1,
        description="The share of all steps after which the policy writes the paths of new demonstrations, "
        "and the teacher says what it would have taken at each of their places (DAgger); null: it never does",
    )

    @model_validator(mode="after")
    def _a_beam_has_no_shares(self) -> Self:
        if self.teacher == "beam" and self.temperature is not None:
            raise Refused("temperature", self.temperature, "null where the teacher is beam")
        return self

    @model_validator(mode="after")
    def _own_paths_are_judged(self) -> Self:
        if self.own_paths_after is not None and not (self.fresh and self.temperature is not None):
            raise Refused(
                "own_paths_after", self.own_paths_after, "null where fresh is false or temperature null"
            )
        return self


class Pretrain(Section):
    """Supervised pre-training on mined paths, on a search's, and on own ones as the search corrects them."""

    section: ClassVar[str] = "pretrain"

    simulator: str = Field(description="The simulator that is searched for paths; one for all data sets")
    paths: Literal["mined", "slices"] = Field(
        description="Demonstrations from the logs: mined paths, or slices of the same users and lengths"
    )
    search: SearchedPaths = Field(description="Demonstrations found by search on the simulator")
    passes: int | None = Field(
        ge=1, description="Passes over the mined paths that are made in place of max_steps; null: max_steps"
    )
    max_steps: int = Field(ge=1, description="Steps of the cosine schedule, at most as many are taken")
    evaluate_every: int = Field(ge=1, description="Steps between two validations")
    select_on: dict[str, float] | None = Field(
        description="Greedy validation metrics and their weights in the score that chooses the checkpoint; "
        "null: the lowest validation loss chooses it"
    )
    validation_prompts: int = Field(ge=1, description="Validation prompts that are judged for `select_on`")
    patience: int = Field(ge=1, description="Validations without an improvement before training stops")
    min_improvement: float = Field(
        ge=0, description="What an improvement gains at least, in validation loss or score"
    )
    batch_size: int = Field(ge=1, description="Paths a step")
    optimizer: Literal["muon", "adamw"] = Field(
        description="Of the matrices: Muon, whose steps are orthogonal, or AdamW, the paper's"
    )
    learning_rate: float = Field(gt=0, description="Learning rate of all but the token embeddings")
    embedding_learning_rate: float = Field(gt=0, description="Learning rate of the token embeddings")
    warmup_steps: int = Field(ge=0, description="Steps in which the learning rates rise")
    weight_decay: float = Field(ge=0, description="Weight decay of the matrices")
    gradient_clip: float = Field(gt=0, description="Largest norm of a gradient")
    precision: Precision = Field(description="Precision of the training")

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.passes is None and self.warmup_steps > self.max_steps:
            raise Refused("warmup_steps", self.warmup_steps, f"at most pretrain.max_steps, {self.max_steps}")
        return self

    @model_validator(mode="after")
    def _something_chooses(self) -> Self:
        if self.select_on is not None and not self.select_on:
            raise Refused("select_on", "an empty mapping", "at least one metric, or null")
        return self
