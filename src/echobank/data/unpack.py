"""Unpacking a machine's archive: only plain files, only below its own folder, only of a believable size."""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from echobank.errors import DownloadError
from echobank.progress import Progress, silent
from echobank.storage import atomic_path

_MAX_RATIO = 20  # 16-bit recordings shrink by less than 5 times
_MAX_FILES = 100_000
_LITTER = ("__MACOSX", ".DS_Store")


def unpack(archive: Path, folder: Path, progress: Progress = silent) -> None:
    """Unpack an archive of one machine so that its splits lie in `folder`, whatever folders it puts above them.

    Args:
        archive: The zip file.
        folder: Folder of the machine; its name is the machine's.
        progress: Shows how far it is, in files.

    Raises:
        DownloadError: Not a zip file, damaged, or it holds something that does not belong in a data set. In
            the last case nothing is written.
        OutputError: A file cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = list(_members(opened, archive, folder.name))
            for member, name in progress(members, total=len(members), label=f"unpack {folder.name}"):
                target = folder / name
                with (
                    atomic_path(target, durable=False) as temporary,
                    temporary.open("wb") as sink,
                    opened.open(member) as source,
                ):
                    shutil.copyfileobj(source, sink, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DownloadError(f"not a complete zip file ({error})", where=archive, hint="download it again") from error


def _members(opened: zipfile.ZipFile, archive: Path, machine: str) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Yield the files of an archive and their names below the machine's folder, after checking them all."""
    entries = [item for item in opened.infolist() if not item.is_dir()]
    total = sum(item.file_size for item in entries)
    if len(entries) > _MAX_FILES or total > _MAX_RATIO * archive.stat().st_size:
        raise _unsafe(f"{len(entries)} files of {total} bytes in all is too much", archive)
    kept = []
    for item in entries:
        path = PurePosixPath(item.filename)
        if path.is_absolute() or ".." in path.parts or any(mark in item.filename for mark in "\\:\0"):
            raise _unsafe(f"{item.filename!r} points outside its folder", archive)
        if stat.S_IFMT(item.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _unsafe(f"{item.filename!r} is not a plain file", archive)
        if not set(_LITTER) & set(path.parts):
            parts = path.parts[path.parts.index(machine) + 1 :] if machine in path.parts[:-1] else path.parts
            kept.append((item, PurePosixPath(*parts)))
    yield from kept


def _unsafe(what: str, archive: Path) -> DownloadError:
    return DownloadError(f"not unpacked, {what}", where=archive, hint="this is not an archive of the data set")
