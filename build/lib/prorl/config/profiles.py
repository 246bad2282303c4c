"""Section `profiles`: texts of items written by a language model."""

from typing import ClassVar

from pydantic import Field

from prorl.config.causal import CausalSection


class Profiles(CausalSection):
    """Texts of items written by a language model, for `embed.texts: profiles`."""

    section: ClassVar[str] = "profiles"

    prompt: str = Field(
        description="What is asked of each item, by its {title}, {attributes} and {text}, the profile of "
        "`prepare`"
    )
    new_tokens: int = Field(ge=1, description="Tokens of the longest profile")
