"""Section `evaluate`: guides times simulators on the test prompts."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from prorl.config.section import Section, Settings


class Boredom(Settings):
    """What makes items of an attribute less acceptable for a while."""

    window: int = Field(ge=1, description="Items accepted last that are looked at")
    more_than: int = Field(ge=0, description="Items of one attribute among them above which it bores")
    steps: int = Field(ge=1, description="Items shown next for which it does")
    decay: float = Field(ge=0, le=1, description="Factor of the acceptance of items with that attribute")


class Leave(Settings):
    """When a user sees no more of a path."""

    rejections: int = Field(ge=1, description="Rejections in a row from which on the user may leave")
    probability: float = Field(gt=0, le=1, description="Chance of leaving after each of those")


class Rejection(Settings):
    """The judgement in which an item enters the history only if it is accepted."""

    draws: Annotated[int, Field(ge=1)] | None = Field(
        description="Visits drawn per prompt; null: the exact expectation, over 2^t ways to go"
    )
    boredom: Boredom | None = Field(description="Boredom with an attribute; null: none")
    leave: Leave | None = Field(description="Users who leave; null: none does")


class Evaluate(Section):
    """Guides times simulators on the test prompts."""

    section: ClassVar[str] = "evaluate"

    rollouts: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="Numbers K of sampled paths of which the best counts"
    )
    beams: list[Annotated[int, Field(ge=1)]] = Field(
        description="Numbers K of paths of a beam search of which the best counts"
    )
    live_beams: list[Annotated[int, Field(ge=1)]] = Field(
        description="Numbers K of paths of the released code's beam search, its `_max@K`: K paths are under "
        "way all the time, where in `beams` a finished path keeps its place among the K"
    )
    target_percentiles: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        description="Greedy paths are also judged towards items that the first simulator ranks at these "
        "percentiles, likeliest first"
    )
    rejection: Rejection | None = Field(
        description="Paths are also judged where an item enters the history only if it is accepted; null: "
        "they are not"
    )
    bootstrap_resamples: int = Field(ge=100, description="Resamples of users behind an interval")
    diversity_pairs: int = Field(ge=1, description="Pairs of paths that are compared for diversity")
    batch_size: int = Field(ge=1, description="Prompts at once")
    precision: Literal["float32", "bf16", "auto"] = Field(
        description="Precision in which policies write; simulators judge in float32. auto: bf16 where the "
        "machine computes it faster, told when it runs; results then differ between machines"
    )
