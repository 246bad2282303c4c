"""Section `fetch`: where the raw files of a data set come from."""

from typing import ClassVar

from pydantic import Field

from prorl.config.section import Section


class Fetch(Section):
    """Where the raw files of a data set come from."""

    section: ClassVar[str] = "fetch"

    source: str | None = Field(
        description="ml-100k, ml-1m, steam, amazon-books or tabular; null is the data set's own name"
    )
    archive: str | None = Field(
        description="A zip or a folder with the raw files, instead of the source's own place"
    )
