"""Section `quantize`: from vectors to semantic IDs."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Section, Settings


class RQVAE(Settings):
    """Sizes and training of the residual-quantised autoencoder."""

    hidden_sizes: list[Annotated[int, Field(ge=1)]] = Field(description="Widths of the encoder's layers")
    latent_size: int = Field(ge=1, description="Dimensions that are quantised")
    commitment: float = Field(ge=0, description="Weight of the commitment loss")
    steps: int = Field(ge=1, description="Optimiser steps")
    batch_size: int = Field(ge=1, description="Items a step")
    learning_rate: float = Field(gt=0, description="Learning rate")


class Quantize(Section):
    """From vectors to semantic IDs."""

    section: ClassVar[str] = "quantize"

    import_: str | None = Field(
        alias="import", description="Codes made elsewhere instead: a JSON file, raw item id -> codes"
    )
    datamaps: str | None = Field(
        description="Of codes whose ids are internal ones, as of released Amazon books: the released "
        ".datamaps file whose `id2item` leads to raw item ids; null: their ids are raw"
    )
    method: str = Field(
        description="Quantiser: rq_kmeans, residual k-means, or rq_vae, a residual autoencoder"
    )
    n_codebooks: int = Field(ge=1, description="Levels of the quantiser")
    codebook_size: int = Field(ge=2, le=4096, description="Codes of each level")
    expand_final: bool = Field(
        description="Whether a last code is added that tells apart items with the same codes"
    )
    balanced: bool = Field(
        description="Whether the last codebook tells items with the same leading codes apart, where nearness "
        "alone would not"
    )
    n_restarts: int = Field(ge=1, description="Restarts of each k-means")
    minibatch_above: int = Field(
        ge=1,
        description="Items above which method rq_kmeans reads their vectors part by part: each k-means is "
        "fitted to a sample, then moved by random batches of all",
    )
    rq_vae: RQVAE = Field(description="Settings of method rq_vae")

    @model_validator(mode="after")
    def _ids_have_levels(self) -> Self:
        """A policy writes at least two tokens per item."""
        if self.n_codebooks + self.expand_final < 2:
            raise Refused("n_codebooks", self.n_codebooks, "at least 2 where quantize.expand_final is false")
        return self
