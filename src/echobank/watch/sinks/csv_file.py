"""A CSV file that grows, with every row exactly once."""

import csv
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from echobank.machines.verdict import COLUMNS
from echobank.watch.events import Message
from echobank.watch.sinks.sink import ROWS, SinkError, digest

CSV_COLUMNS = ("id", "kind", "machine", "time", "file_time", "event", *COLUMNS)


class CsvSink:
    """A CSV file that grows; every row exactly once, since a restart cuts off rows that were not yet marked."""

    remote = False

    def __init__(self, path: Path | str, kinds: frozenset[str] = ROWS) -> None:
        self.path, self.kinds = Path(path), kinds
        self.name = f"csv-{self.path.name}-{digest(str(self.path.resolve()))}"

    def send(self, messages: Sequence[Message]) -> None:
        """Append one row per message, all or none, and wait for the disk: the cursor must not be ahead of the rows."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as stream:
                size = stream.tell()
                rows = memoryview(_csv_rows(messages, header=size == 0))
                try:
                    while rows:
                        rows = rows[stream.write(rows) :]
                    os.fsync(stream.fileno())
                except OSError:
                    with suppress(OSError):
                        stream.truncate(size)
                    raise
        except OSError as error:
            raise SinkError(f"cannot write ({error.strerror})", where=self.path) from error

    def mark(self) -> int:
        """Return the size of the file in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def rewind(self, mark: int) -> None:
        """Cut the file back to its size at a mark; one that was replaced or edited meanwhile is left alone."""
        if self.mark() <= mark:
            return
        try:
            with self.path.open("r+b") as stream:
                stream.seek(max(mark - 1, 0))
                if mark == 0 or stream.read(1) == b"\n":
                    stream.truncate(mark)
        except OSError as error:
            raise SinkError(f"cannot write ({error.strerror})", where=self.path) from error

    def close(self) -> None:
        """Do nothing: the file is opened for each write."""


def _csv_rows(messages: Sequence[Message], *, header: bool) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(message.to_values() for message in messages)
    return text.getvalue().encode("utf-8", "backslashreplace")
