"""Section `prepare`: from raw logs to canonical tables."""

import codecs
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section, Settings


class Tabular(Settings):
    """Columns of a user's own tables: canonical name -> name in the file, null where there is none; and how
    texts are written.
    """

    interactions: dict[str, str] = Field(description="Columns of the interactions: user, item, timestamp")
    items: dict[str, str | None] = Field(description="Columns of the items: item, title, attributes, others")
    separator: str = Field(
        min_length=1, description="What stands between the attributes of an item where they are text"
    )
    delimiter: str | None = Field(
        description="What stands between two values; null goes by the file's ending: a comma in .csv, a tab "
        "in "
        ".tsv, .inter and .item"
    )
    quote: str | None = Field(
        description="What a value may be enclosed in, so that it may hold delimiters and line ends; null "
        "where "
        "quotes are characters like any other"
    )
    encoding: str = Field(description="Encoding of text files, such as utf8, latin1 or utf16")
    without_header: list[Literal["interactions", "items"]] = Field(
        description="Files whose first line is a row, not the names of columns; their columns are called 1, "
        "2, .."
    )

    @model_validator(mode="after")
    def _text_can_be_read(self) -> Self:
        if self.quote is not None and (len(self.quote) != 1 or not self.quote.isascii()):
            raise Refused("quote", repr(self.quote), 'one character, such as ", or null')
        if self.delimiter == "":
            raise Refused("delimiter", repr(self.delimiter), "at least one character, or null")
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise Refused("encoding", repr(self.encoding), "an encoding that Python knows") from None
        return self


class Spark(Settings):
    """The cluster that prepares and mines where an engine is `spark`."""

    master: str = Field(
        min_length=1,
        description="Where Spark runs: spark://<host>:<port>, yarn, k8s://.., or local[*], all cores here",
    )
    executor_memory: str = Field(
        pattern="^[1-9][0-9]*[mg]$", description="Memory of an executor's JVM, such as 900m or 8g"
    )
    partitions: int = Field(
        ge=1,
        le=99_999,
        description="Parts into which users are dealt; a Python worker holds one at a time, users whole",
    )
    conf: dict[str, str] = Field(description="Further settings of Spark under its own names, values as text")


class Prepare(Section):
    """From raw logs to canonical tables."""

    section: ClassVar[str] = "prepare"

    engine: Literal["local", "spark"] = Field(
        description="What prepares: this process, or Apache Spark (the extra `spark`) where a log is larger "
        "than memory; the tables are the same"
    )
    spark: Spark = Field(description="The cluster, also that of `mine.engine`")
    min_user_interactions: int = Field(ge=1, description="Interactions that a user needs to be kept")
    min_item_interactions: int = Field(ge=1, description="Interactions that an item needs to be kept")
    repeats: Literal["keep", "first", "last"] = Field(
        description="What becomes of several interactions of one user with one item: all stay, or the first "
        "alone, or the last"
    )
    split: list[Annotated[float, Field(gt=0)]] = Field(
        description="Shares of training, validation and test users"
    )
    split_from: str | None = Field(
        description="The start of released instances, as `mine.import`, whose split of users is taken in "
        "place of a random one: simulators are then trained on none of their validation and test users"
    )
    attributes: list[str] | None = Field(
        description="The source's fields that give an item its attributes; null is the source's own choice: "
        "genres, categories of Amazon's books, attributes of a `tabular` source"
    )
    placeholders: list[str] = Field(
        description="Values that stand for none, in upper or lower case, in every field of an item but its "
        "title"
    )
    profile: list[str] | None = Field(
        description="An item's text: these pieces, joined by spaces, without those that have an empty field; "
        "null is the source's own choice, such as title, year and genres of MovieLens"
    )
    profiles: str | None = Field(
        description="Texts made elsewhere instead: JSON of raw item id -> text, or a table with columns "
        "raw_id, text"
    )
    tabular: Tabular = Field(description="Columns of a `tabular` source, and how its texts are written")

    @model_validator(mode="after")
    def _every_split_has_a_share(self) -> Self:
        if len(self.split) != 3:
            raise Refused("split", self.split, "3 shares: of training, validation and test users")
        return self
