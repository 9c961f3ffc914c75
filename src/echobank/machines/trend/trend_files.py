"""The Parquet files of a trend: windows, minutes and hours, with the columns of the service's tables of those names.

What the service keeps as JSON is text of JSON here. `facts` comes besides: hundredths of a decibel, of a summary their
means. A file of summaries names in its metadata the files of windows that it has taken in.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from echobank.errors import InputError
from echobank.machines.trend.trend_window import WINDOW_COLUMNS, TrendWindow
from echobank.names import printable
from echobank.storage import atomic_path

SUMMARY_COLUMNS = ("begins", "revision", "windows", "errors", "anomalous")
JSON_COLUMNS = ("score", "p_value", "level", "nearest", "flags")
_TAKEN = b"echobank.taken"
_FLOATS = ("start", "seconds", "score", "p_value", "percentile", "nearest_start", "level_dbfs")
_WHOLE = ("heard", "received")


def arrow() -> tuple[Any, Any]:
    """Return pyarrow and pyarrow.parquet.

    Raises:
        InputError: They are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("a trend needs pyarrow", hint="pip install 'echobank[table]'") from error
    return pyarrow, pyarrow.parquet


def window_schema() -> Any:
    """Return the schema of a file of windows."""
    pyarrow, _ = arrow()
    kinds = {name: pyarrow.float64() for name in _FLOATS} | {name: pyarrow.int64() for name in _WHOLE}
    kinds |= {"revision": pyarrow.int32(), "decision": pyarrow.int8(), "facts": pyarrow.list_(pyarrow.int16())}
    return pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in WINDOW_COLUMNS])


def summary_schema() -> Any:
    """Return the schema of a file of minutes or hours."""
    pyarrow, _ = arrow()
    numbers = [(name, pyarrow.int64()) for name in SUMMARY_COLUMNS]
    texts = [(name, pyarrow.string()) for name in JSON_COLUMNS]
    return pyarrow.schema([*numbers, *texts, ("facts", pyarrow.list_(pyarrow.int16()))])


def write_windows(path: Path, windows: Sequence[TrendWindow]) -> None:
    """Write a file of windows, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    pyarrow, parquet = arrow()
    rows = [{name: _text(value) for name, value in window.to_values().items()} for window in windows]
    table = pyarrow.Table.from_pylist(rows, schema=window_schema())
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def write_summaries(path: Path, rows: Iterable[Mapping[str, Any]], taken: Iterable[str]) -> None:
    """Write a file of summaries, whole or not at all.

    Args:
        path: The file.
        rows: Values by the names of the columns.
        taken: Files of windows that are in it.

    Raises:
        OutputError: It cannot be written.
    """
    pyarrow, parquet = arrow()
    plain = [{**row, **{name: _json(row[name]) for name in JSON_COLUMNS}} for row in rows]
    schema = summary_schema().with_metadata({_TAKEN: json.dumps(sorted(taken)).encode()})
    ordered = sorted(plain, key=lambda row: (row["begins"], row["revision"]))
    with atomic_path(path) as temporary:
        parquet.write_table(pyarrow.Table.from_pylist(ordered, schema=schema), temporary, compression="zstd")


def read_table(path: Path, columns: Sequence[str] | None = None) -> Any:
    """Return the table of a file, or some of its columns.

    Raises:
        FileNotFoundError: It is gone.
        InputError: It is damaged, or no such file.
    """
    pyarrow, parquet = arrow()
    try:
        return parquet.read_table(path, columns=None if columns is None else list(columns))
    except FileNotFoundError:
        raise
    except (OSError, pyarrow.ArrowException) as error:
        said = " ".join(str(error).split())[:120]
        hint = "move it away; the others are read without it"
        raise InputError(f"not a file of a trend, or a damaged one ({said})", where=path, hint=hint) from error


def read_summaries(path: Path) -> tuple[list[dict[str, Any]], frozenset[str]]:
    """Return the rows of a file of summaries, and which files of windows are in it; no file gives none.

    Raises:
        InputError: It is damaged, or no such file.
    """
    try:
        table = read_table(path)
    except FileNotFoundError:
        return [], frozenset()
    rows = table.to_pylist()
    for row in rows:
        row.update({name: json.loads(row[name]) if row[name] else None for name in JSON_COLUMNS})
    return rows, taken_of(table.schema)


def taken_of(schema: Any) -> frozenset[str]:
    """Return which files of windows a file of summaries has taken in, by its schema."""
    return frozenset(json.loads((schema.metadata or {}).get(_TAKEN, b"[]")))


def _text(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _json(value: Any) -> str | None:
    return None if value is None else printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
