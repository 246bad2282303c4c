"""Section `release`: which policies are made into folders of their own that guide users anywhere."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section


class Release(Section):
    """What becomes a folder of its own that guides users, and what comes along."""

    section: ClassVar[str] = "release"

    policies: list[Literal["pretrained", "prorl"]] = Field(
        description="Policies that are released; gates are judged for `prorl` alone"
    )
    simulator: str | None = Field(
        description="Simulator that comes along, to judge paths and to search on; one of the library's. "
        "null: none"
    )
    licence: str | None = Field(
        description="What the card says of the data's licence; null: what the data set's publisher states"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if not self.policies or len(set(self.policies)) < len(self.policies):
            raise Refused("policies", self.policies, "at least one, each once")
        return self
