"""The journal: an append-only file of JSON lines that survives being killed at any byte.

A line counts once its line end is on disk; a torn last line is cut off when the journal is opened again. One program
writes a journal at a time; the system frees the lock of one that was killed.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from echobank.errors import InputError, OutputError
from echobank.storage import write_bytes

_SYNC_SECONDS = 1.0  # a power cut may cost the work of one second; a killed process costs none
_BLOCK = 1 << 16


class Journal:
    """Appends records to a file; opening it first cuts off a torn line.

    Args:
        path: The file; its folder is made.
        durable: True waits for the disk (fsync) after every record, False at most once a second.

    Raises:
        OutputError: The file cannot be written, or another program is writing it.
    """

    def __init__(self, path: Path | str, *, durable: bool = False) -> None:
        self.path = Path(path)
        self._every = 0.0 if durable else _SYNC_SECONDS
        self._synced = time.monotonic()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._hold()
        except OSError as error:
            raise self._refused(error) from error
        try:
            self._stream = self.path.open("ab", buffering=0)  # a buffer would write a refused line again on close
            self._end = _whole_bytes(self.path)
            self._stream.truncate(self._end)
        except OSError as error:
            self._let_go()
            raise self._refused(error) from error

    def append(self, record: dict[str, Any]) -> None:
        """Write one record, or nothing.

        Raises:
            OutputError: The disk is full or gone.
        """
        self.append_all([record])

    def append_all(self, records: Iterable[dict[str, Any]]) -> None:
        """Write records in one piece, or none of them.

        Raises:
            OutputError: The disk is full or gone.
        """
        line = b"".join(map(_line, records))
        try:
            left = memoryview(line)
            while left:
                left = left[self._stream.write(left) :]
            if time.monotonic() - self._synced >= self._every:
                os.fsync(self._stream.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            with suppress(OSError):
                self._stream.truncate(self._end)
            raise self._refused(error) from error
        self._end += len(line)

    def replace(self, content: bytes) -> None:
        """Replace everything that was written, in one step.

        Raises:
            OutputError: The disk is full or gone; then all is as before.
        """
        write_bytes(self.path, content)
        before = self._stream
        try:
            self._stream = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._refused(error) from error
        self._end = len(content)
        before.close()

    def close(self) -> None:
        """Wait for the disk and close the file."""
        if not self._stream.closed:
            with suppress(OSError):  # every record that was asked to be durable is
                os.fsync(self._stream.fileno())
            self._stream.close()
            self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hold(self) -> FileLock:
        """Lock the journal by a file beside it, before it is opened: its last writer may just have removed it."""
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError("another program is writing the journal", where=self.path) from error
        except NotImplementedError:  # a file system without locks
            pass
        return lock

    def _let_go(self) -> None:
        if self._lock.is_locked:
            with suppress(OSError):  # Windows keeps a file that is open
                Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()

    def _refused(self, error: OSError) -> OutputError:
        hint = "check that the folder is writable and the disk is not full"
        return OutputError(f"cannot write the journal ({error.strerror or error})", where=self.path, hint=hint)


def read_journal(path: Path | str, *, start: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (offset after the record, record) of every whole record from a byte offset on; no file yields nothing.

    Raises:
        InputError: A whole line is not a JSON object: the file is not a journal, or damaged in the middle.
    """
    path = Path(path)
    if not path.exists():
        return
    offset = start
    with path.open("rb") as stream:
        stream.seek(start)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                record = json.loads(line.decode("utf-8", "surrogatepass"))
            except ValueError as error:
                raise _damaged(path, offset) from error
            if not isinstance(record, dict):
                raise _damaged(path, offset)
            yield offset, record


def _line(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"
    return text.encode("utf-8", "surrogatepass")


def _whole_bytes(path: Path) -> int:
    """Return how many bytes of a file lie before the end of its last whole line."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        end = size
        while end > 0:
            start = max(0, end - _BLOCK)
            stream.seek(start)
            position = stream.read(end - start).rfind(b"\n")
            if position >= 0:
                return start + position + 1
            end = start
    return 0


def _damaged(path: Path, offset: int) -> InputError:
    return InputError(
        "not a journal, or a damaged one", value=f"before byte {offset}", where=path, hint="remove it to start afresh"
    )
