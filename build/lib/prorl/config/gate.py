"""Section `gate`: what a policy must be before it is released."""

from typing import Annotated, ClassVar

from pydantic import Field

from prorl.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class Gate(Section):
    """What a policy must be before it is released. Where a value has an interval, its worse end must be
    allowed.
    """

    section: ClassVar[str] = "gate"

    strict: bool = Field(description="Whether the stage fails where the policy does not pass every gate")
    judge: str = Field(
        description="The simulator whose judgement counts; best one that the policy was not trained against"
    )
    on: dict[str, float] = Field(
        min_length=1, description="Weights of the greedy metrics whose sum, the score, compares guides"
    )
    distinct: Share = Field(description="Distinct paths per prompt, at least")
    best_of: int = Field(
        ge=1, description="Sampled paths of which the best IoI counts; one of `evaluate.rollouts`"
    )
    best_of_lost: float = Field(ge=0, description="IoI of the best sampled path that may be lost")
    above_start: float = Field(ge=0, description="How much the score must exceed its start's by")
    above_rival: float = Field(
        ge=0, description="How much the score must exceed that of the best rival on validation prompts by"
    )
    ctr_lost: Share = Field(description="Share of its start's CTR that may be lost")
    agreement: float = Field(
        ge=-1, le=1, description="Kendall's tau between any two judges' rankings of guides by score, at least"
    )
    repeats: Share = Field(description="Share of a path's items that it held before, at most")
    coherence: Share = Field(description="Coherence, at least")
