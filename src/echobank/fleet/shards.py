"""Shards: some recordings of one machine and day, and the Parquet file that their embeddings become.

A shard is named by the hash of what it holds (names and content versions) and of the provenance, so the same work has
the same name, whoever does it and however often.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from echobank.errors import InputError
from echobank.fleet.catalog import Listed, Partition
from echobank.machines.listener import Heard
from echobank.names import printable

RECORDINGS = 256  # per shard: some minutes of work for one core, and a file of some MB
_COUNTS, _SHAPE = b"echobank.counts", b"echobank.shape"
_WORDS = ("object", "version", "recording", "sha256", "sound_sha256", "flags", "error")
_FLOATS = ("recording_seconds", "start", "seconds", "level_dbfs")
_WHOLE = ("modified", "source_rate")
_VECTORS = {"vector": "vectors", "profile": "profiles", "traits": "traits"}


@dataclass(frozen=True)
class Shard:
    """Work for an actor: recordings of one machine and day that belong into one file.

    Attributes:
        machine: The machine.
        day: The day.
        items: Recordings and packs.
        name: Name of the file.
        key: Key of the provenance.
        touched: Whether the dataset has them in another version, perhaps with the same bytes.
    """

    machine: str
    day: str
    items: tuple[Listed, ...]
    name: str
    key: str
    touched: bool = False


@dataclass(frozen=True)
class Counts:
    """The outcome of a shard.

    Attributes:
        recordings: Recordings that were embedded.
        windows: Their windows.
        errors: Recordings that cannot be read; each is a row.
    """

    recordings: int = 0
    windows: int = 0
    errors: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.recordings + other.recordings, self.windows + other.windows, self.errors + other.errors)


@dataclass(frozen=True)
class Entry:
    """A recording of a shard.

    Attributes:
        item: What was listed: the recording itself, or the pack that it lies in.
        recording: Its name relative to the source.
        heard: What was heard in it.
    """

    item: Listed
    recording: str
    heard: Heard


def cut(
    partition: Partition, items: Sequence[Listed], key: str, size: int = RECORDINGS, *, touched: bool = False
) -> Iterator[Shard]:
    """Yield shards of some items of a partition.

    Args:
        partition: Where they belong.
        items: What is to be embedded.
        key: Key of the provenance.
        size: Most recordings and packs per shard.
        touched: As `Shard`.
    """
    for begin in range(0, len(items), size):
        part = tuple(items[begin : begin + size])
        yield Shard(partition.machine, partition.day, part, shard_name(partition, part, key), key, touched)


def shard_name(partition: Partition, items: Sequence[Listed], key: str) -> str:
    """Return 32 hexadecimal digits of the hash of what a shard holds and of its provenance."""
    facts = [key, partition.machine, partition.day, *([item.name, item.version] for item in items)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def shard_bytes(entries: Sequence[Entry], counts: Counts) -> bytes:
    """Return the Parquet file of a shard: one row per window, or per recording with an error."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    usable = [entry.heard for entry in entries if not entry.heard.error]
    first = usable[0] if usable else None
    shape = [*first.vectors.shape[1:], first.profiles.shape[2], first.traits.shape[1]] if first else []
    columns: dict[str, list[Any]] = {name: [] for name in (*_WORDS, *_WHOLE, *_FLOATS)}
    for entry in entries:
        for row in _rows(entry):
            for name, value in row.items():
                columns[name].append(value)
    kinds = {**dict.fromkeys(_WORDS, pa.string()), **dict.fromkeys(_WHOLE, pa.int64())}
    kinds |= dict.fromkeys(_FLOATS, pa.float64())
    arrays = {name: pa.array(values, kinds[name]) for name, values in columns.items()}
    for name, which in _VECTORS.items():
        parts = [row for entry in entries for row in (getattr(entry.heard, which) if not entry.heard.error else [[]])]
        arrays[name] = _lists(pa, parts)
    facts = {_COUNTS: json.dumps(asdict(counts)).encode(), _SHAPE: json.dumps(shape).encode()}
    table = pa.table(arrays).replace_schema_metadata(facts)
    sink = BytesIO()
    pq.write_table(table, sink, compression="zstd", use_dictionary=list(_WORDS))
    return sink.getvalue()


def counts_in(path: Path) -> Counts:
    """Return the counts of a shard from its footer.

    Raises:
        InputError: It is no shard.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        return Counts(**json.loads(read_schema(path).metadata[_COUNTS]))
    except (OSError, KeyError, TypeError, ValueError, ArrowException) as error:
        raise _damaged(path) from error


def known_in(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield (name, version, recording, error) of each recording that a shard holds.

    Raises:
        InputError: It is no shard.
    """
    table = _read(path, ["object", "version", "recording", "error"]).to_pydict()
    seen = set()
    for item, version, recording, error in zip(*table.values(), strict=True):
        if (item, recording) not in seen:
            seen.add((item, recording))
            yield item, version, recording, error


def entries_in(path: Path, root: str) -> list[Entry]:
    """Return the recordings of a shard as they were heard.

    Args:
        path: The file.
        root: Full name of the source, with a "/" at the end; recordings get their full names from it.

    Raises:
        InputError: It is no shard, or it is damaged.
    """
    table = _read(path, None)
    columns = {name: table[name].to_pylist() for name in (*_WORDS, *_WHOLE, *_FLOATS)}
    shape = json.loads(table.schema.metadata[_SHAPE])
    arrays = [[_row(column) for column in table[name]] for name in _VECTORS if name in table.column_names]
    entries: list[Entry] = []
    begin = 0
    for end in _ends(columns["object"], columns["recording"]):
        rows = slice(begin, end)
        item = Listed(columns["object"][begin], columns["version"][begin], columns["modified"][begin])
        one = {name: values[rows] for name, values in columns.items()}
        entries.append(Entry(item, one["recording"][0], _heard(one, [array[rows] for array in arrays], shape, root)))
        begin = end
    return entries


def _rows(entry: Entry) -> Iterator[dict[str, Any]]:
    heard, item = entry.heard, entry.item
    same = {"object": printable(item.name), "version": item.version, "modified": item.modified}
    same |= {"recording": printable(entry.recording)}
    same |= {"sha256": heard.sha256, "sound_sha256": heard.sound_sha256, "source_rate": heard.source_rate}
    same |= {"recording_seconds": heard.seconds, "error": printable(heard.error)}
    if heard.error:
        yield {**same, "flags": "", "start": None, "seconds": None, "level_dbfs": None}
        return
    for i in range(len(heard)):
        window = float(heard.starts[i]), float(heard.lengths[i]), float(heard.levels[i])
        yield {**same, "flags": "+".join(heard.flags[i]), **dict(zip(_FLOATS[1:], window, strict=True))}


def _lists(pa: Any, parts: Sequence[Any]) -> Any:
    flat = [np.asarray(part, np.float32).ravel() for part in parts]
    ends = np.cumsum([0, *map(len, flat)]).astype(np.int64)
    values = pa.array(np.concatenate(flat) if flat else np.zeros(0, np.float32), pa.float32())
    return pa.LargeListArray.from_arrays(pa.array(ends), values)


def _row(value: Any) -> Any:
    return value.values.to_numpy(zero_copy_only=False)


def _ends(objects: Sequence[str], recordings: Sequence[str]) -> Iterator[int]:
    """Yield where each recording's rows end."""
    keys = list(zip(objects, recordings, strict=True))
    yield from (i for i in range(1, len(keys) + 1) if i == len(keys) or keys[i] != keys[i - 1])


def _heard(one: dict[str, Any], arrays: list[list[Any]], shape: list[int], root: str) -> Heard:
    path, error, none = Path(root + one["recording"][0]), one["error"][0], np.zeros(0)
    facts = (path, one["sha256"][0], one["source_rate"][0], one["recording_seconds"][0])
    if error:
        empty = np.zeros((0, 1, 1), np.float32), np.zeros((0, 2, 1), np.float32)
        return Heard(*facts, *empty, none, none, none, (), error)
    bands, dimension, bins, traits = (*shape, 0)[:4]
    return Heard(
        *facts,
        np.stack(arrays[0]).reshape(-1, bands, dimension),
        np.stack(arrays[1]).reshape(-1, 2, bins),
        np.array(one["start"]),
        np.array(one["seconds"]),
        np.array(one["level_dbfs"]),
        tuple(tuple(text.split("+")) if text else () for text in one["flags"]),
        sound_sha256=one["sound_sha256"][0],
        traits=np.stack(arrays[2]) if traits else np.zeros((len(arrays[0]), 0), np.float32),
    )


def _read(path: Path, columns: list[str] | None) -> Any:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            table = file.read(columns)
            if _COUNTS not in (table.schema.metadata or {}):
                raise _damaged(path)
            return table.select(columns) if columns else table
    except (OSError, ValueError, ArrowException) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InputError:
    return InputError("not a shard of this dataset, or a damaged one", where=path, hint="remove it and embed again")
