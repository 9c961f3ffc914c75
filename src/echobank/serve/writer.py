"""The writer: the one thread that changes the database. Waiting changes are committed together, answers follow.

One writer is why SQLite is never locked, and why the numbers of messages are in the order in which they are seen.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from echobank.errors import EchobankError, OutputError

T = TypeVar("T")
U = TypeVar("U")
_TOGETHER = 256
_GATHER_SECONDS = 0.0003  # a commit to an SSD took 0.0005
_FULL = ("database or disk is full", "no space left", "could not extend file", "disk i/o error")


class BusyError(EchobankError):
    """Too many requests are waiting; ask again later."""


class FullError(OutputError):
    """The disk or the quota is full; what is stored can still be read."""


@dataclass(frozen=True)
class _Waiting:
    """Something to be stored.

    Attributes:
        store: Stores it and others that wait for the same; returns a result for each.
        item: What it is.
        future: Done once it is committed; of a thread, or of a loop.
    """

    store: Callable[[Connection, list[Any]], list[Any]]
    item: Any
    future: "Future[Any] | asyncio.Future[Any]"


class Writer:
    """Runs changes in order, many per transaction.

    Args:
        engine: The database.
        depth: Changes that may wait.
        witness: Called with the connection before each commit; what it returns is called after it.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        depth: int = 2048,
        witness: Callable[[Connection], Callable[[], None]] = lambda _: lambda: None,
    ) -> None:
        self._engine, self._witness = engine, witness
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._depth = depth
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
        return self.submit_item(_one_by_one, change)

    def submit_item(self, store: Callable[[Connection, list[U]], list[T]], item: U) -> "Future[T]":
        """Have something stored, together with what waits for the same function.

        Args:
            store: Stores items, in order, and returns a result for each; as a change, it may be called again.
            item: The item.

        Raises:
            BusyError: As `submit`.
        """
        future: Future[T] = Future()
        self._put(_Waiting(store, item, future))
        return future

    async def made(self, change: Callable[[Connection], T]) -> T:
        """Have a change made as by `run`, for coroutines."""
        return await self.stored(_one_by_one, change)

    async def stored(self, store: Callable[[Connection, list[U]], list[T]], item: U) -> T:
        """Have something stored as by `submit_item`, and return its result; one call wakes all who wait for a commit.

        Raises:
            BusyError: As `submit`.
            FullError: As `run`.
            OutputError: As `run`.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(_Waiting(store, item, future))
        return await future

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
                self._waiting.put(None)
        self._thread.join()

    def _put(self, waiting: _Waiting) -> None:
        with self._gate:  # so that nothing comes after the end
            if self._closed:
                raise BusyError("the service is stopping")
            if self._waiting.qsize() >= self._depth:
                raise BusyError("too many changes wait", value=self._depth, hint="try again")
            self._waiting.put(waiting)

    def _run(self) -> None:
        ended, together = False, 0
        while not ended:
            batch = []
            item = self._waiting.get()
            if together > 1:
                time.sleep(_GATHER_SECONDS)  # most who waited for the last commit are about to come again
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
            together = len(batch)

    def _make(self, batch: list[_Waiting]) -> None:
        """Commit changes together; where one fails, each by itself, so that the others do not suffer."""
        if not batch:
            return
        try:
            results, tell = self._commit(batch)
        except Exception as error:
            if len(batch) == 1:
                _deliver(batch, [_readable(error)])
            else:
                for alone in batch:
                    self._make([alone])
            return
        _deliver(batch, results)
        tell()  # after the try: what is committed must not be made again because telling of it failed

    def _commit(self, batch: list[_Waiting]) -> tuple[list[Any], Callable[[], None]]:
        results = list[Any]()
        with self._engine.begin() as connection:
            for store, alike in groupby(batch, key=lambda waiting: waiting.store):
                results += store(connection, [waiting.item for waiting in alike])
            tell = self._witness(connection)
        return results, tell


def _one_by_one(connection: Connection, changes: list[Callable[[Connection], T]]) -> list[T]:
    return [change(connection) for change in changes]


def _deliver(batch: list[_Waiting], outcomes: list[Any]) -> None:
    """Hand over results or errors: a thread's at once, those of a loop in one call."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if isinstance(waiting.future, asyncio.Future):
            loops.setdefault(waiting.future.get_loop(), []).append((waiting.future, outcome))
        else:
            _wake([(waiting.future, outcome)])
    for loop, pairs in loops.items():
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(_wake, pairs)


def _wake(pairs: Sequence[tuple["Future[Any] | asyncio.Future[Any]", Any]]) -> None:
    for future, outcome in pairs:
        if future.done():  # who waited is gone
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


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
