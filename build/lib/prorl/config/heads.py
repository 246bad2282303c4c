"""The settings outside sections."""

import re
from typing import Self

from pydantic import Field, model_validator

from prorl.config.section import Refused, Settings

POLICIES = ("pretrained", "prorl")  # the pipeline's own: what fine-tuning starts from, and what it gives
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # of folders and stages, and safe in a shell


class Heads(Settings):
    """The settings outside sections."""

    seed: int = Field(description="Seed of everything random")
    training_seed: int | None = Field(
        description="Seed of pretrain, finetune and the fitting of guides alone, whose data, simulators and "
        "prompts stay those of `seed`; null is `seed`"
    )
    launch: str = Field(
        description="What starts training and embedding stages: python, or such as `accelerate launch "
        "--num_processes 4`"
    )
    datasets: list[str] = Field(description="Data sets that the pipeline runs for")
    simulators: list[str] = Field(description="Simulators that are trained; the first ranks harder targets")
    guides: list[str] = Field(
        description="Guides that are evaluated beside the two policies; `guide` has the settings of each. "
        "Rows of experiments that name none are evaluated with the first alone"
    )

    @model_validator(mode="after")
    def _names_are_plain(self) -> Self:
        for key, one in (("datasets", "data set"), ("simulators", "simulator"), ("guides", "guide")):
            names = getattr(self, key)
            if not names:
                raise Refused(key, "an empty list", f"at least one {one}")
            for i, name in enumerate(names):
                if not PLAIN_NAME.fullmatch(name):
                    allowed = "letters, digits, - and _, of which the first is a letter or a digit"
                    raise Refused(f"{key}[{i}]", repr(name), allowed)
                if name in names[:i]:
                    raise Refused(f"{key}[{i}]", repr(name), "each name once")
                if key == "guides" and name in POLICIES:
                    raise Refused(f"{key}[{i}]", repr(name), "a name that is no policy of the pipeline")
        return self
