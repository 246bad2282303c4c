"""Section `finetune`: the rectified policy gradient, and what it is compared with."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from prorl.config.section import Precision, Refused, Section, Settings


class KL(Settings):
    """How strongly, and by which estimator, the policy is held to its reference."""

    estimator: Literal["exact", "k1", "k2", "k3"] = Field(
        description="Exact over all choices, or estimated on the sampled actions"
    )
    coefficient: float = Field(ge=0, description="Weight of the KL divergence in the loss")
    target: float | None = Field(
        gt=0, description="Nats per path that the coefficient follows; null: it is fixed"
    )

    @model_validator(mode="after")
    def _target_has_a_coefficient(self) -> Self:
        if self.target is not None and self.coefficient == 0:
            raise Refused(
                "coefficient", self.coefficient, "a number above 0 where finetune.kl.target is given"
            )
        return self


class A2C(Settings):
    """The critic of estimator `a2c`."""

    hidden_size: int = Field(ge=1, description="Width of its hidden layer")
    warmup_steps: int = Field(ge=0, description="Steps in which it learns alone")
    coefficient: float = Field(gt=0, description="Weight of its loss beside the policy's")


class Expected(Settings):
    """The expectation of estimator `expected`."""

    items: int = Field(ge=1, description="Likeliest items at each prefix that it is taken over")


class Clip(Settings):
    """How far importance weights may leave 1 before they stop counting, downwards and upwards."""

    low: float = Field(gt=0, le=1, description="Downwards")
    high: float = Field(gt=0, description="Upwards")


class ReferenceReset(Settings):
    """When the policy is held to what it has become: after so many steps, or where validation stalls."""

    every: int | None = Field(None, ge=1, description="Steps between two resets")
    stalled: int | None = Field(
        None, ge=1, description="Validations without an improvement that a reset comes after"
    )
    optimiser: bool = Field(False, description="Whether the optimiser starts anew with the reference")

    @model_validator(mode="after")
    def _one_occasion(self) -> Self:
        if (self.every is None) == (self.stalled is None):
            raise Refused("every", self.every, "one of `every` and `stalled`, and not both")
        return self


class StopOnErrors(Settings):
    """The end of a training whose rollouts are no paths."""

    min_valid_share: float = Field(gt=0, le=1, description="Share of items among token groups that is needed")
    patience: int = Field(ge=1, description="Steps on end that may miss it")


class StopOnCollapse(Settings):
    """The end of a training whose policy has come to write few paths."""

    distinct: float | None = Field(
        gt=0, le=1, description="Share of the start's distinct validation paths that is needed; null: any"
    )
    best_of: float | None = Field(
        gt=0,
        le=1,
        description="Share of the IoI of the start's best of `n_rollouts` paths that is needed; null: any",
    )
    patience: int = Field(ge=1, description="Validations on end that may miss one of them")

    @model_validator(mode="after")
    def _something_is_needed(self) -> Self:
        if self.distinct is None and self.best_of is None:
            raise Refused("distinct", "null", "a share, of `distinct` or of `best_of`")
        return self


class Finetune(Section):
    """The rectified policy gradient, and what it is compared with."""

    section: ClassVar[str] = "finetune"

    simulator: str = Field(description="The simulator that rewards; one for all data sets")
    init_from: str | None = Field(
        description="A policy folder, or a released .pth file, to start from; null is the pretrain stage's"
    )
    targets: Literal["mined", "random", "mixed"] = Field(description="Targets of the training prompts")
    select_on: dict[str, float] = Field(
        description="Greedy validation metrics and their weights in the score that chooses the checkpoint"
    )
    epochs: int | None = Field(
        ge=1, description="Passes over all training prompts; null where steps are given"
    )
    steps: int | None = Field(ge=1, description="Steps; null where epochs are given")
    centering_steps: int | None = Field(
        ge=1, description="Steps that the rewards' means are collected in; null is one pass over all prompts"
    )
    prompts_per_step: int = Field(ge=1, description="Prompts a step, over all processes")
    n_rollouts: int = Field(ge=2, description="Paths sampled for each prompt")
    temperature: float = Field(gt=0, description="Temperature of sampling")
    gamma: float = Field(gt=0, le=1, description="Discount of later step rewards")
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        description="Weight of each step reward; the paper's are 1 (Steam: ctr 0.1)"
    )
    estimator: str = Field(
        description="Estimator of advantages: reinforce, reward_to_go, grpo, a2c, position_specific, "
        "leave_one_out, prefix_specific, expected, or module:attribute"
    )
    centering: Literal["warmup", "averaged", "none", "running", "fixed_offset"] = Field(
        description="How rewards are centred, all being scaled: warmup, by their means over centering_steps "
        "(SRC); averaged, only those that a path averages, ctr and coherence; running, by their means so "
        "far; fixed_offset, by offset; none"
    )
    offset: float | None = Field(description="What is taken from every step's reward under fixed_offset")
    normalise: Literal["none", "per_reward"] = Field(
        description="per_reward: each reward's reward-to-go is divided by its deviation over the prompt's "
        "rollouts at each position (GDPO), before weights, which are then the same for all rewards"
    )
    kl: KL = Field(description="The anchor to the policy that training starts from")
    item_log_prob: Literal["sum", "mean"] = Field(
        description="Whether an item's log-probability is the sum or the mean over its tokens"
    )
    empty_paths: Literal["forbid", "act", "drop"] = Field(
        description="What becomes of empty paths; act or drop need decoding.min_length 0"
    )
    skip_alike: bool = Field(
        description="Whether prompts are left out whose rollouts all have the same return"
    )
    a2c: A2C = Field(description="The critic of estimator a2c")
    expected: Expected = Field(description="The expectation of estimator expected")
    entropy_bonus: float = Field(ge=0, description="Weight of the choices' entropy in the loss")
    updates_per_rollout: int = Field(ge=1, description="Updates on the same rollouts")
    clip: Clip = Field(description="Bounds of importance weights, from the second update on")
    reference_reset: ReferenceReset | None = Field(
        description="{every: steps} or {stalled: validations without improvement}: the KL is then to the "
        "policy of that moment; with optimiser: true the optimiser's moments start anew too"
    )
    weight_averaging: float | None = Field(
        gt=0,
        lt=1,
        description="Decay, a step, of an exponential average of the policy's weights, which is then judged "
        "and kept in their place; null: the weights themselves",
    )
    stop_on_errors: StopOnErrors | None = Field(
        description="{min_valid_share: .., patience: steps}, where decoding is not constrained"
    )
    stop_on_collapse: StopOnCollapse | None = Field(
        description="{distinct: .., best_of: .., patience: validations}: where the policy writes fewer paths "
        "on validation prompts than that share of what it started with, training ends, and the best policy "
        "before is kept; null: it goes on"
    )
    learning_rate: float = Field(gt=0, description="Learning rate of all but the token embeddings")
    embedding_learning_rate: float = Field(gt=0, description="Learning rate of the token embeddings")
    warmup_share: float = Field(ge=0, le=1, description="Share of the steps in which the learning rates rise")
    weight_decay: float = Field(ge=0, description="Weight decay of the matrices")
    gradient_clip: float = Field(gt=0, description="Largest norm of a gradient")
    evaluate_every: int = Field(ge=1, description="Steps between two validations")
    validation_prompts: int = Field(ge=1, description="Validation prompts that are judged")
    precision: Precision = Field(description="Precision of the training")

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise Refused("steps", self.steps, "a number where finetune.epochs is null, null where it is one")
        if not self.select_on:
            raise Refused("select_on", "an empty mapping", "at least one metric")
        if not any(self.weights.values()):
            raise Refused("weights", self.weights, "at least one weight above 0")
        if (self.offset is not None) != (self.centering == "fixed_offset"):
            allowed = "a number" if self.centering == "fixed_offset" else "null"
            raise Refused("offset", self.offset, f"{allowed} where finetune.centering is {self.centering}")
        if self.normalise == "per_reward" and self.centering == "fixed_offset":
            raise Refused("normalise", self.normalise, "none where finetune.centering is fixed_offset")
        if self.estimator == "expected":
            # Its expectation is over all that the policy may draw, so that nothing drawn may be left out.
            needed = {"item_log_prob": "sum", "updates_per_rollout": 1, "skip_alike": False}
            for key, allowed in needed.items():
                if (found := getattr(self, key)) != allowed:
                    raise Refused(key, found, f"{allowed} where finetune.estimator is expected")
            if self.empty_paths == "drop":
                raise Refused("empty_paths", "drop", "forbid or act where finetune.estimator is expected")
        return self
