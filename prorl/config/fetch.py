"""Section `fetch`: where the raw files of a data set come from."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section, Settings


class OwnFiles(Settings):
    """The two files of a `tabular` source; either may be a folder of parts, in the order of their names."""

    interactions: str = Field(
        description="The file of interactions; or where they lie, as s3://bucket/log, for engine `spark`"
    )
    items: str = Field(description="The file of items")


class Fetch(Section):
    """Where the raw files of a data set come from."""

    section: ClassVar[str] = "fetch"

    source: str | None = Field(
        description="ml-100k, ml-1m, steam, amazon-books or tabular; null is the data set's own name"
    )
    archive: str | None = Field(
        description="A zip or a folder with the raw files, instead of the source's own place; those of a "
        "`tabular` "
        "source are called `interactions` and `items` there, with .csv, .tsv, .parquet, .inter, .item, .txt, "
        ".dat or .data"
    )
    files: OwnFiles | None = Field(
        description="The two files of a `tabular` source, by any name: {interactions: .., items: ..}"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.files is not None and self.archive is not None:
            raise Refused("files", "a mapping", "null where fetch.archive is set")
        if self.files is not None and self.source != "tabular":
            raise Refused("files", "a mapping", "null where fetch.source is not tabular")
        return self
