"""Tables of verdicts: CSV, JSON lines or Parquet, written row by row so that any number fits."""

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from echobank.errors import InputError
from echobank.machines.verdict import COLUMNS, Verdict, from_plain, plain, row_of
from echobank.names import printable, to_json
from echobank.storage import atomic_path

SUFFIXES = (".csv", ".jsonl", ".parquet")
_PARQUET_ROWS = 10_000
_FLOATS = ("start", "seconds", "score", "p_value", "percentile", "nearest_start", "level_dbfs")


def check_table(path: Path | str) -> Path:
    """Return a table's path when its kind is known and can be written here.

    Raises:
        InputError: Its name ends in something else, or Parquet is asked for without pyarrow.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError("unknown kind of table", value=path.name, hint=f"let it end in {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".parquet":
        _arrow()
    return path


def write_table(path: Path | str, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts to a table, whole or not at all; its suffix says which kind.

    Raises:
        InputError: As `check_table`.
        OutputError: It cannot be written.
    """
    path = check_table(path)
    writer = {".csv": _write_csv, ".jsonl": _write_lines, ".parquet": _write_parquet}[path.suffix.lower()]
    with atomic_path(path) as temporary:
        writer(temporary, verdicts)


def read_parquet(path: Path | str) -> list[Verdict]:
    """Return the verdicts of a Parquet table.

    Raises:
        InputError: It is none, or pyarrow is not installed.
    """
    arrow, parquet = _arrow()
    try:
        with parquet.ParquetFile(path) as table:
            return [from_plain(row) for row in table.read(list(COLUMNS)).to_pylist()]
    except (OSError, ValueError, TypeError, arrow.ArrowException) as error:
        raise InputError(f"not a table of verdicts ({error})", where=path) from error


def write_csv_rows(stream: TextIO, verdicts: Iterable[Verdict], *, header: bool) -> None:
    """Write verdicts as CSV lines to an open stream."""
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(row_of(verdict) for verdict in verdicts)


def write_json_rows(stream: TextIO, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts as JSON lines to an open stream."""
    for verdict in verdicts:
        stream.write(to_json(plain(verdict)) + "\n")


def _write_csv(path: Path, verdicts: Iterable[Verdict]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        write_csv_rows(stream, verdicts, header=True)


def _write_lines(path: Path, verdicts: Iterable[Verdict]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        write_json_rows(stream, verdicts)


def _write_parquet(path: Path, verdicts: Iterable[Verdict]) -> None:
    arrow, parquet = _arrow()
    kinds = {name: arrow.float64() for name in _FLOATS} | {"decision": arrow.int8()}
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in COLUMNS])
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _chunks(verdicts, _PARQUET_ROWS):
            writer.write_table(arrow.Table.from_pylist([_printed(row) for row in rows], schema=schema))


def _printed(verdict: Verdict) -> dict[str, Any]:
    return {name: printable(value) if isinstance(value, str) else value for name, value in row_of(verdict).items()}


def _chunks(items: Iterable[Verdict], size: int) -> Iterator[list[Verdict]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("Parquet needs pyarrow", hint="pip install 'echobank[table]', or write .csv") from error
    return pyarrow, pyarrow.parquet
