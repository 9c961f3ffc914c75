"""JSON lines on a stream."""

import json
import sys
from collections.abc import Sequence
from typing import TextIO

from echobank.watch.events import Message
from echobank.watch.sinks.sink import EVENTS, ROWS


class LineSink:
    """JSON lines on a stream, by default standard output."""

    remote = False

    def __init__(self, stream: TextIO | None = None, kinds: frozenset[str] = EVENTS | ROWS) -> None:
        self.name, self.kinds = "stdout", kinds
        self._stream = stream or sys.stdout

    def send(self, messages: Sequence[Message]) -> None:
        """Write one line per message."""
        for message in messages:
            self._stream.write(json.dumps(message.to_values(), ensure_ascii=False) + "\n")
        self._stream.flush()

    def mark(self) -> int:
        """Return 0: what was printed stays printed."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: the stream is not this sink's own."""
