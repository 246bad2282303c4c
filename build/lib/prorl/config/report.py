"""Section `report`: the HTML report."""

from typing import ClassVar

from pydantic import Field

from prorl.config.section import Section


class Report(Section):
    """The HTML report."""

    section: ClassVar[str] = "report"

    example_paths: int = Field(ge=0, description="Prompts whose paths are shown")
