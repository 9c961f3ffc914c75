"""Places that a command writes to, checked before it does any work; and `--json`.

Every option that names an output file passes through here: its name must end as such a file does, and what the command
reads is never overwritten. Recordings and banks end differently from everything that may be written, so a
mistake such as `--report today/*.wav` overwrites none.
"""

import argparse
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from echobank.errors import InputError

PAGE = (".html", ".htm")
TABLE = (".csv", ".jsonl", ".parquet")
CSV = (".csv",)
CHECKPOINT = (".pt", ".pth")


def add_json(parser: argparse.ArgumentParser, what: str = "one JSON object instead of the table") -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help=what)


def check_output(
    path: Path | str, suffixes: Sequence[str], option: str, reads: Iterable[Path | str | None] = ()
) -> Path:
    """Return the path of an output file after checking that it may be written.

    Args:
        path: Where it goes; a file of an earlier run may be there.
        suffixes: How its name may end.
        option: The option that names it, for messages.
        reads: Files that the command reads; None stands for one that was not given.

    Raises:
        InputError: The name ends otherwise, it is a folder, or the command reads that very file.
    """
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"{option} names a file that ends in {' or '.join(suffixes)}",
            value=str(path),
            hint=f"give it one name, for example {option} {_example(path, suffixes[0])}",
        )
    if path.is_dir():
        raise InputError(f"{option} names a file, and this is a folder", value=str(path))
    refuse_overwriting(path, option, reads)
    return path


def refuse_overwriting(path: Path, option: str, reads: Iterable[Path | str | None]) -> None:
    """Refuse an output that is one of the files that the command reads, under whatever name or link.

    Raises:
        InputError: It is.
    """
    place = _identity(path)
    if place is not None and any(_identity(Path(read)) == place for read in reads if read):
        raise InputError(
            f"{option} would overwrite a file that the command reads", value=str(path), hint="choose another name"
        )


def check_growing(
    path: Path | str, columns: Sequence[str], option: str, reads: Iterable[Path | str | None] = ()
) -> Path:
    """Return the path of a CSV that rows are appended to, after checking that what is there has the same columns.

    Raises:
        InputError: As `check_output`, or the file is another table or no table at all.
    """
    path = check_output(path, CSV, option, reads)
    try:
        with path.open("rb") as stream:
            first = stream.readline(1 << 16)
    except OSError:  # nothing is there yet; what cannot be written is a trouble of the sink
        return path
    header = next(csv.reader(io.StringIO(first.decode("utf-8", "replace"))), [])
    if first and header != list(columns):
        raise InputError(f"{option} appends to a table with other columns", value=str(path), hint="choose another name")
    return path


def _example(path: Path, suffix: str) -> str:
    return path.with_suffix(suffix).name if path.stem and path.name not in (".", "..") else f"name{suffix}"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return None
    return facts.st_dev, facts.st_ino
