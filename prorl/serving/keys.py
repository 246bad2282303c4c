"""The key of users' hashes: from the environment, or from a file that its owner alone may read."""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from prorl.config.section import ConfigError

KEY_VARIABLE = "PRORL_USER_KEY"
KEY_BYTES = 32
ALLOWED = f"{2 * KEY_BYTES} hexadecimal digits"


def user_key(file: Path) -> bytes:
    """The key from the environment variable PRORL_USER_KEY, else from `file`, which is made where missing.

    Raises `ConfigError` for a key of another form, and for a file that others may read.
    """
    if text := os.environ.get(KEY_VARIABLE):
        return _key(text, KEY_VARIABLE)
    try:
        if not file.exists():
            _make(file)
        with file.open(encoding="ascii", errors="replace") as stream:
            mode, text = stat.S_IMODE(os.fstat(stream.fileno()).st_mode), stream.read(1024)
    except OSError as error:
        raise ConfigError(f"{file}: {error}, allowed: a file for the key of users' hashes") from None
    if mode & 0o077:
        raise ConfigError(f"{file}: mode: got {mode:04o}, allowed: 0600, since it holds a key")
    return _key(text, str(file))


def _make(file: Path) -> None:
    """Write a new key, whole before it has its name, unless another process is first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_hex(KEY_BYTES).encode() + b"\n")
        os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, file)  # unlike a rename, this never replaces another process's key
    finally:
        os.close(descriptor)
        unfinished.unlink()


def _key(text: str, where: str) -> bytes:
    text = text.strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:  # the text may be a key all but its end, so it is not shown
        raise ConfigError(f"{where}: got {len(text)} characters, allowed: {ALLOWED}")
    return key
