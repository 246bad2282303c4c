"""Section `selection`: how settings of guides are chosen by greedy paths on validation prompts."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section


class Selection(Section):
    """How settings of guides are chosen, and by whom guides are ranked."""

    section: ClassVar[str] = "selection"
    per_data_set: ClassVar[bool] = False

    simulator: str = Field(
        description="The main judge: settings of guides are chosen by it, and guides are ranked by it"
    )
    prompts: int = Field(ge=1, description="Validation prompts that guides are judged on")
    on: dict[str, float] = Field(
        description="Metrics of greedy paths and their weights in the score that chooses and ranks"
    )

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        if not self.on:
            raise Refused("on", "an empty mapping", "at least one metric")
        return self
