"""Section `reduce`: principal components of the embeddings."""

from typing import ClassVar

from pydantic import Field

from prorl.config.section import Section


class Reduce(Section):
    """Principal components of the embeddings."""

    section: ClassVar[str] = "reduce"

    dimension: int = Field(ge=1, description="Components kept")
    whiten: bool = Field(description="Whether every component is scaled to unit variance")
    mapped_above: int = Field(
        ge=0,
        description="MiB of embeddings above which they stay on disk, memory-mapped, and are read "
        "part by part",
    )
