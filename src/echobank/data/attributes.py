"""Attributes of DCASE Task 2 recordings: from names and from `attributes_NN.csv`."""

import csv
from pathlib import Path

Attributes = tuple[tuple[str, str], ...]

_NONE = "noAttribute"


def pairs_of(text: str) -> Attributes:
    """Return the pairs in `name_value_name_value`; a last word without a value keeps an empty one."""
    words = [word for word in text.split("_") if word]
    if words in ([], [_NONE]):
        return ()
    return tuple(zip(words[::2], [*words[1::2], ""][: len(words[::2])], strict=True))


def read_attributes(machine_folder: Path) -> tuple[dict[str, Attributes], list[tuple[Path, str]]]:
    """Read every `attributes_NN.csv` of a machine.

    Columns: file_name (<machine>/<split folder>/<clip>.wav), then d1p, d1v, d2p, d2v, ... (name, value).

    Returns:
        Attributes by "<split folder>/<clip>.wav", and (file, reason) for each file that cannot be used.
    """
    table: dict[str, Attributes] = {}
    failures: list[tuple[Path, str]] = []
    try:
        names = [path for path in machine_folder.iterdir() if path.match("attributes_*.csv")]
    except OSError as error:
        return table, [(machine_folder, f"attributes not used, the folder cannot be listed ({error.strerror})")]
    for path in sorted(names):
        try:
            rows = _read(path)
        except (OSError, UnicodeError, csv.Error, ValueError) as error:
            failures.append((path, f"attributes not used, {error}"))
        else:
            table.update(rows)
    return table, failures


def _read(path: Path) -> dict[str, Attributes]:
    rows: dict[str, Attributes] = {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        header = next(reader, [""])
        if header[0] != "file_name":
            hint = "; write commas between columns, not semicolons" if ";" in header[0] else ""
            raise ValueError(f"the first column is not file_name{hint}")
        for row in reader:
            if row:
                key = "/".join(row[0].replace("\\", "/").split("/")[-2:])
                cells = [cell.strip() for cell in row[1:]]
                pairs = zip(cells[::2], cells[1::2], strict=False)
                rows[key] = tuple((name, value) for name, value in pairs if name and name != _NONE)
    return rows
