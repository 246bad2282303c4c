"""Section `profile`: texts of items written by a language model."""

from typing import ClassVar

from pydantic import Field

from prorl.config.causal import CausalSection


class Profile(CausalSection):
    """Texts of items written by a language model, for `embed.texts: profiles`."""

    section: ClassVar[str] = "profile"

    prompt: str = Field(
        description="What is asked of each item, by its {title}, {attributes} and {text}, the profile of "
        "`prepare`"
    )
    new_tokens: int = Field(ge=1, description="Tokens of the longest profile")
