"""Downloads that can be interrupted and continued."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from prorl.errors import DataError
from prorl.runtime import progress

BLOCK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60


def download(url: str, path: Path, every_seconds: float) -> None:
    """Download `url` to `path`, and report progress every `every_seconds`.

    An earlier attempt's `<path>.partial` is continued if the server still can. Raises `DataError` if the
    server refuses or the connection ends early; the next attempt then continues from what has arrived.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, version = path.with_name(path.name + ".partial"), path.with_name(path.name + ".version")
    done = partial.stat().st_size if partial.exists() else 0
    request = Request(url, headers={"Accept-Encoding": "identity"})
    if done:
        request.add_header("Range", f"bytes={done}-")
        if version.exists():  # the server then sends the whole file if it has changed
            request.add_header("If-Range", version.read_text())
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # https  # nosec B310
            if response.status != http.client.PARTIAL_CONTENT:
                done = 0
                _note_version(response, version)
            _receive(response, partial, done, every_seconds)
    except HTTPError as error:
        out_of_range = error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE
        total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        if not (out_of_range and total == str(done)):  # else the earlier attempt had the whole file
            if out_of_range:
                partial.unlink()
            raise DataError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (URLError, OSError, http.client.HTTPException) as error:
        kept = f"; what has arrived is in {partial}, run again to continue" if partial.exists() else ""
        raise DataError(f"{url}: {error}{kept}") from error
    version.unlink(missing_ok=True)
    partial.replace(path)


def _note_version(response: http.client.HTTPResponse, path: Path) -> None:
    """Write to `path` what identifies the file's version on the server.

    A weak tag does not identify it, and may not be sent with a range.
    """
    tag = response.headers.get("ETag") or ""
    text = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
    if text:
        path.write_text(text)
    else:
        path.unlink(missing_ok=True)


def _receive(response: http.client.HTTPResponse, partial: Path, done: int, every_seconds: float) -> None:
    """Append the response to `partial` after its first `done` bytes.

    Raises `OSError` if fewer bytes arrive than announced.
    """
    announced = response.headers.get("Content-Length")
    total = done + int(announced) if announced is not None else None
    blocks = progress(
        _blocks(response),
        description=partial.name.removesuffix(".partial"),
        unit="MiB",
        every_seconds=every_seconds,
        total=None if total is None else -(-total // BLOCK_BYTES),
        initial=done // BLOCK_BYTES,
    )
    with open(partial, "ab") as stream:
        stream.truncate(done)
        for block in blocks:
            stream.write(block)
        arrived = stream.tell()
    if total is not None and arrived != total:
        raise OSError(f"the connection ended after {arrived} of {total} bytes")


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while block := response.read(BLOCK_BYTES):
        yield block
