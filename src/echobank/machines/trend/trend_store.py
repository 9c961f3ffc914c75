"""The store of a trend: windows for 48 hours, minutes for 30 days, hours for ever, in Parquet files of one folder.

Windows are appended to a journal and rolled into a file of their own every hour. A kill loses nothing and counts
nothing twice: ids that come again are known, and a file of summaries names the files of windows that are in it. One
program writes a trend at a time; any number read it meanwhile.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.data.sound_facts import in_decibels, packed
from echobank.journal import Journal, read_journal
from echobank.machines.trend.summaries import HOUR, MINUTES_FOR, WINDOWS_FOR, summary_of, together_with
from echobank.machines.trend.trend_files import arrow, read_summaries, read_table, write_summaries, write_windows
from echobank.machines.trend.trend_window import TrendWindow, window_from
from echobank.storage import write_bytes

JOURNAL = "windows.jsonl"
KNOWN = "known.bin"
_ROLL_ROWS = 4096
_ROLL_AFTER = HOUR
_LOOK_EVERY = HOUR // 60
_LATE = WINDOWS_FOR  # what was recorded so long before it was judged is an old recording, and may be judged again
_PERIODS = (("minutes", HOUR // 60, "%Y-%m-%d"), ("hours", HOUR, "%Y-%m"))


class TrendStore:
    """Writes the trend of one machine.

    Args:
        folder: Its folder; created if missing.
        windows_for: How long windows are kept, milliseconds.

    Raises:
        InputError: pyarrow is not installed, or a file is damaged.
        OutputError: The folder cannot be written, or another program writes it.
    """

    def __init__(self, folder: Path, *, windows_for: int = WINDOWS_FOR) -> None:
        arrow()
        self.folder, self._windows_for, self._looked = folder, windows_for, 0
        self._journal = Journal(folder / JOURNAL)
        try:
            self._known = self._ids_of_files()
            self._old = _hashes_in(folder / KNOWN)
            waiting = (window_from(record) for _, record in read_journal(folder / JOURNAL))
            self._waiting = [window for window in waiting if window.id not in self._known]
        except BaseException:
            self._journal.close()
            raise
        self._known |= {window.id for window in self._waiting}

    def take(self, windows: Sequence[TrendWindow]) -> list[TrendWindow]:
        """Keep windows, and return those that were new.

        Raises:
            OutputError: The disk is full or gone; then none is kept.
        """
        fresh = list({window.id: window for window in windows if not self._has(window)}.values())
        if not fresh:
            return []
        self._journal.append_all([window.to_values() for window in fresh])
        self._waiting += fresh
        self._known |= {window.id for window in fresh}
        return fresh

    def tend(self, now: int) -> None:
        """Roll windows into a file once an hour, and thin what is old.

        Raises:
            OutputError: The disk is full or gone; what was kept stays.
        """
        if abs(now - self._looked) < _LOOK_EVERY:
            return
        self._looked, waiting = now, self._waiting
        if waiting and (len(waiting) >= _ROLL_ROWS or waiting[0].received <= now - _ROLL_AFTER):
            self.roll()
        self._thin(now)

    def roll(self) -> None:
        """Write the windows of the journal to a file of their own, and begin the journal again.

        Raises:
            OutputError: The disk is full or gone.
        """
        if self._waiting:
            ids = "".join(sorted(window.id for window in self._waiting))
            last = max(window.received for window in self._waiting)
            name = f"{last:013d}-{hashlib.sha256(ids.encode()).hexdigest()[:12]}.parquet"
            write_windows(self.folder / "windows" / name, sorted(self._waiting, key=lambda it: (it.heard, it.id)))
        self._journal.replace(b"")
        self._waiting = []

    def close(self) -> None:
        """Release the folder; what is in the journal stays there."""
        self._journal.close()

    def _has(self, window: TrendWindow) -> bool:
        if window.id in self._known:
            return True
        return window.received - window.heard > _LATE and _hash(window.id) in self._old

    def _thin(self, now: int) -> None:
        """Take files of windows that are old into minutes and hours, then remove them."""
        old = [path for path in window_files(self.folder) if received_of(path) < now - self._windows_for]
        if old:
            windows = {path.stem: windows_in(path) for path in old}
            for name, length, pattern in _PERIODS:
                _summarise(self.folder / name, length, pattern, windows)
            self._remember(window for each in windows.values() for window in each)
            for path in old:
                path.unlink(missing_ok=True)
                self._known -= {window.id for window in windows[path.stem]}
        oldest = datetime.fromtimestamp((now - MINUTES_FOR) / 1000, UTC).strftime("%Y-%m-%d")
        for path in (self.folder / "minutes").glob("*.parquet"):
            if path.stem < oldest:
                path.unlink(missing_ok=True)

    def _remember(self, windows: Iterable[TrendWindow]) -> None:
        """Remember ids of old recordings for ever: they may be judged again at any time."""
        late = {_hash(window.id) for window in windows if window.received - window.heard > _LATE} - self._old
        if late:
            self._old |= late
            write_bytes(self.folder / KNOWN, np.sort(np.fromiter(self._old, np.uint64)).tobytes())

    def _ids_of_files(self) -> set[str]:
        found: set[str] = set()
        for path in window_files(self.folder):
            found |= set(read_table(path, ["id"])["id"].to_pylist())
        return found


def window_files(folder: Path) -> list[Path]:
    """Return the files of windows of a trend, the oldest first."""
    return sorted((folder / "windows").glob("*.parquet"))


def received_of(path: Path) -> int:
    """Return when the last window of a file was received, milliseconds since 1970; of a file of another name, never."""
    text = path.stem.partition("-")[0]
    return int(text) if text.isdecimal() else 1 << 62


def windows_in(path: Path) -> list[TrendWindow]:
    """Return the windows of a file.

    Raises:
        FileNotFoundError: It is gone.
        InputError: It is damaged.
    """
    return [window_from(row) for row in read_table(path).to_pylist()]


def summarised(windows: Sequence[TrendWindow]) -> dict[str, Any]:
    """Return the columns of a summary of windows, with the means of their facts."""
    facts = [window.facts for window in windows if window.facts]
    return {**summary_of(windows), "facts": _means(facts, [1] * len(facts))}


def joined(before: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of two summaries together."""
    pairs = [(row["facts"], row["windows"]) for row in (before, more) if row["facts"]]
    facts = _means([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    return {**together_with(SimpleNamespace(**before), more), "facts": facts}


def _summarise(folder: Path, length: int, pattern: str, windows: Mapping[str, Sequence[TrendWindow]]) -> None:
    """Add windows, by the name of their file, to the files of summaries that their times belong to."""
    parts: dict[str, dict[str, list[TrendWindow]]] = defaultdict(lambda: defaultdict(list))
    for name, each in windows.items():
        for window in each:
            moment = datetime.fromtimestamp(window.heard // 1000, UTC)
            parts[moment.strftime(pattern)][name].append(window)
    for stem, by_name in parts.items():
        path = folder / f"{stem}.parquet"
        rows, taken = read_summaries(path)
        fresh = [window for name, each in by_name.items() if name not in taken for window in each]
        if not fresh:
            continue
        known = {(row["begins"], row["revision"]): row for row in rows}
        periods: dict[tuple[int, int], list[TrendWindow]] = defaultdict(list)
        for window in fresh:
            periods[window.heard // length * length, window.revision].append(window)
        for key, heard in periods.items():
            summary = summarised(heard)
            summary = joined(known[key], summary) if key in known else summary
            known[key] = {"begins": key[0], "revision": key[1], **summary}
        present = {file.stem for file in window_files(folder.parent)}
        write_summaries(path, known.values(), (taken & present) | set(by_name))


def _means(facts: Sequence[Sequence[int]], weights: Sequence[int]) -> list[int] | None:
    """Return the means of packed facts in decibels, each over those that have it."""
    if not facts:
        return None
    values = in_decibels(np.asarray(facts, np.int16))
    weight = np.asarray(weights, np.float64)[:, None] * ~np.isnan(values)
    total = weight.sum(axis=0)
    means = np.where(total > 0, np.nansum(values * weight, axis=0) / np.maximum(total, 1), np.nan)
    return list(packed(means).tolist())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")


def _hashes_in(path: Path) -> set[int]:
    if not path.exists():
        return set()
    found: NDArray[np.uint64] = np.frombuffer(path.read_bytes()[: path.stat().st_size // 8 * 8], np.uint64)
    return set(found.tolist())
