"""Section `simulator`: training of the sequential recommenders that stand in for users."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticKnownError

from prorl.config.section import Refused, Section, Settings


class TransformerSizes(Settings):
    """Sizes of a transformer of RecBole's, under RecBole's names."""

    n_layers: int = Field(ge=1, description="Transformer layers")
    n_heads: int = Field(ge=1, description="Attention heads; they divide hidden_size")
    hidden_size: int = Field(ge=1, description="Width of the model, and of the item vectors")
    inner_size: int = Field(ge=1, description="Width of the feed-forward layers")
    hidden_dropout_prob: float = Field(ge=0, lt=1, description="Dropout of hidden states")
    attn_dropout_prob: float = Field(ge=0, lt=1, description="Dropout of attention weights")
    hidden_act: Literal["gelu", "relu", "swish", "tanh", "sigmoid"] = Field(description="Activation")
    layer_norm_eps: float = Field(gt=0, description="Epsilon of the layer norms")
    initializer_range: float = Field(gt=0, description="Standard deviation of the initial weights")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.hidden_size % self.n_heads:
            raise Refused("hidden_size", self.hidden_size, f"a multiple of n_heads, {self.n_heads}")
        return self


class SASRecSizes(TransformerSizes):
    """Sizes of RecBole's SASRec, under RecBole's names."""


class GRU4RecSizes(Settings):
    """Sizes of RecBole's GRU4Rec, under RecBole's names."""

    embedding_size: int = Field(ge=1, description="Width of the item vectors")
    hidden_size: int = Field(ge=1, description="Width of the recurrent state")
    num_layers: int = Field(ge=1, description="Recurrent layers")
    dropout_prob: float = Field(ge=0, lt=1, description="Dropout of item vectors")


class BERT4RecSizes(TransformerSizes):
    """Sizes of RecBole's BERT4Rec, under RecBole's names, and what of a window is masked in training."""

    mask_ratio: float = Field(gt=0, le=1, description="Share of a window's items that are masked")
    ft_ratio: float = Field(
        ge=0, le=1, description="Share of the windows of which the last item alone is masked, as in judging"
    )
    passes: int = Field(ge=1, description="Passes over the windows in an epoch, each with masks of its own")


class LightSANsSizes(TransformerSizes):
    """Sizes of RecBole's LightSANs, under RecBole's names, and how many prefixes it trains on."""

    k_interests: int = Field(ge=1, description="Latent interests that items are gathered in")
    passes: int = Field(
        ge=1,
        description="Passes over the windows in an epoch, each with a prefix of its own for every window",
    )


class OwnClass(Settings):
    """A simulator of one's own."""

    class_: str = Field(alias="class", description="`module:Class`; prorl/simulators/protocol.py says which")
    settings: dict[str, Any] = Field(description="Handed to its `fit`; {} where it has none")


def _is_a_class(value: Any) -> Any:
    """Tells a class of one's own from a key that is none: it is a mapping with `class` or `settings`."""
    if isinstance(value, OwnClass) or (isinstance(value, dict) and {"class", "settings"} & value.keys()):
        return value
    raise PydanticKnownError("extra_forbidden")


class Simulator(Section):
    """Training of the sequential recommenders that stand in for users.

    A further key names a simulator of one's own: `{class: module:Class, settings: {..}}`.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[  # pyright: ignore[reportIncompatibleVariableOverride]
        str, Annotated[OwnClass, BeforeValidator(_is_a_class)]
    ] = Field(init=False)

    section: ClassVar[str] = "simulator"

    trainer: Literal["own", "recbole"] = Field(
        description="What trains simulators of the library: this project's trainer, or RecBole's own, which "
        "is many times slower and starts anew where it was interrupted"
    )
    max_length: int = Field(
        ge=2, description="Items that a simulator reads at most, history and path together"
    )
    epochs: int = Field(ge=1, description="Passes over the training users at most")
    patience: int = Field(ge=1, description="Epochs without a better validation MRR@10 before training stops")
    batch_size: int = Field(ge=1, description="Windows a step")
    learning_rate: float = Field(gt=0, description="Learning rate")
    weight_decay: float = Field(ge=0, description="Weight decay")
    SASRec: SASRecSizes = Field(description="Sizes of SASRec")
    GRU4Rec: GRU4RecSizes = Field(description="Sizes of GRU4Rec")
    BERT4Rec: BERT4RecSizes = Field(description="Sizes and masks of BERT4Rec")
    LightSANs: LightSANsSizes = Field(description="Sizes and prefixes of LightSANs")

    def read_by(self, name: str) -> dict[str, Any]:
        """What the simulator `name` is trained with: all but the groups of other simulators."""
        return {key: value for key, value in self if key == name or not isinstance(value, Settings)}
