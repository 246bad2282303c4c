"""Raw files taken from a local folder or zip, unpacked without trusting the archive."""

import errno
import lzma
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from prorl.errors import DataError

DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error)
MAX_UNPACKED_BYTES = 64 * 2**30  # several times the largest source

FileNames = tuple[tuple[str, ...], ...]  # for each raw file, the names it may have


def find_archive(dataset: str, files: FileNames, folder: Path) -> Path | None:
    """The archive of `dataset` in `folder`, or None if there is none.

    It is the one `<dataset>*.zip` in `folder` or in its folder `<dataset>`, or else that folder itself if
    it holds raw files. Raises `DataError` if there are several zips, or if `folder` does not exist.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; PRORL_ARCHIVES must name one")
    own = folder / dataset
    zips = sorted([*folder.glob(f"{dataset}*.zip"), *own.glob(f"{dataset}*.zip")])
    if len(zips) > 1:
        raise DataError(
            f"{folder}: {len(zips)} archives of {dataset}: {', '.join(map(str, zips))}; allowed: exactly one"
        )
    if zips:
        return zips[0]
    return own if any((own / name).is_file() for names in files for name in names) else None


def take_files(archive: Path, files: FileNames, folder: Path, max_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Put the raw `files` of a folder or zip into `folder`, from whatever folder they have inside the zip.

    Raises `DataError` if a file is missing or found twice, and if the zip is damaged or unsafe. Unsafe are
    a path that is empty, absolute or has `..`, a member that is neither file nor folder, and more than
    `max_bytes` in all.
    """
    if archive.is_dir():
        present = [path.name for path in archive.iterdir() if path.is_file()]
        for name in _chosen(present, files, archive):
            shutil.copyfile(archive / name, folder / name)
        return
    try:
        with zipfile.ZipFile(archive) as zipped:
            _refuse_unsafe(zipped.infolist(), archive, max_bytes)
            members = [member for member in zipped.infolist() if not member.is_dir()]
            names = [PurePosixPath(member.filename).name for member in members]
            for name in _chosen(names, files, archive):
                _unpack(zipped, members[names.index(name)], folder / name, archive)
    except FileNotFoundError:
        raise DataError(f"{archive}: no such file or folder") from None
    except DataError:
        raise
    # Damaged, compressed in an unknown way, encrypted.
    except (*DAMAGED, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise DataError(f"{archive}: not readable as a zip: {error}") from error
    except OSError as error:
        # A place in the file that there is not, or what bzip2 cannot unpack; else a disk that is full.
        if error.errno not in (errno.EINVAL, None):
            raise
        raise DataError(f"{archive}: not readable as a zip: {error}") from error


def _chosen(present: list[str], files: FileNames, archive: Path) -> list[str]:
    """The name under which each of `files` is present.

    Raises `DataError` unless each is present exactly once.
    """
    chosen = []
    for names in files:
        found = [name for name in present if name in names]
        if len(found) != 1:
            wanted = " or ".join(names)
            raise DataError(
                f"{archive}: {len(found)} files named {wanted}, allowed: exactly one; "
                f"the archive holds {sorted(present)[:20]}"
            )
        chosen.append(found[0])
    return chosen


def _refuse_unsafe(members: list[zipfile.ZipInfo], archive: Path, max_bytes: int) -> None:
    for member in members:
        path = PurePosixPath(member.filename)
        if not path.parts:  # of no name, or "."
            raise DataError(f"{archive}: member {member.filename!r}: allowed: a name")
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in path.parts[0]:
            raise DataError(f"{archive}: member {member.filename!r}: allowed: relative paths without '..'")
        kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the zip was not made on Unix
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(
                f"{archive}: member {member.filename!r} is a link or device, allowed: files and folders"
            )
    size = sum(member.file_size for member in members)
    if size > max_bytes:
        raise DataError(f"{archive}: {size} bytes when unpacked, allowed: at most {max_bytes}")


def _unpack(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, archive: Path) -> None:
    """Write one member, but never more bytes than it declares: a zip may lie about its size."""
    left = member.file_size
    with zipped.open(member) as packed, open(path, "wb") as unpacked:
        while block := packed.read(1 << 20):
            left -= len(block)
            if left < 0:
                raise DataError(
                    f"{archive}: member {member.filename!r} is longer "
                    f"than the {member.file_size} bytes it declares"
                )
            unpacked.write(block)
