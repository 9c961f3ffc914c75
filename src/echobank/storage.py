"""Files written whole or not at all, and the hashes they are known by."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echobank.errors import OutputError

_BLOCK = 1 << 20


@contextmanager
def atomic_path(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """Provide a temporary path beside `path` that replaces it when the block ends without an error.

    Args:
        path: Where the finished file goes; its folder is made.
        durable: Wait until the bytes are on disk (fsync) before the name changes. Caches that can be made
            again pass False.

    Raises:
        OutputError: The folder cannot be written, or the disk is full. Nothing is left behind.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        wanted = target.with_name(f".{target.name}.{os.urandom(8).hex()}.tmp")
        os.close(os.open(wanted, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less the umask, as any new file
        temporary = wanted
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(target)
        temporary = None
        if durable:
            _sync(target.parent)
    except OSError as error:
        raise OutputError(
            f"cannot write ({error.strerror or error})",
            where=target,
            hint="check that the folder is writable and the disk is not full",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, content: bytes, *, durable: bool = True) -> None:
    """Write `content` to `path` whole or not at all.

    Raises:
        OutputError: As `atomic_path`.
    """
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path | str, content: str) -> None:
    r"""Write UTF-8 text to `path` whole or not at all, with LF line ends on every system.

    A byte of a file name that is not UTF-8 is written as \udcXX, which in JSON is the escape that reads back as it was.

    Raises:
        OutputError: As `atomic_path`.
    """
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys; NaN is refused.

    Raises:
        OutputError: As `atomic_path`.
    """
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def sha256_file(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def stamp_of(path: Path) -> tuple[str, int]:
    """Return the stamp of a file, empty when it is gone, and its time of change in ns."""
    try:
        facts = path.stat()
    except OSError:
        return "", 0
    return stamp_from(facts), facts.st_mtime_ns


def stamp_from(facts: os.stat_result) -> str:
    """Return the stamp of a file, which differs for a later one of the same name: its size and time of change."""
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
