"""Packs: the short files of a machine's hour in one Parquet object, byte for byte as they were.

An object per clip costs more in requests than the computing. A recording keeps its bytes, so its hash and its
embedding are those of the file. The name of a pack is the hash of what is in it; files that arrive later make a pack
of their own.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from urllib.parse import quote

from echobank.data.folder import LeftOut
from echobank.errors import InputError
from echobank.fleet.catalog import PACK, Catalog, Listed, Partition
from echobank.fleet.location import Location
from echobank.fleet.reasons import Reasons
from echobank.names import printable

_HOUR_NS = 3600 * 10**9
_GROUP = 32  # recordings per row group: what is in memory at once when a pack is read
PACK_BYTES = 1 << 30  # an hour that is larger becomes several packs


@dataclass
class Packed:
    """A run of `pack`: recordings and packs written, their bytes, packs that were there, and failures."""

    recordings: int = 0
    packs: int = 0
    size: int = 0
    known: int = 0
    waiting: Reasons = field(default_factory=Reasons)


def pack_source(
    source: Location, catalog: Catalog, out: Location, time: str | None = None, left_out: LeftOut | None = None
) -> Packed:
    """Pack the recordings of a source by machine, day and hour.

    Args:
        source: Where the recordings are.
        catalog: Lists them.
        out: Where packs go: `<machine>/<day>/<hour>-<hash>.pack.parquet`.
        time: Expression with a group `h` that finds the hour in a name; None takes the time of change, UTC.
        left_out: What the listing passed over.

    Raises:
        InputError: The source cannot be listed, or the expression has no group `h`.
        OutputError: A pack cannot be written.
    """
    if time is not None and "h" not in re.compile(time).groupindex:
        raise InputError("the expression needs a group h", value=time, hint=r"for example _(?P<h>\d\d)\d{4}\.")
    done = Packed()
    for partition in catalog.partitions(left_out if left_out is not None else LeftOut()):
        members = _members(out, partition)
        for hour, items in _by_hour(partition.items, time):
            new = [item for item in items if (printable(item.name), item.version) not in members]
            done.known += len(new) < len(items)
            for part in _bounded(new):
                _write(source, out, partition, hour, part, done)
    return done


def _by_hour(items: Sequence[Listed], time: str | None) -> Iterator[tuple[str, list[Listed]]]:
    hours: dict[str, list[Listed]] = {}
    for item in items:
        if not item.name.endswith(PACK):
            hours.setdefault(_hour(item, time), []).append(item)
    yield from sorted(hours.items())


def _hour(item: Listed, time: str | None) -> str:
    if time is not None:
        match = re.search(time, item.name)
        return match["h"] if match else "unknown"
    return f"{datetime.fromtimestamp(item.modified / 1e9, UTC):%H}"


def _bounded(items: Sequence[Listed]) -> Iterator[list[Listed]]:
    """Yield parts of at most `PACK_BYTES` by the sizes in the versions."""
    part: list[Listed] = []
    size = 0
    for item in items:
        one = int(item.version.partition("-")[0]) if item.version.partition("-")[0].isdigit() else 0
        if part and size + one > PACK_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += one
    if part:
        yield part


def _folder(partition: Partition) -> str:
    return f"{quote(partition.machine, safe=' ')}/{quote(partition.day, safe=' ')}"


def _members(out: Location, partition: Partition) -> set[tuple[str, str]]:
    """Return (name, version) of what the packs of a machine's day hold."""
    from pyarrow.parquet import read_table

    found: set[tuple[str, str]] = set()
    for file in out.files(_folder(partition)):
        if file.name.endswith(PACK):
            with out.at_hand(file.name) as path:
                table = read_table(path, columns=["recording", "version"]).to_pydict()
                found |= set(zip(table["recording"], table["version"], strict=True))
    return found


def _write(source: Location, out: Location, partition: Partition, hour: str, items: list[Listed], done: Packed) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([("recording", pa.string()), ("version", pa.string()), ("content", pa.large_binary())])
    sink, held = BytesIO(), 0
    with ParquetWriter(sink, schema, compression="none", use_dictionary=False) as writer:
        for begin in range(0, len(items), _GROUP):
            rows = []
            for item in items[begin : begin + _GROUP]:
                try:
                    content = source.read(item.name)
                except OSError as error:
                    done.waiting.add(source.show(item.name), f"cannot be read ({error.strerror or error})")
                    continue
                rows.append({"recording": printable(item.name), "version": item.version, "content": content})
            held += len(rows)
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    if not held:
        return
    facts = json.dumps([[item.name, item.version] for item in items]).encode()
    content = sink.getvalue()
    out.write(f"{_folder(partition)}/{hour}-{hashlib.sha256(facts).hexdigest()[:16]}{PACK}", content)
    done.recordings += held
    done.packs += 1
    done.size += len(content)
