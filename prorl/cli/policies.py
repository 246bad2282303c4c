"""Which released policy a command is about."""

from typing import Annotated

import typer

from prorl.cli import completion

OWN_FILE = "prorl.json"  # in every bundle

Policy = Annotated[
    str | None,
    typer.Option(
        metavar="P",
        help="A released policy: its folder, or its name on the hub. (default: the only one in "
        f"{completion.RELEASED}/)",
        autocompletion=completion.policies,
    ),
]


def chosen(policy: str | None) -> str:
    """`policy`, or else the only released one of the checkout.

    Raises `ConfigError` where there is none, naming those there are where there are several.
    """
    from prorl.config.section import ConfigError

    if policy is not None:
        return policy
    found = sorted(path.parent.as_posix() for path in completion.RELEASED.glob(f"*/*/{OWN_FILE}"))
    if not found:
        raise ConfigError(
            f"--policy: missing, and {completion.RELEASED}/ holds no released policy; `dvc repro release` "
            "makes one"
        )
    if len(found) > 1:
        raise ConfigError(f"--policy: missing, allowed: one of {', '.join(found)}")
    return found[0]
