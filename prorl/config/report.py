"""Section `report`: the HTML report."""

from typing import ClassVar

from pydantic import Field

from prorl.config.section import Section, Settings


class Examples(Settings):
    """How many prompts show their paths, by the rule that chooses them."""

    best: int = Field(ge=0, description="Prompts with the highest IoI of `prorl`'s greedy path")
    median: int = Field(ge=0, description="Prompts around the median of it")
    worst: int = Field(ge=0, description="Prompts with the lowest")
    random: int = Field(ge=0, description="Prompts drawn from the others, whatever their IoI")


class Report(Section):
    """The HTML report."""

    section: ClassVar[str] = "report"

    examples: Examples = Field(description="Prompts whose paths are shown, judged by the main judge")
