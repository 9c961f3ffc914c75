"""The service's database as a sink of `watch` and `listen`: the outbox brings each message until it is committed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from echobank.errors import EchobankError
from echobank.serve.intake import enrol, take_messages
from echobank.serve.writer import Writer
from echobank.watch.events import Message
from echobank.watch.sinks.sink import EVENTS, ROWS, SinkError

if TYPE_CHECKING:
    from sqlalchemy import Connection

EVERYTHING = EVENTS | ROWS


class DatabaseSink:
    """Hands messages to the writer and waits for the commit; ids that are there already change nothing.

    Args:
        writer: The writer.
        machine: Name of the machine.
        kinds: Kinds of messages that it wants.
        revision: Returns the revision of the bank in force, for what comes in the moment.
    """

    remote = True  # the writer may be busy with others for a while

    def __init__(
        self,
        writer: Writer,
        machine: str,
        kinds: frozenset[str] = EVERYTHING,
        revision: Callable[[], int] = lambda: 0,
    ) -> None:
        self._writer, self._machine, self.kinds, self._revision = writer, machine, kinds, revision
        self.name = "database"

    def send(self, messages: Sequence[Message]) -> None:
        """Store messages in one transaction."""
        try:
            change = partial(_store, machine=self._machine, messages=messages, revision=self._revision())
            self._writer.run(change)
        except EchobankError as error:
            raise SinkError(f"the database did not take a message ({error.what})") from error

    def mark(self) -> int:
        """Return 0: what is committed stays."""
        return 0

    def rewind(self, mark: int) -> None:
        """Do nothing: ids that come again are known."""

    def close(self) -> None:
        """Do nothing: the writer belongs to the service."""


def _store(connection: "Connection", machine: str, messages: Sequence[Message], revision: int) -> int:
    return take_messages(connection, messages, enrol(connection, machine), revision=revision)
