"""What callers send and get, as OpenAPI tells it."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(min_length=1, max_length=500)]
Answer = Literal["accepted", "refused", "left"]
Guide = Literal["policy", "search"]


class Body(BaseModel):
    """What is sent: without unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True)


class GuideBody(Body):
    """A call for paths: with `history` and `target`, or with `previous`, a request to go on from."""

    history: list[Text] | None = Field(
        default=None, min_length=1, description="Raw ids or titles, oldest first; the last ones count"
    )
    target: Text | None = Field(default=None, description="Raw id or title")
    previous: Text | None = Field(
        default=None,
        description="A `request_id`: go on from what was accepted of it, without what was refused, for "
        "as many items as are left",
    )
    path: int = Field(default=0, ge=0, description="Which path of `previous`")
    length: int | Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Items of a path: exactly, or [fewest, most]"
    )
    avoid: list[Text] = Field(default=[], description="Attributes, raw ids or titles that no path may hold")
    acceptance: float | None = Field(
        default=None, description="How much acceptance counts: one of the policy's `acceptances`"
    )
    n: int = Field(default=1, ge=1, description="Paths; more than one are sampled")
    guide: Guide = Field(default="policy", description="Who writes the path")
    user: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Whose history it is; only a keyed hash of it is ever written"
    )
    judge: bool = Field(default=False, description="Whether a simulator says how the paths do, step by step")

    @model_validator(mode="after")
    def _is_one_call(self) -> Self:
        if self.previous is None and (self.history is None or self.target is None):
            raise ValueError("history and target, or previous, are needed")
        if self.previous is not None and not (self.history is None and self.target is None):
            raise ValueError("history and target are those of previous: leave them out")
        return self


class FeedbackBody(Body):
    """What became of an item that was shown, or of what is left of a path."""

    request_id: Text
    path: int = Field(default=0, ge=0, description="Which path of the request")
    position: int | None = Field(
        default=None, ge=0, description="The item's place in its path; null: all items without an answer"
    )
    outcome: Answer = Field(description="`left`: the user left at this item")


class ItemOut(BaseModel):
    """An item of the catalogue."""

    raw_id: str
    title: str
    attributes: list[str]


class StepOut(ItemOut):
    """An item of a path: `why` are the attributes it shares with the item before it."""

    why: list[str]
    propensity: float = Field(description="The probability with which it was drawn; 1 if it was not")


class JudgedOut(BaseModel):
    """What the simulator says of a path of t items."""

    acceptance: list[float] = Field(description="Of each item, t numbers")
    target_probability: list[float] = Field(description="Before the path and after each item, t + 1 numbers")
    target_rank: list[int] = Field(description="The same; 1 is best")


class PathOut(BaseModel):
    """A path."""

    items: list[StepOut]
    stop_propensity: float
    judged: JudgedOut | None


class GuideOut(BaseModel):
    """Paths from a history to a target."""

    request_id: str = Field(description="What feedback and the next call name")
    model: str
    guide: Guide
    acceptance: float | None
    temperature: float = Field(description="0: the likeliest items")
    history: list[ItemOut] = Field(description="The items that counted")
    target: ItemOut
    paths: list[PathOut]
    note: str | None = Field(description="Why `judged` is null though it was asked for")


class FeedbackOut(BaseModel):
    """What is known of a path's items, in order; null: nothing yet."""

    request_id: str
    path: int
    outcomes: list[Answer | None]


class ItemsOut(BaseModel):
    """What was found, best first."""

    items: list[ItemOut]


class PolicyOut(BaseModel):
    """What is served, and what it can be asked."""

    name: str
    dataset: str
    version: str
    n_items: int
    acceptances: list[float]
    acceptance: float | None
    shortest: int
    longest: int
    history: int = Field(description="How many items of a history count")
    explore: float | None
    search: str | None = Field(description="Why there is no guide `search`; null: there is")
    judge: str | None = Field(description="Why paths cannot be judged; null: they can")


class HealthOut(BaseModel):
    """That the service answers."""

    status: Literal["ok"]
    version: str


class Problem(BaseModel):
    """What was wrong, in words; `suggestions`: items that may have been meant."""

    detail: str
    field: str | None = None
    suggestions: list[ItemOut] = []
