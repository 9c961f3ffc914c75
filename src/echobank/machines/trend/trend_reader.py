"""Reading a trend that lies in Parquet files, also while another program writes it."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from echobank.errors import InputError
from echobank.journal import read_journal
from echobank.machines.trend.trend_files import JSON_COLUMNS, read_summaries, read_table, taken_of
from echobank.machines.trend.trend_store import JOURNAL, window_files
from echobank.machines.trend.trend_window import window_from

T = TypeVar("T")
STEPS = ("windows", "minutes", "hours")
_TRIES = 5


def require_trend(folder: Path) -> Path:
    """Return a folder that a trend lies in.

    Raises:
        InputError: There is none.
    """
    if not any((folder / name).exists() for name in (JOURNAL, *STEPS)):
        hint = "keep one with `echobank watch --trend DIR`, `listen --trend DIR` or `score --trend DIR`"
        raise InputError("there is no trend here", where=folder, hint=hint)
    return folder


def rows_in(folder: Path, step: str, since: int = 0, until: int = 1 << 53) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a trend as mappings, each once, those of a file in the order of their times.

    Args:
        folder: Where it lies.
        step: windows, minutes or hours.
        since: From when, milliseconds since 1970 ...
        until: ... to before when.

    Raises:
        InputError: There is none, or a file of it is damaged.
    """
    require_trend(folder)
    if step == "windows":
        seen: set[str] = set()
        for path in window_files(folder):
            try:
                table = read_table(path)
            except FileNotFoundError:  # thinned meanwhile
                continue
            for row in table.to_pylist():
                seen.add(row["id"])
                if since <= row["heard"] < until:
                    yield row
        for _, record in read_journal(folder / JOURNAL):
            if record["id"] not in seen and since <= record["heard"] < until:
                yield window_from(record).to_values()
        return
    for path in sorted((folder / step).glob("*.parquet")):
        for row in read_summaries(path)[0]:
            if since <= row["begins"] < until:
                yield row


def consistent(folder: Path, read: Callable[[], T]) -> T:
    """Return what `read` makes of a trend; it is called again where files were thinned away under it.

    Raises:
        InputError: That goes on.
    """
    for _ in range(_TRIES):
        before = _state(folder)
        try:
            found = read()
        except FileNotFoundError:
            continue
        if _state(folder) == before:
            return found
    raise InputError("the trend changes while it is read", where=folder, hint="try again")


def taken_by_hours(folder: Path) -> dict[str, frozenset[str]]:
    """Return, by the stem of each file of hours, which files of windows are in it."""
    from pyarrow import parquet

    return {path.stem: taken_of(parquet.read_schema(path)) for path in (folder / "hours").glob("*.parquet")}


def as_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with what is nested as JSON, for a table."""
    nested = (*JSON_COLUMNS, "facts")
    return {
        name: json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
        if name in nested and value is not None and not isinstance(value, str | int | float)
        else value
        for name, value in row.items()
    }


def _state(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for name in STEPS for path in (folder / name).glob("*.parquet")))
