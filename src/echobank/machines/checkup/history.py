"""The history of a machine: one row per hour and revision of the bank, as arrays. All that a checkup looks at.

It is made of hours that are summarised already, and of windows that are not yet, whatever their number: a file of
windows is reduced to its hours as arrays, before the next is read.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.data.sound_facts import MISSING, NAMES, STEP
from echobank.journal import read_journal
from echobank.machines.checkup.hourly import (
    USED,
    Hours,
    WindowColumns,
    columns_of_rows,
    hours_of,
    merged,
    no_hours,
    window_columns,
)
from echobank.machines.trend.trend_files import read_summaries, read_table
from echobank.machines.trend.trend_reader import consistent, require_trend, taken_by_hours
from echobank.machines.trend.trend_store import JOURNAL, window_files
from echobank.machines.trend.trend_window import window_from
from echobank.machines.verdict import REMEMBERED

_LEFT_OUT = (REMEMBERED, "silent")  # flags of windows whose scores say nothing of quiet times


@dataclass(frozen=True)
class History:
    """Hours, and what is counted over all of them.

    Attributes:
        hours: The hours.
        nearest: How often each recording of the bank was nearest, of those that summaries name.
        states: Per hour, the recording that was nearest most often.
        flags: How often each flag was raised.
        left_out: Windows that do not count: recordings of the bank itself, silence, rests, acknowledged sounds.
    """

    hours: Hours
    nearest: Mapping[str, int]
    states: tuple[str, ...]
    flags: Mapping[str, int]
    left_out: int


def history_in(folder: Path) -> History:
    """Return the history that a trend in Parquet files holds.

    Raises:
        InputError: There is none, or a file is damaged.
    """
    require_trend(folder)
    return consistent(folder, lambda: _read(folder))


def history_of(summaries: Iterable[Mapping[str, Any]], windows: Iterable[Mapping[str, Any]]) -> History:
    """Return the history of rows of hours and of rows of windows that no hour has, as a database gives them."""
    gathered = _Gathered()
    gathered.add_summaries(list(summaries))
    part: list[Mapping[str, Any]] = []
    for row in windows:
        part.append(row)
        if len(part) == 100_000:
            gathered.add_windows(columns_of_rows(part))
            part = []
    gathered.add_windows(columns_of_rows(part))
    return gathered.history()


def _read(folder: Path) -> History:
    gathered, taken = _Gathered(), taken_by_hours(folder)
    for path in sorted((folder / "hours").glob("*.parquet")):
        gathered.add_summaries(read_summaries(path)[0])
    files = window_files(folder)
    ids: set[str] = set()
    for path in files:
        columns = window_columns(read_table(path, USED))
        done = [stem for stem, names in taken.items() if path.stem in names]
        if done:  # killed while it was thinned: some of its months are summarised, others are not
            months = columns.heard.astype("datetime64[ms]").astype("datetime64[M]").astype(str)
            columns = columns.take(~np.isin(months, done))
        gathered.add_windows(columns)
        if path in files[-2:]:  # the journal is emptied after its file is there
            ids |= set(read_table(path, ["id"])["id"].to_pylist())
    waiting = [window_from(record) for _, record in read_journal(folder / JOURNAL)]
    gathered.add_windows(columns_of_rows([window.to_values() for window in waiting if window.id not in ids]))
    return gathered.history()


class _Gathered:
    """Hours as they are found, part by part."""

    def __init__(self) -> None:
        self._parts: list[tuple[Hours, list[str]]] = []
        self._nearest: Counter[str] = Counter()
        self._flags: Counter[str] = Counter()
        self._left_out = 0

    def add_summaries(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows of hours."""
        kept = []
        for row in rows:
            flags = row["flags"] or {}
            self._flags.update(flags)
            self._nearest.update(row["nearest"] or {})
            if row["score"] and sum(flags.get(flag, 0) for flag in _LEFT_OUT) * 2 < row["windows"]:
                kept.append(row)
            else:
                self._left_out += row["windows"]
        facts = np.full((len(kept), len(NAMES)), MISSING, np.int16)
        for i, row in enumerate(kept):
            if row.get("facts"):
                facts[i] = row["facts"]

        def column(read: Callable[[Mapping[str, Any]], Any], kind: Any = np.float64) -> NDArray[Any]:
            return np.array([read(row) for row in kept], kind)

        hours = Hours(
            column(lambda row: row["begins"], np.int64),
            column(lambda row: row["revision"], np.int64),
            column(lambda row: row["windows"], np.int64),
            column(lambda row: row["anomalous"], np.int64),
            column(lambda row: row["score"]["quantiles"][3]),
            column(lambda row: row["p_value"]["quantiles"][3] if row["p_value"] else np.nan),
            column(lambda row: row["level"]["sum"] / row["level"]["count"] if row["level"] else np.nan),
            np.where(facts == MISSING, np.float32(np.nan), facts / np.float32(STEP)).astype(np.float32),
        )
        names = [max(row["nearest"], key=row["nearest"].get) if row["nearest"] else "" for row in kept]
        self._parts.append((hours, names))

    def add_windows(self, columns: WindowColumns) -> None:
        """Add windows."""
        scored = ~np.isnan(columns.score)
        for text, count in columns.flags.counts(scored).items():
            self._flags.update(dict.fromkeys(filter(None, text.split("+")), count))
        self._nearest.update(columns.nearest.counts(scored))
        usable = columns.flags.where({text: not set(text.split("+")) & set(_LEFT_OUT) for text in columns.flags.words})
        good = scored & usable & columns.quiet.where({text: not text for text in columns.quiet.words})
        self._left_out += int(scored.sum() - good.sum())
        if good.any():
            self._parts.append(hours_of(columns.take(good)))

    def history(self) -> History:
        """Return the history; parts of one hour are joined, each with its number of windows."""
        parts = [part for part, _ in self._parts]
        names = [name for _, each in self._parts for name in each]
        fields = [field.name for field in dataclasses.fields(Hours)]
        if not parts:
            return History(no_hours(), {}, (), dict(self._flags), self._left_out)
        whole = Hours(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in fields})
        order = np.lexsort((whole.revision, whole.begins))
        whole, names = whole.take(order), [names[i] for i in order]
        first = np.flatnonzero(np.append(True, (np.diff(whole.begins) != 0) | (np.diff(whole.revision) != 0)))
        if len(first) < len(whole):
            whole, names = merged(whole, first), [names[i] for i in first]
        return History(whole, dict(self._nearest), tuple(names), dict(self._flags), self._left_out)
