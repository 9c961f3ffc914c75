"""A sink: a place that messages go to. `send` returns when the other side has taken the messages, and raises when not.

Troubles name the host alone: a path or query of a webhook is often a secret, and troubles are told to other sinks.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from echobank.errors import EchobankError
from echobank.watch.events import Message

EVENTS = frozenset({"open", "close", "error", "heartbeat"})
ROWS = frozenset({"open", "close", "error", "score"})


class SinkError(EchobankError):
    """A sink did not take a message; it is sent again later."""


class Sink(Protocol):
    """A place that messages go to.

    Attributes:
        name: Short name, unique among the sinks of a watch; the key of what is already delivered.
        kinds: Kinds of messages that it wants.
        remote: Whether it lies behind a network, and may take its time.
    """

    name: str
    kinds: frozenset[str]
    remote: bool

    def send(self, messages: Sequence[Message]) -> None:
        """Deliver messages in order.

        Raises:
            SinkError: Not all of them were taken for certain.
        """
        ...

    def mark(self) -> int:
        """Return a position that `rewind` goes back to."""
        ...

    def rewind(self, mark: int) -> None:
        """Take back what was sent after a mark, where that is possible: a restart then doubles nothing."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def digest(text: str) -> str:
    """Return eight signs that tell two addresses apart, and give away neither."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]
