"""Section `prepare`: from raw logs to canonical tables."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section, Settings


class Tabular(Settings):
    """Columns of a user's own tables: canonical name -> name in the file, null where there is none."""

    interactions: dict[str, str] = Field(description="Columns of the interactions: user, item, timestamp")
    items: dict[str, str | None] = Field(description="Columns of the items: item, title, attributes, others")
    separator: str = Field(description="What stands between the attributes of an item where they are text")


class Prepare(Section):
    """From raw logs to canonical tables."""

    section: ClassVar[str] = "prepare"

    min_user_interactions: int = Field(ge=1, description="Interactions that a user needs to be kept")
    min_item_interactions: int = Field(ge=1, description="Interactions that an item needs to be kept")
    split: list[Annotated[float, Field(gt=0)]] = Field(
        description="Shares of training, validation and test users"
    )
    split_from: str | None = Field(
        description="The start of released instances, as `mine.import`, whose split of users is taken in "
        "place of a random one: simulators are then trained on none of their validation and test users"
    )
    attributes: list[str] = Field(description="The source's fields that give an item its attributes")
    profile: list[str] = Field(
        description="An item's text: these pieces, joined by spaces, without those that have an empty field"
    )
    profiles: str | None = Field(
        description="Texts made elsewhere instead: JSON of raw item id -> text, or a table with columns "
        "raw_id, text"
    )
    tabular: Tabular = Field(description="Columns of a `tabular` source")

    @model_validator(mode="after")
    def _every_split_has_a_share(self) -> Self:
        if len(self.split) != 3:
            raise Refused("split", self.split, "3 shares: of training, validation and test users")
        return self
