"""Section `policy`: sizes of the T5 policy."""

from typing import ClassVar, Literal

from pydantic import Field

from prorl.config.section import Section


class Policy(Section):
    """Sizes of the T5 policy, and whether the target has token ids of its own."""

    section: ClassVar[str] = "policy"

    n_layers: int = Field(ge=1, description="Encoder layers, and as many decoder layers")
    d_model: int = Field(ge=8, description="Width of the model")
    d_ff: int = Field(ge=8, description="Width of the feed-forward layers")
    d_kv: int = Field(ge=1, description="Width of an attention head")
    n_heads: int = Field(ge=1, description="Attention heads")
    dropout: float = Field(
        ge=0, le=0.9, description="Dropout; the published model has 0.1, which slows a short training down"
    )
    target_tokens: Literal["shared", "separate"] = Field(
        description="Whether the target's codes have token ids of their own; `shared` is the published model"
    )
