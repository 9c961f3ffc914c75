"""The writer: the one thread that changes the database. Waiting changes are committed together, answers follow.

One writer is why SQLite is never locked, and why the numbers of messages are in the order in which they are seen.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from echobank.errors import EchobankError, OutputError

T = TypeVar("T")
_TOGETHER = 256
_FULL = ("database or disk is full", "no space left", "could not extend file", "disk i/o error")


class BusyError(EchobankError):
    """Too many requests are waiting; ask again later."""


class FullError(OutputError):
    """The disk or the quota is full; what is stored can still be read."""


class Writer:
    """Runs changes in order, many per transaction.

    Args:
        engine: The database.
        depth: Changes that may wait.
        committed: Called with a connection after each commit.
    """

    def __init__(
        self, engine: Engine, *, depth: int = 2048, committed: Callable[[Connection], None] = lambda _: None
    ) -> None:
        self._engine, self._committed = engine, committed
        self._waiting: queue.Queue[tuple[Callable[[Connection], Any], Future[Any]] | None] = queue.Queue(depth)
        self._closed = False
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="writer")
        self._thread.start()

    @property
    def depth(self) -> int:
        """Number of waiting changes."""
        return self._waiting.qsize()

    def submit(self, change: Callable[[Connection], T]) -> "Future[T]":
        """Have a change made; the future is done once it is committed.

        Args:
            change: May be called again where a change beside it failed, so it does nothing but talk to the database.

        Raises:
            BusyError: Too many changes are waiting, or the service stops.
        """
        future: Future[T] = Future()
        with self._gate:  # so that nothing comes after the end
            if self._closed:
                raise BusyError("the service is stopping")
            try:
                self._waiting.put_nowait((change, future))
            except queue.Full:
                raise BusyError("too many changes wait", value=self._waiting.maxsize, hint="try again") from None
        return future

    def run(self, change: Callable[[Connection], T]) -> T:
        """Have a change made and return its result once it is committed.

        Raises:
            BusyError: As `submit`.
            FullError: The disk is full.
            OutputError: The database does not answer.
        """
        return self.submit(change).result()

    def close(self) -> None:
        """Make what waits, and stop."""
        with self._gate:
            if not self._closed:
                self._closed = True
                threading.Thread(target=self._waiting.put, args=(None,)).start()  # the queue may be full
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = []
            item = self._waiting.get()
            while item is not None:
                batch.append(item)
                if len(batch) == _TOGETHER:
                    break
                try:
                    item = self._waiting.get_nowait()
                except queue.Empty:
                    break
            ended = item is None
            self._make(batch)
            if batch:
                self._tell()

    def _tell(self) -> None:
        with suppress(DBAPIError), self._engine.connect() as connection:  # the next commit tells what this one did
            self._committed(connection)

    def _make(self, batch: list[tuple[Callable[[Connection], Any], "Future[Any]"]]) -> None:
        """Commit changes together; where one fails, each by itself, so that the others do not suffer."""
        if not batch:
            return
        try:
            results = self._commit([change for change, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(_readable(error))
            else:
                for alone in batch:
                    self._make([alone])
            return
        for (_, future), result in zip(batch, results, strict=True):
            future.set_result(result)

    def _commit(self, changes: list[Callable[[Connection], Any]]) -> list[Any]:
        with self._engine.begin() as connection:
            return [change(connection) for change in changes]


def _readable(error: Exception) -> Exception:
    """Return a failure of the database as an error for people, and any other as it is."""
    if not isinstance(error, DBAPIError):
        return error
    reason = " ".join(str(error.orig).split())
    if any(sign in reason.lower() for sign in _FULL):
        return FullError("the database cannot grow, its disk is full", hint="free space; what is there can be read")
    if isinstance(error, OperationalError | InterfaceError):
        return OutputError(f"the database does not answer ({reason})", hint="try again")
    return error
