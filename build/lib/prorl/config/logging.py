"""Section `logging`: how progress is shown. Nothing that a stage writes depends on it."""

from typing import ClassVar

from pydantic import Field

from prorl.config.section import Section


class Logging(Section):
    """How progress is shown."""

    section: ClassVar[str] = "logging"
    per_data_set: ClassVar[bool] = False

    every_seconds: float = Field(
        gt=0, description="Seconds between two progress lines where there is no terminal"
    )
    tensorboard: bool = Field(
        description="Whether trainings write event files under .tensorboard/, a folder each"
    )
