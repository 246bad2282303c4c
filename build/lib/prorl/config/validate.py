"""Section `validate`: how far a simulator can be believed, on users that it was not trained on."""

from typing import ClassVar

from pydantic import Field

from prorl.config.section import Section


class Validate(Section):
    """What a simulator is asked about users that it was not trained on."""

    section: ClassVar[str] = "validate"

    users: int = Field(ge=1, description="Users of each split that are asked about, at most")
    history_length: int = Field(
        ge=1, description="Items that the simulator has read when it is asked; as many as a prompt's history"
    )
    positions: int = Field(ge=1, description="Places of each user's log where it is asked, at most")
    negatives: int = Field(
        ge=1, description="Items sampled beside each real next item, from those the user never had"
    )
    ratio: float = Field(
        gt=0, description="Sampled items for each real one, in the mixture that calibration is relative to"
    )
    bins: int = Field(ge=2, description="Bins of acceptance in which calibration is looked at")
    continuations: int = Field(
        ge=1, description="Stretches of each user's log that simulated ones are compared with, at most"
    )
    length: int = Field(ge=1, description="Items of such a stretch")
    bootstrap_resamples: int = Field(ge=100, description="Resamples of users behind an interval")
    batch_size: int = Field(ge=1, description="Places that the simulator is asked about at once")
