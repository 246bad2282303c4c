"""Optional parts of the installation: the extras that pyproject.toml names, and what needs them."""

import importlib.util

from prorl.config.section import ConfigError

# For each extra, packages that nothing but it brings along.
EXTRAS = {
    "pipeline": ("numpy", "pandas", "transformers", "ruamel.yaml", "tqdm", "sklearn", "huggingface_hub"),
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
}


def need(extra: str, for_what: str) -> None:
    """Raise `ConfigError`, in one line, where the `extra` that `for_what` needs is not installed."""
    if not all(_is_there(package) for package in EXTRAS[extra]):
        raise ConfigError(f'{for_what} needs the extra "{extra}": pip install "prorl[{extra}]"')


def need_recbole(for_what: str) -> None:
    """Raise `ConfigError`, in one line, where the extra `pipeline` or RecBole, of whose requirements that has
    the few that are needed, is not installed.
    """
    need("pipeline", for_what)
    if not _is_there("recbole"):
        raise ConfigError(f"{for_what} needs RecBole: pip install --no-deps recbole")


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the package that should hold it is missing
        return False
