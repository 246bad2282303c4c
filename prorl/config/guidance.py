"""Sections of the stages from simulators to the report, and those that all stages share."""

from dataclasses import dataclass, field
from typing import Literal

from prorl.config.fields import ConfigError, Precision, setting

Forbidden = Literal["repeats", "history", "target"]
Metric = Literal["ioi", "ior", "ctr", "coherence", "length", "distinct", "diversity"]


@dataclass(frozen=True)
class Decoding:
    """What a path may hold, in search, rollouts, loss and evaluation alike."""

    constrained: bool
    forbid: list[Forbidden]
    min_length: int = setting(at_least=0, at_most=10)
    max_length: int = setting(at_least=1, at_most=30)

    def __post_init__(self) -> None:
        if self.min_length > self.max_length:
            raise ConfigError(
                f"decoding.min_length: got {self.min_length}, allowed: at most decoding.max_length, {self.max_length}"
            )
        if not self.constrained and (self.forbid or self.min_length):
            name, found, allowed = (
                ("forbid", self.forbid, "[]") if self.forbid else ("min_length", self.min_length, "0")
            )
            raise ConfigError(
                f"decoding.{name}: got {found}, allowed with `constrained: false`: {allowed}, since any token may follow any"
            )


@dataclass(frozen=True)
class Logging:
    """How progress is shown."""

    every_seconds: float = setting(above=0)
    tensorboard: bool = field()


@dataclass(frozen=True)
class SASRecSizes:
    """Sizes of RecBole's SASRec, under RecBole's names."""

    n_layers: int = setting(at_least=1)
    n_heads: int = setting(at_least=1)
    hidden_size: int = setting(at_least=1)
    inner_size: int = setting(at_least=1)
    hidden_dropout_prob: float = setting(at_least=0, below=1)
    attn_dropout_prob: float = setting(at_least=0, below=1)
    hidden_act: Literal["gelu", "relu", "swish", "tanh", "sigmoid"] = field()
    layer_norm_eps: float = setting(above=0)
    initializer_range: float = setting(above=0)


@dataclass(frozen=True)
class GRU4RecSizes:
    """Sizes of RecBole's GRU4Rec, under RecBole's names."""

    embedding_size: int = setting(at_least=1)
    hidden_size: int = setting(at_least=1)
    num_layers: int = setting(at_least=1)
    dropout_prob: float = setting(at_least=0, below=1)


@dataclass(frozen=True)
class Simulator:
    """Training of the sequential recommenders that stand in for users."""

    max_length: int = setting(at_least=2)
    epochs: int = setting(at_least=1)
    patience: int = setting(at_least=1)
    batch_size: int = setting(at_least=1)
    learning_rate: float = setting(above=0)
    weight_decay: float = setting(at_least=0)
    SASRec: SASRecSizes = field()
    GRU4Rec: GRU4RecSizes = field()


@dataclass(frozen=True)
class Policy:
    """Sizes of the T5 policy, and whether the target has token ids of its own."""

    n_layers: int = setting(at_least=1)
    d_model: int = setting(at_least=8)
    d_ff: int = setting(at_least=8)
    d_kv: int = setting(at_least=1)
    n_heads: int = setting(at_least=1)
    dropout: float = setting(at_least=0, at_most=0.9)
    target_tokens: Literal["shared", "separate"] = field()


@dataclass(frozen=True)
class SearchWeights:
    """What an item's acceptance, and an attribute in common with the item before it, weigh against its gain
    in interest.
    """

    ctr: float = setting(at_least=0)
    coherence: float = setting(at_least=0)


@dataclass(frozen=True)
class Pretrain:
    """Supervised pre-training on mined paths and on paths found by search."""

    simulator: str
    search_paths: int = setting(at_least=0)
    search_share: float = setting(at_least=0, at_most=1)
    search_candidates: int = setting(at_least=1)
    search_weights: SearchWeights = field()
    max_steps: int = setting(at_least=1)
    evaluate_every: int = setting(at_least=1)
    patience: int = setting(at_least=1)
    min_improvement: float = setting(at_least=0)
    batch_size: int = setting(at_least=1)
    learning_rate: float = setting(above=0)
    embedding_learning_rate: float = setting(above=0)
    warmup_steps: int = setting(at_least=0)
    weight_decay: float = setting(at_least=0)
    gradient_clip: float = setting(above=0)
    precision: Precision = field()


@dataclass(frozen=True)
class RewardWeights:
    """Weights of the three step rewards."""

    ctr: float = setting(at_least=0)
    ioi: float = setting(at_least=0)
    ior: float = setting(at_least=0)


@dataclass(frozen=True)
class KL:
    """How strongly, and by which estimator, the policy is held to its reference."""

    estimator: Literal["exact", "k1", "k2", "k3"]
    coefficient: float = setting(at_least=0)
    target: float | None = setting(above=0)

    def __post_init__(self) -> None:
        if self.target is not None and self.coefficient == 0:
            raise ConfigError(
                "finetune.kl.coefficient: got 0.0, allowed: a number above 0 where finetune.kl.target is given"
            )


@dataclass(frozen=True)
class A2C:
    """The critic of estimator `a2c`."""

    hidden_size: int = setting(at_least=1)
    warmup_steps: int = setting(at_least=0)
    coefficient: float = setting(above=0)


@dataclass(frozen=True)
class Clip:
    """How far importance weights may leave 1 before they stop counting, downwards and upwards."""

    low: float = setting(above=0, at_most=1)
    high: float = setting(above=0)


@dataclass(frozen=True)
class StopOnErrors:
    """The end of a training whose rollouts are no paths: fewer than this share of items, in so many steps on
    end.
    """

    min_valid_share: float = setting(above=0, at_most=1)
    patience: int = setting(at_least=1)


@dataclass(frozen=True)
class Finetune:
    """The rectified policy gradient, and what it is compared with."""

    simulator: str
    init_from: str | None
    targets: Literal["mined", "random", "mixed"]
    select_on: dict[Metric, float]
    epochs: int | None = setting(at_least=1)
    steps: int | None = setting(at_least=1)
    centering_steps: int | None = setting(at_least=1)
    prompts_per_step: int = setting(at_least=1)
    n_rollouts: int = setting(at_least=2)
    temperature: float = setting(above=0)
    gamma: float = setting(above=0, at_most=1)
    weights: RewardWeights = field()
    estimator: Literal["reinforce", "reward_to_go", "grpo", "a2c", "position_specific"] = field()
    centering: Literal["warmup", "none", "running", "fixed_offset"] = field()
    offset: float | None = field()
    kl: KL = field()
    item_log_prob: Literal["sum", "mean"] = field()
    empty_paths: Literal["forbid", "act", "drop"] = field()
    skip_alike: bool = field()
    a2c: A2C = field()
    entropy_bonus: float = setting(at_least=0)
    updates_per_rollout: int = setting(at_least=1)
    clip: Clip = field()
    reference_reset: dict[Literal["every", "stalled"], int] | None = setting(at_least=1)
    stop_on_errors: StopOnErrors | None = field()
    learning_rate: float = setting(above=0)
    embedding_learning_rate: float = setting(above=0)
    warmup_share: float = setting(at_least=0, at_most=1)
    weight_decay: float = setting(at_least=0)
    gradient_clip: float = setting(above=0)
    evaluate_every: int = setting(at_least=1)
    validation_prompts: int = setting(at_least=1)
    precision: Precision = field()

    def __post_init__(self) -> None:
        if (self.offset is not None) != (self.centering == "fixed_offset"):
            allowed = "a number" if self.centering == "fixed_offset" else "null"
            raise ConfigError(
                f"finetune.offset: got {self.offset}, allowed: {allowed} where finetune.centering is {self.centering}"
            )
        if self.reference_reset is not None and len(self.reference_reset) != 1:
            raise ConfigError(
                f"finetune.reference_reset: got {self.reference_reset}, allowed: null, or one of `every` and `stalled`"
            )


@dataclass(frozen=True)
class Evaluate:
    """Guides times simulators on the test prompts."""

    policies: dict[str, str]
    rollouts: list[int] = setting(at_least=1)
    beams: list[int] = setting(at_least=1)
    target_percentiles: list[int] = setting(at_least=1, at_most=100)
    bootstrap_resamples: int = setting(at_least=100)
    diversity_pairs: int = setting(at_least=1)
    batch_size: int = setting(at_least=1)
    precision: Precision = field()

    def __post_init__(self) -> None:
        if not self.rollouts:
            raise ConfigError("evaluate.rollouts: got an empty list, allowed: at least one number")


@dataclass(frozen=True)
class Report:
    """The HTML report."""

    example_paths: int = setting(at_least=0)
