"""Operating states: tags such as load=high that a recording gets from its folder, a table, or the command line."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from echobank.data.audio import AUDIO_SUFFIXES
from echobank.data.folder import LeftOut, recordings_in
from echobank.errors import InputError

Tags = Mapping[str, str]
FOLDER = "folder"
_FILE_COLUMN = "file"
_SEMICOLONS = "write commas between columns, not semicolons"


@dataclass(frozen=True)
class Tagging:
    """Where the operating state of a recording comes from.

    Attributes:
        every: Tags of all recordings.
        table: Tags by file, relative to the folder of recordings, with forward slashes; None is no table.
        folders: True takes the names of the folders between the root and the recording.
    """

    every: Tags = field(default_factory=dict)
    table: Mapping[str, Tags] | None = None
    folders: bool = True

    def of(self, file: str) -> dict[str, str]:
        """Return the tags of a recording.

        Raises:
            InputError: The table does not have it, or two places disagree.
        """
        tags = dict(self.every)
        if self.table is not None:
            if file not in self.table:
                raise InputError("the recording has no line in the table of tags", value=file)
            for name, value in self.table[file].items():
                if tags.setdefault(name, value) != value:
                    raise InputError(
                        f"tags disagree on {name}: {tags[name]!r} for all, {value!r} in the table for {file}"
                    )
        elif self.folders and not tags and "/" in file:
            tags[FOLDER] = file.rpartition("/")[0]
        return tags


def parse_tags(texts: Sequence[str]) -> dict[str, str]:
    """Return the tags of texts such as "load=high,speed=2".

    Raises:
        InputError: A part is not name=value, or a name has two values.
    """
    tags: dict[str, str] = {}
    for part in (part for text in texts for part in text.split(",") if part.strip()):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise InputError("a tag is not of the form name=value", value=part, hint="write --tags load=high")
        if tags.setdefault(name, value) != value:
            raise InputError(f"tags disagree on {name}", value=f"{tags[name]} and {value}")
    return tags


def read_tags(path: Path | str) -> dict[str, Tags]:
    """Read a table of tags: a CSV with a column `file` and one column per tag; empty cells are no tag.

    Raises:
        InputError: It cannot be read, has no column `file`, or names a recording twice with different tags.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.DictReader(stream, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the table of tags ({error})", where=path) from error
    table: dict[str, Tags] = {}
    for number, line in enumerate(lines, 2):
        file = (line.pop(_FILE_COLUMN, None) or "").strip().replace("\\", "/")
        if not file or None in line:
            hint = _SEMICOLONS if any(";" in cell for cell in map(str, line)) else ""
            raise InputError(
                "a line needs the column file and one value per column", where=f"{path}:{number}", hint=hint
            )
        tags = {name: value.strip() for name, value in line.items() if value and value.strip()}
        if table.setdefault(file, tags) != tags:
            raise InputError("a recording has two different lines", value=file, where=f"{path}:{number}")
    return table


def state_of(tags: Tags) -> str:
    """Return the operating state, a bank's domain, that tags name: "load=high speed=2"; "normal" without tags."""
    if set(tags) == {FOLDER}:
        return tags[FOLDER]
    return " ".join(f"{name}={tags[name]}" for name in sorted(tags)) or "normal"


def find_recordings(paths: Iterable[Path | str], left_out: LeftOut | None = None) -> list[tuple[Path, str]]:
    """Return (path, name) of the recordings among files and in folder trees, sorted, each once.

    The name is relative to the folder that was given, with forward slashes; of a file it is the file name.

    Args:
        paths: Files and folders.
        left_out: Collects what lies in the folders and is passed over.

    Raises:
        InputError: A path does not exist, a folder cannot be listed, or there is no recording.
    """
    found: dict[Path, str] = {}
    left_out = left_out if left_out is not None else LeftOut()
    given = [Path(path) for path in paths]
    for path in given:
        if path.is_dir():
            for name, _ in recordings_in(path, strict=True, left_out=left_out):
                found.setdefault(path / name, name)
        elif path.exists():
            found.setdefault(path, path.name)
        else:
            raise InputError("no such file or folder", where=path)
    if not found:
        hint = "; ".join([f"they end in {', '.join(AUDIO_SUFFIXES)}", *left_out.lines])
        raise InputError("no recordings found", where=", ".join(map(str, given)), hint=hint)
    return sorted(found.items(), key=lambda item: item[0].as_posix())
