"""Looking up what params.yaml names: an entry of a registry, or an object from outside the library."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prorl.config.section import ConfigError


def names_object(name: str) -> bool:
    """Whether `name` has the form `module:attribute`."""
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), attribute))


def entry(registry: Mapping[str, Any], name: str, key: str) -> Any:
    """What `registry` holds under `name`, or the object that `name` gives as `module:attribute`.

    Such a module is also looked for in the folder that the program was started in. Raises `ConfigError`
    naming `key`, a setting with its file, what was found and what is allowed.
    """
    if name in registry:
        return registry[name]
    return imported(name, key, f"{', '.join(registry)}, or module:attribute")


def imported(name: str, key: str, allowed: str = "module:attribute") -> Any:
    """The object that `name` gives as `module:attribute`; see `entry`."""
    if not names_object(name):
        raise ConfigError(f"{key}: got {name!r}, allowed: {allowed}")
    module, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found = importlib.import_module(module)
    except Exception as error:  # a user's module may raise anything
        cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ConfigError(
            f"{key}: got {name!r}, which cannot be imported: {cause}; allowed: {allowed}"
        ) from error
    if not hasattr(found, attribute):
        raise ConfigError(f"{key}: got {name!r}, but {module} has no {attribute!r}; allowed: {allowed}")
    return getattr(found, attribute)
