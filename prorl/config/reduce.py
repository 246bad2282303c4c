"""Section `reduce`: principal components of the embeddings, and a simulator's item vectors beside them."""

from typing import ClassVar

from pydantic import Field

from prorl.config.section import Section


class Reduce(Section):
    """Principal components of the embeddings, and a simulator's item vectors beside them."""

    section: ClassVar[str] = "reduce"

    dimension: int = Field(ge=1, description="Components kept")
    whiten: bool = Field(description="Whether every component is scaled to unit variance")
    mapped_above: int = Field(
        ge=0,
        description="MiB of embeddings above which they stay on disk, memory-mapped, and are read "
        "part by part",
    )
    simulator: str = Field(
        description="The simulator whose item vectors stand beside the embeddings, one of `simulators`; "
        "the same for all data sets, and trained before this stage, whatever their weight"
    )
    collaborative: float = Field(
        ge=0,
        description="Their length, the embeddings' being 1: how much two items are alike by who likes them, "
        "beside how they are described; 0 is the embeddings alone, with `whiten` the paper's",
    )
