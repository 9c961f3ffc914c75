"""Two-column CSV files of the challenge, read so that every fault is named with its file and line."""

import csv
import io
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from echobank.data.audio import AUDIO_SUFFIXES
from echobank.errors import InputError

Key = tuple[str, str]
"""Machine and section, such as ("ToyCar", "00")."""

SCORES, DECISIONS = "anomaly_score", "decision_result"  # first words of the file names of the challenge

_KINDS = ", ".join(AUDIO_SUFFIXES)
_LOCALE = "write commas between columns and a point in numbers, as in name.wav,0.53; a spreadsheet may use others"

V = TypeVar("V")


def read_pairs(path: Path, convert: Callable[[str], V], *, most: int = 2) -> dict[str, V]:
    """Read `name,value` lines without a header; empty lines are passed over.

    A line such as `name.wav;0,53`, which a spreadsheet writes where the decimal sign is a comma, would read as the
    name `name.wav;0` with the score 53. Names must therefore end as recordings do, and such files are refused.

    Args:
        path: The file.
        convert: Text of the second column to a value; its ValueError says what was expected.
        most: Columns that a line may have; those after the second are not read.

    Returns:
        The value of each name, sorted by name.

    Raises:
        InputError: The file cannot be read or is empty, a line has not two columns, a name is not that of a
            recording or comes twice, or a value is wrong.
    """
    values: dict[str, V] = {}
    lines: dict[str, int] = {}
    reader = csv.reader(io.StringIO(_text(path)))
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if not row:
            continue
        line, name = ",".join(row), row[0].strip()
        if not 2 <= len(row) <= most:
            what = f"expected two columns (name, value), found {len(row)}"
            raise InputError(what, value=line, where=where, hint=_locale_hint(line))
        if not name.lower().endswith(AUDIO_SUFFIXES):
            hint = _locale_hint(line) or f"the first column holds file names, without a header; they end in {_KINDS}"
            raise InputError("not the name of a recording", value=name, where=where, hint=hint)
        text = row[1].strip()
        if name in values:
            raise InputError("a clip comes twice", value=name, where=where, hint=f"first in line {lines[name]}")
        try:
            values[name], lines[name] = convert(text), reader.line_num
        except ValueError as error:
            raise InputError(f"{name}: {error}", value=text, where=where, hint=_locale_hint(line)) from error
    if not values:
        raise InputError("the file holds no rows", where=path)
    return dict(sorted(values.items()))


def finite(text: str) -> float:
    """Return the number that a text stands for.

    Raises:
        ValueError: It is none, or not a finite one.
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError("not a number") from None
    if not math.isfinite(value):
        raise ValueError("the number is not finite")
    return value


def binary(text: str) -> int:
    """Return 0 or 1.

    Raises:
        ValueError: The text is neither.
    """
    if text not in ("0", "1"):
        raise ValueError("expected 0 or 1")
    return int(text)


def find_tables(folder: Path, prefix: str) -> dict[Key, Path]:
    """Return the files `<prefix>_<machine>_section_<nn>_test.csv` of a folder, sorted by machine and section."""
    pattern = re.compile(rf"{prefix}_(?P<machine>.+)_section_(?P<section>\d+)_test\.csv")
    matches = ((path, pattern.fullmatch(path.name)) for path in folder.glob(f"{prefix}_*.csv"))
    found = {(match["machine"], match["section"]): path for path, match in matches if match}
    return dict(sorted(found.items()))


def read_tables(folder: Path, prefix: str, convert: Callable[[str], V], *, most: int = 2) -> dict[Key, dict[str, V]]:
    """Read every file that `find_tables` finds.

    Raises:
        InputError: As `read_pairs`.
    """
    return {key: read_pairs(path, convert, most=most) for key, path in find_tables(folder, prefix).items()}


def table_name(prefix: str, key: Key) -> str:
    """Return the challenge's file name of a table."""
    return f"{prefix}_{key[0]}_section_{key[1]}_test.csv"


def missing_table(folder: Path, prefix: str, key: Key) -> InputError:
    """Return the error that says which file a folder lacks."""
    return InputError(
        "a machine's file is missing", value=table_name(prefix, key), where=folder, hint="every machine needs one"
    )


def refuse_other_names(table: Mapping[str, object], wanted: Mapping[str, object], where: Path | str) -> None:
    """Check that a table has exactly the wanted clips.

    Raises:
        InputError: A clip is missing or not wanted; the first is named.
    """
    missing, extra = sorted(wanted.keys() - table.keys()), sorted(table.keys() - wanted.keys())
    for what, names in (("a clip is missing", missing), ("a clip is not in the truth", extra)):
        if names:
            hint = f"and {len(names) - 1} more" if len(names) > 1 else ""
            raise InputError(what, value=names[0], where=where, hint=hint)


def _locale_hint(line: str) -> str:
    """Return what to do about a line that is written for another locale; empty when it is not."""
    return _LOCALE if re.search(r"[;\t]|,\s*\d+,\s*\d+\s*$|\d,\d+\s*$", line) else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("the file is not UTF-8 text", where=path) from error
    except OSError as error:
        raise InputError(f"cannot read the file ({error.strerror})", where=path) from error
