"""Section `evaluate`: guides times simulators on the test prompts."""

from typing import Annotated, ClassVar

from pydantic import Field

from prorl.config.section import Precision, Section


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
    bootstrap_resamples: int = Field(ge=100, description="Resamples of users behind an interval")
    diversity_pairs: int = Field(ge=1, description="Pairs of paths that are compared for diversity")
    batch_size: int = Field(ge=1, description="Prompts at once")
    precision: Precision = Field(description="Precision in which policies write; simulators judge in float32")
