"""The command `prorl`: one module for each command or group of them."""

from prorl.cli.app import main

__all__ = ["main"]
