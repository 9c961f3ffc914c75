"""The keeper of a trend: store and reservoir together, fed with windows as they are judged.

It never stops what feeds it: a disk that is full is a trouble in words, and is tried again.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from echobank.errors import EchobankError
from echobank.machines.listener import Heard
from echobank.machines.trend.reservoir import Reservoir
from echobank.machines.trend.trend_store import TrendStore
from echobank.machines.trend.trend_window import TrendWindow, window_of_verdict
from echobank.machines.verdict import REMEMBERED, Verdict
from echobank.moments import now_ms
from echobank.storage import stamp_of

_WRITE_EVERY = 3_600_000  # milliseconds between two writings of the sample


class TrendKeeper:
    """Keeps the trend of one machine.

    Args:
        folder: Where it lies.

    Raises:
        InputError: pyarrow is not installed, or a file is damaged.
        OutputError: The folder cannot be written, or another program writes it.
    """

    def __init__(self, folder: Path) -> None:
        self._store, self._reservoir = TrendStore(folder), Reservoir(folder / "sample")
        self._written, self.trouble = now_ms(), ""

    def take(self, windows: Sequence[TrendWindow], heard: Heard) -> None:
        """Keep the windows of one recording, in order; what is there already changes nothing."""
        now = now_ms()
        described = heard.facts.tolist() if len(heard.facts) == len(windows) else [()] * len(windows)
        told = [
            TrendWindow(**{**vars(window), "facts": tuple(facts)})
            for window, facts in zip(windows, described, strict=True)
        ]
        try:
            fresh = {window.id for window in self._store.take(told)}
            if fresh and len(windows) == len(heard):
                unknown = [one for one in told if REMEMBERED not in one.flags.split("+")]
                if len(unknown) == len(told):
                    self._reservoir.take(told, heard)
            if now - self._written >= _WRITE_EVERY:
                self._write(now)
            self._store.tend(now)
            self.trouble = ""
        except EchobankError as error:
            self.trouble = f"the trend is not kept: {error}"

    def close(self) -> None:
        """Write what is waiting, and release the folder."""
        try:
            self._write(now_ms())
        except EchobankError as error:
            self.trouble = f"the trend is not kept: {error}"
        finally:
            self._store.close()

    def _write(self, now: int) -> None:
        self._reservoir.write()
        self._reservoir.age(datetime.fromtimestamp(now / 1000, UTC).date())
        self._written = now


def windows_of_file(heard: Heard, verdicts: Sequence[Verdict], machine: str, revision: int) -> list[TrendWindow]:
    """Return the windows of a recording that was scored by itself; ids are made of its sound and the bank's revision.

    Args:
        heard: What was heard in it.
        verdicts: One per window, or the one line of a recording with an error.
        machine: Name of the machine.
        revision: Revision of the bank.
    """
    stamp, changed = stamp_of(heard.path)
    recorded, now = changed // 1_000_000 or now_ms(), now_ms()
    windows = []
    for verdict in verdicts:
        place = f"{machine}|{heard.sha256 or f'{heard.path}|{stamp}'}|{verdict.start}|{revision}"
        facts = {"id": hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:32], "received": now}
        begun = recorded + round(1000 * ((verdict.start or 0.0) - heard.seconds))
        windows.append(window_of_verdict(verdict, heard=begun, revision=revision, **facts))
    return windows
