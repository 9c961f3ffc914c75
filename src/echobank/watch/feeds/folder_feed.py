"""A folder as a feed: which files of it are new and finished, and what is heard in them.

A file is finished when its size and time of change have stayed the same for a while. The while is measured by a
clock that never goes back; times of files are compared for equality only, so no wall clock can mislead.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from echobank.data.folder import recordings_in
from echobank.errors import InputError
from echobank.machines.listener import Listener
from echobank.storage import stamp_from, stamp_of
from echobank.watch.feeds.feed import Arrival

_REST = 9.0  # a look is followed by a rest of this many times its length: in huge folders it takes a tenth of the time


@dataclass(frozen=True)
class Landed:
    """A finished file.

    Attributes:
        name: Relative to the folder.
        stamp: Tells it from a later one of the same name.
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
        clock: Seconds that never go back.
    """

    def __init__(self, folder: Path, settle: float, clock: Callable[[], float]) -> None:
        self.folder = folder
        self.present, self.took = True, 0.0
        self._settle, self._clock = settle, clock
        self._changing: dict[str, tuple[str, float]] = {}

    def look(self, seen: Mapping[str, str]) -> list[Landed]:
        """Return the finished files whose name and stamp are not in `seen`, oldest first.

        A folder that is gone gives nothing and sets `present` to False; what was changing starts over.
        """
        now = self._clock()
        changing: dict[str, tuple[str, float]] = {}
        finished: list[tuple[int, str, str]] = []
        self.present = self.folder.is_dir()
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
        """Yield (name, stamp, time of change in ns) of every recording."""
        for name, facts in recordings_in(self.folder):
            yield name, stamp_from(facts), facts.st_mtime_ns


class FolderFeed:
    """A folder in which recordings land.

    Args:
        folder: The folder.
        settle: Seconds that a file must stay the same before it is read.
        clock: Seconds that never go back.

    Raises:
        InputError: The folder is not there.
    """

    def __init__(self, folder: Path, settle: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not folder.is_dir():
            raise InputError("no such folder", where=folder)
        self.landing = Landing(folder, settle, clock)

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
        """A folder that is gone."""
        return () if self.landing.present else (f"{self.landing.folder}: the folder is gone",)

    @property
    def idle(self) -> bool:
        """Whether every file was finished at the last look."""
        return not self.landing.waiting

    @property
    def rest(self) -> float:
        """Seconds to wait before the next look at the least."""
        return _REST * self.landing.took

    def arrivals(self, listener: Listener, seen: Mapping[str, str]) -> Iterator[Arrival]:
        """Yield the finished recordings that are not in `seen`, oldest first."""
        for landed in self.landing.look(seen):
            path = self.landing.folder / landed.name
            heard = next(listener.hear([path]))
            if stamp_of(path)[0] != landed.stamp:  # it grew or went while it was read: wait until it settles again
                self.landing.again(landed.name)
                continue
            starts = [None] if heard.error else [round(float(start), 3) for start in heard.starts]
            places = tuple(f"{landed.name}|{landed.stamp}|{start}" for start in starts)
            yield Arrival(landed.name, landed.stamp, heard, places, (landed.time,) * len(places))

    def present(self) -> dict[str, str]:
        """Return the stamp of every recording that is there now, by name."""
        return self.landing.stamps()

    def remembered(self, seen: Mapping[str, str]) -> dict[str, str] | None:
        """Return the recordings that are still there; None while the folder is gone."""
        if not self.landing.present:
            return None
        here = self.landing.stamps()
        return {name: stamp for name, stamp in seen.items() if name in here}

    def close(self) -> None:
        """Do nothing: no file is open."""


def _iso(nanoseconds: int) -> str:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a clock that is set to a year that there is not
        return ""
