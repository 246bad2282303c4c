"""Section `mine`: from interactions to instances."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section


class Mine(Section):
    """From interactions to instances."""

    section: ClassVar[str] = "mine"

    engine: Literal["local", "spark"] = Field(
        description="What mines: this process, or Apache Spark as `prepare.spark` says, part by part as "
        "prepared; the instances are the same"
    )
    import_: str | None = Field(
        alias="import",
        description="Released instances instead: the start of `<start>.train`, .val, .test and .datamaps",
    )
    history_length: int = Field(ge=1, description="Items of a history")
    min_run: int = Field(ge=2, description="Items of the shortest run that is kept")
    max_run: int = Field(ge=2, description="Items of the longest run that is kept; longer ones are dropped")
    feasibility: Literal["attributes", "similarity", "language_model"] = Field(
        description="What makes a transition feasible: an attribute that both items share, or the verdict of "
        "the stage of that name, whose section lists the data set"
    )
    ignored_attributes: list[str] = Field(
        description="Attributes left out when two items are tested for a shared one"
    )

    @model_validator(mode="after")
    def _runs_exist(self) -> Self:
        if self.min_run > self.max_run:
            raise Refused("min_run", self.min_run, f"at most mine.max_run, {self.max_run}")
        return self
