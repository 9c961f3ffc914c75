"""Catalogs: which recordings there are, one partition (machine and day) at a time, so that no list is ever whole.

A folder or S3 prefix is walked by a pattern such as `{machine}/{date}`; everything below the last of its folders
belongs to that machine and day. A Parquet list names recordings itself.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from echobank.data.folder import LeftOut, is_foreign, is_recording, recordings_in
from echobank.errors import InputError
from echobank.fleet.location import Location
from echobank.storage import stamp_from

PACK = ".pack.parquet"
PATTERN = "{machine}/{date}"
EVERY_DAY = "all"
_FIELDS = {"{machine}": "(?P<machine>.+)", "{date}": "(?P<date>.+)", "*": ".*"}
_LIST_ROWS = 10_000


@dataclass(frozen=True)
class Listed:
    """A recording, or a pack of recordings, that was found.

    Attributes:
        name: Relative to the source, with forward slashes.
        version: Its content version.
        modified: Time of change, ns.
    """

    name: str
    version: str
    modified: int


@dataclass(frozen=True)
class Partition:
    """What was found of one machine on one day; sorted by name."""

    machine: str
    day: str
    items: tuple[Listed, ...]


class Catalog(Protocol):
    """What lists recordings."""

    def partitions(self, left_out: LeftOut) -> Iterator[Partition]:
        """Yield partitions in any order, one in memory at a time.

        Raises:
            InputError: The source cannot be listed.
        """
        ...


def catalog_of(source: Location, pattern: str = PATTERN) -> "Catalog":
    """Return the catalog of a source: a Parquet list by its suffix, a folder otherwise.

    Raises:
        InputError: The pattern cannot be used, or there is no such folder or file.
    """
    if source.uri.partition("?")[0].endswith(".parquet"):
        return ListCatalog(source)
    if not source.remote and not Path(source.uri).is_dir():
        raise InputError("no such folder", where=source.uri)
    return FolderCatalog(source, pattern)


@dataclass(frozen=True)
class FolderCatalog:
    """A tree of folders.

    Attributes:
        source: Where it is.
        pattern: Names of the folders from the top; `{machine}` is needed, `{date}` and `*` may occur.
    """

    source: Location
    pattern: str = PATTERN

    def __post_init__(self) -> None:
        if self.pattern.count("{machine}") != 1 or self.pattern.count("{date}") > 1:
            raise InputError("the pattern needs {machine} once", value=self.pattern, hint=f"for example {PATTERN}")

    @cached_property
    def _levels(self) -> list[re.Pattern[str]]:
        levels = []
        for level in self.pattern.strip("/").split("/"):
            parts = re.split(r"(\{machine\}|\{date\}|\*)", level)
            levels.append(re.compile("".join(_FIELDS.get(part, re.escape(part)) for part in parts)))
        return levels

    def partitions(self, left_out: LeftOut) -> Iterator[Partition]:
        """Yield one partition per folder that the pattern fits, in the order of names.

        Raises:
            InputError: The source cannot be listed.
        """
        for folder, facts in self._leaves("", {}):
            items = tuple(self._items(folder, left_out))
            if items:
                yield Partition(facts["machine"], facts.get("date", EVERY_DAY), items)

    def _leaves(self, folder: str, facts: dict[str, str], level: int = 0) -> Iterator[tuple[str, dict[str, str]]]:
        if level == len(self._levels):
            yield folder, facts
            return
        for name in self.source.folders(folder):
            if match := self._levels[level].fullmatch(name):
                deeper = f"{folder}/{name}" if folder else name
                yield from self._leaves(deeper, {**facts, **match.groupdict()}, level + 1)

    def _items(self, folder: str, left_out: LeftOut) -> list[Listed]:
        if self.source.remote:
            return list(_recordings_among(self.source.tree(folder), left_out))
        found = recordings_in(Path(self.source.uri) / folder, left_out=left_out)
        items = [Listed(f"{folder}/{name}", stamp_from(s), s.st_mtime_ns) for name, s in found]
        packs = [file for file in self.source.files(folder) if file.name.endswith(PACK)]
        items += [Listed(file.name, file.version, file.modified) for file in packs]
        return sorted(items, key=lambda item: item.name)


def _recordings_among(files: Iterable[Any], left_out: LeftOut) -> Iterator[Listed]:
    for file in files:
        if is_recording(file.name) or file.name.endswith(PACK):
            yield Listed(file.name, file.version, file.modified)
        elif is_foreign(file.name):
            left_out.kinds[f".{file.name.rpartition('.')[2].lower()}"] += 1


@dataclass(frozen=True)
class ListCatalog:
    """A Parquet list with the columns recording, machine, day and perhaps version.

    Names are relative to the folder of the list. A list sorted by machine and day makes the fewest shards. Without the
    column version, recordings are looked at one by one.

    Attributes:
        file: Where the list is.
    """

    file: Location
    root: Location = field(init=False)

    def __post_init__(self) -> None:
        base, mark, options = self.file.uri.partition("?")
        object.__setattr__(self, "root", Location(f"{base.rpartition('/')[0] or '.'}{mark}{options}"))

    def partitions(self, left_out: LeftOut) -> Iterator[Partition]:
        """Yield the recordings of the list, grouped where machine and day stay the same.

        Raises:
            InputError: It cannot be read, or lacks a column.
        """
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        name = self.file.uri.partition("?")[0].rpartition("/")[2]
        try:
            with self.root.at_hand(name) as path, ParquetFile(path) as table:
                columns = {"recording", "machine", "day", "version"} & set(table.schema_arrow.names)
                if missing := {"recording", "machine", "day"} - columns:
                    raise InputError("the list lacks columns", value=sorted(missing), where=self.file.show())
                for batch in table.iter_batches(_LIST_ROWS, columns=sorted(columns)):
                    yield from self._grouped(batch.to_pylist(), left_out)
        except (OSError, ArrowException) as error:
            raise InputError(f"cannot read the list ({error})", where=self.file.show()) from error

    def _grouped(self, rows: list[dict[str, Any]], left_out: LeftOut) -> Iterator[Partition]:
        for (machine, day), group in groupby(rows, key=lambda row: (str(row["machine"]), str(row["day"]))):
            items = {item.name: item for row in group if (item := self._item(row, left_out))}
            if items:
                yield Partition(machine, day, tuple(items[name] for name in sorted(items)))

    def _item(self, row: dict[str, Any], left_out: LeftOut) -> Listed | None:
        name = str(row["recording"])
        if "version" in row:
            return Listed(name, str(row["version"]), 0)
        found = self.root.stamp(name)
        if found is None:
            left_out.refused[self.root.show(name)] = "the list names it, and it is not there"
            return None
        return Listed(name, found.version, found.modified)
