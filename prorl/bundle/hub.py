"""Released policies in folders and on the Hugging Face Hub: found, copied and uploaded, file by file."""

import importlib
import re
import shutil
from pathlib import Path
from typing import Any

from prorl.bundle.folder import FILES, SIMULATOR
from prorl.config.section import ConfigError
from prorl.errors import DataError
from prorl.extras import need
from prorl.files import atomic_file

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")  # owner/name; a folder within two others is no such name
PATTERNS = [*FILES, f"{SIMULATOR}/*.json", f"{SIMULATOR}/*.safetensors"]


def local_folder(name: str | Path, revision: str | None) -> Path:
    """The folder `name`, or that of the repository `name` on the hub, downloaded at `revision`.

    Raises `DataError` where there is neither.
    """
    folder = Path(name)
    if folder.is_dir():
        if revision is not None:
            raise ConfigError(
                f"revision: got {revision!r}, allowed: None for a folder on this machine, {name}"
            )
        return folder
    if not (isinstance(name, str) and HUB_NAME.fullmatch(name)):
        raise DataError(f"{name}: no such folder, and no name on the hub, which would be owner/name")
    hub = _hub(f"loading {name!r} from the hub")
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=PATTERNS))
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError) as error:
        told = " ".join(str(error).split())
        raise DataError(f"{name}: no such folder, and not to be had from the hub: {told}") from error


def copy_files(source: Path, folder: Path) -> None:
    """Copy the files of the released policy in `source` into `folder`; each appears whole, others stay."""
    for path in _files(source):
        with atomic_file(folder / path) as temporary:
            shutil.copyfile(source / path, temporary)


def upload(
    source: Path, repo_id: str, *, private: bool | None, token: str | None, revision: str | None, message: str
) -> str:
    """Upload the released policy in `source` to the repository `repo_id`, which is made if missing.

    Gives the URL of the commit.
    """
    hub = _hub("push_to_hub")
    api = hub.HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    done = api.upload_folder(
        repo_id=repo_id,
        folder_path=source,
        allow_patterns=PATTERNS,
        revision=revision,
        commit_message=message,
    )
    return done.commit_url


def _files(source: Path) -> list[Path]:
    paths = [path for pattern in PATTERNS for path in sorted(source.glob(pattern))]
    return [path.relative_to(source) for path in paths]


def _hub(for_what: str) -> Any:
    """The package of the hub, which is imported for `for_what` alone."""
    need("pipeline", for_what)
    return importlib.import_module("huggingface_hub")
