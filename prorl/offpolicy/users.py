"""How a log names users."""

import hashlib

from prorl.errors import DataError

HASH_BYTES = 16


def keyed_hash(user: str, key: bytes) -> str:
    """What the log calls a `user`: a hash that only holders of `key` (16 to 64 bytes) can connect with the
    user (BLAKE2, RFC 7693).

    Raises `DataError` for a key of another length.
    """
    if not HASH_BYTES <= len(key) <= hashlib.blake2b.MAX_KEY_SIZE:
        allowed = f"{HASH_BYTES} to {hashlib.blake2b.MAX_KEY_SIZE} bytes"
        raise DataError(f"key of users' hashes: got {len(key)} bytes, allowed: {allowed}")
    return hashlib.blake2b(user.encode(), key=key, digest_size=HASH_BYTES).hexdigest()
