"""JSON lines on a stream."""

import sys
from collections.abc import Sequence
from typing import TextIO

from echobank.names import to_json
from echobank.watch.events import Message
from echobank.watch.sinks.sink import EVENTS, ROWS


class LineSink:
    """JSON lines on a stream, by default standard output."""

    remote = False

    def __init__(self, stream: TextIO | None = None, kinds: frozenset[str] = EVENTS | ROWS) -> None:
        self.name, self.kinds = "stdout", kinds
        self._stream = stream or sys.stdout
        self._encoding = getattr(self._stream, "encoding", None) or "utf-8"

    def send(self, messages: Sequence[Message]) -> None:
        """Write one line per message."""
        for message in messages:
            self._stream.write(to_json(message.to_values(), self._encoding) + "\n")
        self._stream.flush()

    def mark(self) -> int:
        """Return 0: what was printed stays printed."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: the stream is not this sink's own."""
