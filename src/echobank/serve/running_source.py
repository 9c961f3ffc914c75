"""A running source: one thread that listens or watches for the service, and starts over when that fails."""

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from echobank.errors import EchobankError
from echobank.names import printable
from echobank.serve.declared import DeclaredSource
from echobank.serve.intake import now_ms
from echobank.watch.engine import Watch
from echobank.watch.feeds.feed import Feed
from echobank.watch.feeds.stream_feed import StreamFeed

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds between two starts
_WELL = 60.0  # seconds of work after which the next failure counts as the first
_POLL = 0.5  # seconds between two looks when nothing came
_LONGEST_REST = 60.0
_PASSING = re.compile(r" \([0-9.]+ s, [0-9]+ so far\)")  # what grows in the words of a condition that lasts
RUNNING, TROUBLED, FAILED, STARTING, STOPPED = "running", "trouble", "failed", "starting", "stopped"


@dataclass(frozen=True)
class SourceStatus:
    """Status of a source.

    Attributes:
        state: "starting", "running", "trouble" (it still runs), "failed" (it is started again later), or "stopped".
        troubles: What is wrong.
        since: When the state began, ms since 1970.
        starts: How often it was started.
        pieces: Recordings, or batches of windows, that were judged since the start of the service.
        silence: Seconds since the last recording, or without sound; None where that is not known.
        dropped: Windows of a stream that were dropped because scoring fell behind.
        conditions: What was wrong with the sound so far.
        retry: Seconds until the next start, at the time of the failure; None while it runs.
    """

    state: str = STARTING
    troubles: tuple[str, ...] = ()
    since: int = 0
    starts: int = 0
    pieces: int = 0
    silence: float | None = None
    dropped: int = 0
    conditions: tuple[dict[str, Any], ...] = ()
    retry: float | None = None

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """State and troubles without what changes from second to second."""
        return self.state, tuple(_PASSING.sub("", trouble) for trouble in self.troubles)


@dataclass(frozen=True)
class WatchedFeed:
    """What a source runs: the watch and its feed."""

    watch: Watch
    feed: Feed


@dataclass
class RunningSource:
    """Runs a source in a thread.

    Attributes:
        declared: The source.
        build: Returns its watch, not begun; raises where that cannot be done now.
        tell: Called in the thread whenever the status was looked at.
        status: How it is.
    """

    declared: DeclaredSource
    build: Callable[[DeclaredSource], "WatchedFeed"]
    tell: Callable[["RunningSource"], None]
    status: SourceStatus = field(default_factory=lambda: SourceStatus(since=now_ms()))

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source {self.declared.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop; `join` waits for it."""
        self._ended.set()

    def join(self, seconds: float) -> bool:
        """Wait for its end, and return whether it has ended: what hangs in a network share must not hold up a stop."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while not self._ended.is_set():
            begun = time.monotonic()
            try:
                self._work()
                break
            except EchobankError as error:
                reason = str(error)
            except Exception as error:  # a bug must neither end the others nor pass for silence
                reason = f"a bug in echobank: {' '.join(f'{type(error).__name__}: {error}'.split())}"
            wait = _FIRST_WAIT if time.monotonic() - begun > _WELL else wait
            pause = wait * random.uniform(0.5, 1.0)
            wait = min(2 * wait, _LONGEST_WAIT)
            self._note(FAILED, (reason,), retry=round(pause, 1), silence=None)
            self._ended.wait(pause)
        self._note(STOPPED, ())

    def _work(self) -> None:
        self._note(STARTING, self.status.troubles, starts=self.status.starts + 1)
        watched = self.build(self.declared)
        watch = watched.watch
        try:
            while not self._ended.is_set():
                done = watch.step(partial(self._look, watched, 1))  # looked at after every piece, and then once more
                self._look(watched, 0)
                if not done:
                    self._ended.wait(max(_POLL, min(watch.rest, _LONGEST_REST)))
        finally:
            watch.close()

    def _look(self, watched: "WatchedFeed", done: int) -> bool:
        """Update the status after this many more pieces, and return whether to stop."""
        feed, troubles = watched.feed, watched.watch.troubles
        facts = {"silence": round(feed.silence, 1), "conditions": feed.conditions}
        dropped = feed.capture.dropped if isinstance(feed, StreamFeed) else 0
        state = TROUBLED if troubles else RUNNING
        self._note(state, troubles, pieces=self.status.pieces + done, dropped=dropped, retry=None, **facts)
        return self._ended.is_set()

    def _note(self, state: str, troubles: tuple[str, ...], **facts: Any) -> None:
        since = self.status.since if state == self.status.state else now_ms()
        self.status = replace(self.status, state=state, troubles=tuple(map(printable, troubles)), since=since, **facts)
        self.tell(self)
