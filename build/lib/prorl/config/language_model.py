"""Section `language_model`: verdicts of a language model on which item may follow which."""

from typing import ClassVar

from pydantic import Field

from prorl.config.causal import CausalSection


class LanguageModel(CausalSection):
    """Verdicts of a language model on which item may follow which, for `mine.feasibility: language_model`."""

    section: ClassVar[str] = "language_model"

    prompt: str = Field(
        description="What is asked of each pair; {item} and {next} have the fields title, attributes and text"
    )
    yes: str = Field(min_length=1, description="The answer that makes a transition feasible")
    no: str = Field(min_length=1, description="The other answer")
    margin: float = Field(description="Nats by which the log-probability of `yes` must exceed that of `no`")
