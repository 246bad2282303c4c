"""Sections of the stages from raw logs to semantic IDs."""

from dataclasses import dataclass, field
from typing import Literal

from prorl.config.fields import Precision, setting


@dataclass(frozen=True)
class Fetch:
    """Where the raw files of a data set come from."""

    source: str | None
    archive: str | None


@dataclass(frozen=True)
class Tabular:
    """Columns of a user's own tables: canonical name -> name in the file, null where the file has no such
    column.
    """

    interactions: dict[str, str]
    items: dict[str, str | None]
    separator: str


@dataclass(frozen=True)
class Prepare:
    """From raw logs to canonical tables."""

    min_user_interactions: int = setting(at_least=1)
    min_item_interactions: int = setting(at_least=1)
    split: list[float] = setting(above=0)
    attributes: list[str] = field()
    profile: list[str] = field()
    profiles: str | None = field()
    tabular: Tabular = field()


@dataclass(frozen=True)
class Mine:
    """From interactions to instances."""

    import_: str | None
    history_length: int = setting(at_least=1)
    min_run: int = setting(at_least=2)
    max_run: int = setting(at_least=2)
    ignored_attributes: list[str] = field()


@dataclass(frozen=True)
class EmbeddingImport:
    """Vectors made elsewhere: a `.npy` matrix, and a JSON list of the raw item id of each of its rows."""

    vectors: str
    items: str


@dataclass(frozen=True)
class Embed:
    """From item profile text to vectors."""

    import_: EmbeddingImport | None
    model: str
    dimension: int = setting(at_least=1)
    batch_size: int = setting(at_least=1)
    max_tokens: int = setting(at_least=1)
    precision: Precision = field()


@dataclass(frozen=True)
class Reduce:
    """Principal components of the embeddings."""

    dimension: int = setting(at_least=1)
    whiten: bool = field()


@dataclass(frozen=True)
class RQVAE:
    """Sizes and training of the residual-quantised autoencoder."""

    hidden_sizes: list[int] = setting(at_least=1)
    latent_size: int = setting(at_least=1)
    commitment: float = setting(at_least=0)
    steps: int = setting(at_least=1)
    batch_size: int = setting(at_least=1)
    learning_rate: float = setting(above=0)


@dataclass(frozen=True)
class Quantize:
    """From vectors to semantic IDs."""

    import_: str | None
    method: Literal["rq_kmeans", "rq_vae"]
    n_codebooks: int = setting(at_least=1)
    codebook_size: int = setting(at_least=2, at_most=4096)
    expand_final: bool = field()
    balanced: bool = field()
    n_restarts: int = setting(at_least=1)
    rq_vae: RQVAE = field()
