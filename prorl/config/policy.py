"""Section `policy`: sizes of the T5 policy, its tokens, and what it is told beside history and target."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section

CTR_WEIGHT_GROWTH = 16.0  # from acceptance 0 to 1


def ctr_factor(acceptance: float, headline: float) -> float:
    """What a weight of CTR that is given for `headline` is multiplied by at `acceptance`: 16 to the power of
    their difference.
    """
    return CTR_WEIGHT_GROWTH ** (acceptance - headline)


class Policy(Section):
    """Sizes of the T5 policy, by which tokens it reads and writes items, and how much acceptance is to count,
    where it is told that.
    """

    section: ClassVar[str] = "policy"

    n_layers: int = Field(ge=1, description="Encoder layers, and as many decoder layers")
    d_model: int = Field(ge=8, description="Width of the model")
    d_ff: int = Field(ge=8, description="Width of the feed-forward layers")
    d_kv: int = Field(ge=1, description="Width of an attention head")
    n_heads: int = Field(ge=1, description="Attention heads")
    dropout: float = Field(
        ge=0, le=0.9, description="Dropout; the published model has 0.1, which slows a short training down"
    )
    identifiers: Literal["semantic", "item"] = Field(
        description="By which tokens an item is read and written: the codes of its `semantic` ID, as "
        "published, or one of its own, its `item` ID"
    )
    embeddings: Literal["random", "simulator"] = Field(
        description="What the embeddings of these tokens start from: `random` numbers, as published, or the "
        "item vectors of `pretrain.simulator`"
    )
    target_tokens: Literal["shared", "separate"] = Field(
        description="Whether the target has tokens of its own; `shared` is the published model"
    )
    acceptances: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        description="How much acceptance is to count, in ascending order, as the policy can be told by a "
        "token each: 0 leads the furthest, 1 is accepted the most. Empty: it is not told"
    )
    acceptance: float | None = Field(
        description="The one of `acceptances` that it is told where nobody says another, and that weights of "
        "CTR are given for: at acceptance a they are 16^(a - acceptance) times as large. null: there are none"
    )

    @model_validator(mode="after")
    def _acceptances_are_told(self) -> Self:
        if sorted(set(self.acceptances)) != self.acceptances:
            raise Refused("acceptances", self.acceptances, "each once, in ascending order")
        if self.acceptances and self.acceptance not in self.acceptances:
            raise Refused("acceptance", self.acceptance, f"one of policy.acceptances, {self.acceptances}")
        if not self.acceptances and self.acceptance is not None:
            raise Refused("acceptance", self.acceptance, "null where policy.acceptances is empty")
        return self
