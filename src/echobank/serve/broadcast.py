"""Broadcast: committed messages, in order, to every listener; one that was away gets what it missed."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, func, select

from echobank.serve.schema import messages

_KEPT = 4096  # messages in memory; whoever missed more is served from the database
_AT_ONCE = 500


@dataclass(frozen=True)
class Announcement:
    """A message with its number.

    Attributes:
        sequence: Its number, larger than that of every message before.
        kind: Kind of the message.
        body: `to_values` of the message.
    """

    sequence: int
    kind: str
    body: dict[str, Any]


class Broadcast:
    """Holds the last messages and wakes those who wait for more.

    Args:
        engine: The database, for those who missed more than is held.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._recent: deque[Announcement] = deque(maxlen=_KEPT)
        self._gate, self.closed, self.listeners = threading.Lock(), False, 0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        with engine.connect() as connection:
            self.last: int = connection.execute(select(func.max(messages.c.sequence))).scalar() or 0
        self._from = self.last

    def catch_up(self, connection: Connection) -> Callable[[], None]:
        """Read what the writer is about to commit, and return what tells it to those who wait once it is."""
        fresh: deque[Announcement] = deque(maxlen=_KEPT)
        last, full = self.last, True
        while full and (page := _after(connection, last)):
            fresh.extend(page)
            last, full = page[-1].sequence, len(page) == _AT_ONCE
        return partial(self._take, fresh)

    def _take(self, fresh: Sequence[Announcement]) -> None:
        if not fresh:
            return
        with self._gate:
            self._recent.extend(fresh)
            self._from = self._recent[0].sequence - 1 if len(self._recent) == _KEPT else self._from
            self.last = fresh[-1].sequence
        self._wake()

    def close(self) -> None:
        """End every stream."""
        self.closed = True
        self._wake()

    async def follow(self, last: int | None, beat: float = 15.0) -> AsyncIterator[Announcement | None]:
        """Yield messages after a number, for ever; None when nothing came for `beat` seconds.

        Args:
            last: Number of the last message that is known; None for only what comes from now on.
            beat: Seconds.
        """
        known = self.last if last is None else last
        arrived = asyncio.Event()
        entry = (asyncio.get_running_loop(), arrived)
        self._waiting.add(entry)
        self.listeners += 1
        try:
            while not self.closed:
                arrived.clear()
                fresh = self._held(known)
                if fresh is None:
                    fresh = await asyncio.to_thread(self._stored, known)
                for announcement in fresh:
                    known = announcement.sequence
                    yield announcement
                if fresh or self.closed:
                    continue
                try:
                    await asyncio.wait_for(arrived.wait(), beat)
                except TimeoutError:
                    yield None
        finally:
            self.listeners -= 1
            self._waiting.discard(entry)

    def _held(self, known: int) -> list[Announcement] | None:
        """Return what came after a number, or None where that is no longer in memory."""
        with self._gate:
            if known < self._from:
                return None
            fresh: list[Announcement] = []
            for announcement in reversed(self._recent):
                if announcement.sequence <= known:
                    break
                fresh.append(announcement)
            return fresh[::-1]

    def _stored(self, known: int) -> list[Announcement]:
        with self._engine.connect() as connection:
            return _after(connection, known)

    def _wake(self) -> None:
        for loop, arrived in list(self._waiting):
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(arrived.set)


_NEWER = (  # made once, since making a statement costs more than running it
    select(messages.c.sequence, messages.c.kind, messages.c.body)
    .where(messages.c.sequence > bindparam("known"))
    .order_by(messages.c.sequence)
    .limit(_AT_ONCE)
)


def _after(connection: Connection, sequence: int) -> list[Announcement]:
    rows = connection.execute(_NEWER, {"known": sequence})
    return [Announcement(row.sequence, row.kind, row.body) for row in rows]
