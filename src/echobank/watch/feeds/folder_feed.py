"""A folder as a feed: which files of it are new and finished, and what is heard in them.

A file is finished when its size and time of change have stayed the same for a while. The time is measured by a
monotonic clock; times of files are compared for equality only, so no wall clock can mislead.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echobank.data.audio import refused_by_system
from echobank.data.folder import LeftOut, recordings_in
from echobank.errors import InputError
from echobank.machines.listener import Heard, Listener
from echobank.storage import stamp_from, stamp_of
from echobank.watch.feeds.feed import Arrival

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0  # seconds until a file that the system refused is tried again
_REST = 9.0  # a look is followed by a rest of this many times its length: in huge folders it takes a tenth of the time


@dataclass(frozen=True)
class Landed:
    """A finished file.

    Attributes:
        name: Relative to the folder.
        stamp: Distinguishes it from a later file of the same name.
        time: When it was last changed, by the clock of whoever wrote it, ISO 8601.
    """

    name: str
    stamp: str
    time: str = ""


class Landing:
    """Watches a folder tree by looking at it, which works on network shares too.

    Args:
        folder: The folder.
        settle: Seconds that a file must stay the same.
        clock: A monotonic clock, seconds.
    """

    def __init__(self, folder: Path, settle: float, clock: Callable[[], float]) -> None:
        self.folder = folder
        self.present, self.took = True, 0.0
        self.left_out = LeftOut()
        self._settle, self._clock = settle, clock
        self._changing: dict[str, tuple[str, float]] = {}

    def look(self, seen: Mapping[str, str]) -> list[Landed]:
        """Return the finished files whose name and stamp are not in `seen`, oldest first.

        A folder that is gone gives nothing and sets `present` to False; what was changing starts over.
        """
        now = self._clock()
        changing: dict[str, tuple[str, float]] = {}
        finished: list[tuple[int, str, str]] = []
        self.present = _is_folder(self.folder)
        for name, stamp, changed in self._scan() if self.present else ():
            if seen.get(name) == stamp:
                continue
            before, since = self._changing.get(name, ("", now))
            since = since if before == stamp else now
            if now - since >= self._settle:
                finished.append((changed, name, stamp))
            else:
                changing[name] = (stamp, since)
        self._changing = changing
        self.took = self._clock() - now
        return [Landed(name, stamp, _iso(changed)) for changed, name, stamp in sorted(finished)]

    @property
    def waiting(self) -> int:
        """How many files were not finished at the last look."""
        return len(self._changing)

    def again(self, name: str) -> None:
        """Wait for a file to settle once more: it changed while it was read."""
        self._changing[name] = ("", self._clock())

    def stamps(self) -> dict[str, str]:
        """Return the stamp of every recording that is there now, by name."""
        return {name: stamp for name, stamp, _ in self._scan()}

    def _scan(self) -> Iterator[tuple[str, str, int]]:
        """Yield (name, stamp, time of change in ns) of every recording, and note what is passed over."""
        self.left_out = LeftOut()
        for name, facts in recordings_in(self.folder, left_out=self.left_out):
            yield name, stamp_from(facts), facts.st_mtime_ns


@dataclass(frozen=True)
class _Refused:
    """A recording that the system refused to read: why, when it is tried again, and how long the wait was."""

    reason: str
    next_try: float
    wait: float


class FolderFeed:
    """A folder in which recordings land.

    Args:
        folder: The folder.
        settle: Seconds that a file must stay the same before it is read.
        clock: A monotonic clock, seconds.

    Raises:
        InputError: The folder is not there.
    """

    def __init__(self, folder: Path, settle: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not _is_folder(folder):
            raise InputError("no such folder", where=folder)
        self.landing = Landing(folder, settle, clock)
        self._clock = clock
        self._refused: dict[str, _Refused] = {}
        newest = max((facts.st_mtime for _, facts in recordings_in(folder)), default=time.time())
        self._last = clock() - max(0.0, time.time() - newest)

    @property
    def identity(self) -> Mapping[str, str]:
        """The folder."""
        return {"folder": str(self.landing.folder.resolve())}

    @property
    def title(self) -> str:
        """The folder in a sentence."""
        return f"in {self.landing.folder}"

    @property
    def troubles(self) -> tuple[str, ...]:
        """A folder that is gone, folders that cannot be listed, recordings that the system refuses to read."""
        if not self.landing.present:
            return (f"{self.landing.folder}: the folder is gone",)
        return (*self.landing.left_out.troubles, *(refused.reason for refused in self._refused.values()))

    @property
    def left_out(self) -> tuple[str, ...]:
        """What lay in the folder at the last look and is no recording that can be read, one sentence per kind."""
        return self.landing.left_out.kind_lines

    @property
    def conditions(self) -> tuple[dict[str, Any], ...]:
        """None: what is wrong with a recording is among its flags."""
        return ()

    @property
    def silence(self) -> float:
        """Age of the last recording, seconds; without one, since the watch began."""
        return max(0.0, self._clock() - self._last)

    @property
    def idle(self) -> bool:
        """Whether every file was finished at the last look."""
        return not self.landing.waiting

    @property
    def ended(self) -> bool:
        """Never: recordings may land for ever."""
        return False

    @property
    def rest(self) -> float:
        """Least time to wait before the next poll, seconds."""
        return _REST * self.landing.took

    def arrivals(self, listener: Listener, seen: Mapping[str, str]) -> Iterator[Arrival]:
        """Yield the finished recordings that are not in `seen`, oldest first.

        One that the system refuses to read is reported once and retried until it can be read, has changed or is gone.
        """
        finished = self.landing.look(seen)
        here = {landed.name for landed in finished}
        self._refused = {name: refused for name, refused in self._refused.items() if name in here}
        now = self._clock()
        due = [file for file in finished if file.name not in self._refused or self._refused[file.name].next_try <= now]
        paths = (self.landing.folder / landed.name for landed in due)
        with closing(listener.hear(paths, profiles=listener.facts)) as stream:
            for landed, heard in zip(due, stream, strict=True):
                if stamp_of(heard.path)[0] != landed.stamp:  # it grew or went: wait until it settles again
                    self.landing.again(landed.name)
                elif arrival := self._arrival(landed, heard, seen):
                    yield arrival

    def _arrival(self, landed: Landed, heard: Heard, seen: Mapping[str, str]) -> Arrival | None:
        """Return what arrived, or None when it is refused by the system again."""
        stamp = landed.stamp
        refused = self._refused.pop(landed.name, None)
        if refused_by_system(heard.error):
            wait = min(2 * refused.wait, _LONGEST_WAIT) if refused else _FIRST_WAIT
            self._refused[landed.name] = _Refused(heard.error, self._clock() + wait, wait)
            stamp = f"refused {landed.stamp}"  # not that of the file: it is not done
            if seen.get(landed.name) == stamp:
                return None
        self._last = self._clock()
        starts = [None] if heard.error else [round(float(start), 3) for start in heard.starts]
        places = tuple(f"{landed.name}|{stamp}|{start}" for start in starts)
        return Arrival(landed.name, stamp, heard, places, (landed.time,) * len(places))

    def present(self) -> dict[str, str]:
        """Return the stamp of every recording that is there now, by name."""
        return self.landing.stamps()

    def remembered(self, seen: Mapping[str, str]) -> dict[str, str] | None:
        """Return the recordings that are still there; None while the folder, or a part of it, cannot be listed."""
        if not self.landing.present:
            return None
        here = self.landing.stamps()
        if self.landing.left_out.refused:
            return None
        return {name: stamp for name, stamp in seen.items() if name in here}

    def close(self) -> None:
        """Do nothing: no file is open."""


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a folder above it may not be searched
        return False


def _iso(nanoseconds: int) -> str:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a clock that is set to a year that there is not
        return ""
