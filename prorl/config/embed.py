"""Section `embed`: from item profile text to vectors."""

from typing import ClassVar, Literal

from pydantic import Field

from prorl.config.section import Precision, Section, Settings


class EmbeddingImport(Settings):
    """Vectors made elsewhere."""

    vectors: str = Field(description="A `.npy` matrix, a row per item")
    items: str = Field(description="A JSON list of the raw item id of each row")


class Embed(Section):
    """From item profile text to vectors."""

    section: ClassVar[str] = "embed"

    import_: EmbeddingImport | None = Field(
        alias="import", description="Vectors made elsewhere: {vectors: .., items: ..}"
    )
    texts: Literal["prepared", "profiles"] = Field(
        description="Texts that are embedded: those of `prepare`, or those that the stage `profiles` has "
        "written; the same for all data sets"
    )
    model: str = Field(
        description="`all-MiniLM-L6-v2`, which is installed with the project; `lsa`, TF-IDF and truncated "
        "SVD; or a sentence-transformers folder or name, such as Qwen/Qwen3-Embedding-0.6B, which `@` and a "
        "revision may follow: the commit pins what the name stands for"
    )
    dimension: int = Field(ge=1, description="Dimensions of lsa; other models have their own")
    batch_size: int = Field(ge=1, description="Texts embedded at once")
    max_tokens: int = Field(
        ge=1, description="Tokens of a text that are read, or fewer where the model reads fewer"
    )
    precision: Precision = Field(description="Precision of the language model")
