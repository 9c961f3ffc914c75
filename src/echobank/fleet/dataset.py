"""The dataset: shards of embeddings by machine and day, on disk or on S3, and what made them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote

from echobank.errors import ConfigError, InputError
from echobank.fleet.catalog import Listed
from echobank.fleet.location import Location, Stamped
from echobank.fleet.shards import Counts, Entry, Shard, counts_in, entries_in, known_in
from echobank.machines.listener import Heard
from echobank.models.provenance import Provenance
from echobank.models.registry import find_weights, joined_names
from echobank.names import printable
from echobank.settings import Config
from echobank.storage import sha256_file
from echobank.version import __version__


@dataclass(frozen=True)
class MadeBy:
    """What made the embeddings of a dataset.

    Attributes:
        settings: What the user set that decides them, the weights by their hash, and the version of this program.
        provenance: The facts of the encoder.
        source: Full name of the source, and where names of recordings begin.
    """

    settings: dict[str, Any]
    provenance: Provenance
    source: str

    @property
    def key(self) -> str:
        """Name of the folder of shards made so."""
        return key_of(self.provenance, self.traits)

    @property
    def traits(self) -> bool:
        """Whether what flags are made of is kept beside the embeddings."""
        return bool(self.settings.get("traits"))

    def to_plain(self) -> dict[str, Any]:
        """Return plain values as JSON knows them."""
        return {"settings": self.settings, "provenance": self.provenance.to_header(), "source": self.source}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "MadeBy":
        """Return what `to_plain` made plain values of."""
        return cls(plain["settings"], Provenance.from_header(plain["provenance"]), plain["source"])


@dataclass(frozen=True)
class VectorDataset:
    """A dataset of embeddings."""

    at: Location

    def made_by(self) -> list[MadeBy]:
        """Return what made its embeddings: one entry per provenance, sorted by key.

        Raises:
            InputError: One cannot be read.
        """
        return [self._made_by(file) for file in self.at.files("made_by") if file.name.endswith(".json")]

    def only(self, key: str = "") -> MadeBy:
        """Return what made its embeddings, where that is one thing, or the one of a key.

        Raises:
            InputError: There is none, or there are several.
        """
        there = self.made_by()
        found = [made for made in there if made.key == key] or [made for made in there if made.key.startswith(key)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise InputError("no embeddings here", where=self.at.show(), hint="run echobank fleet embed first")
        keys = ", ".join(f"{made.key} ({made.provenance.encoder.name})" for made in found)
        raise InputError(f"embeddings of {len(found)} kinds: {keys}", where=self.at.show(), hint="choose by --key")

    def remember(self, made: MadeBy) -> None:
        """Write what makes embeddings, before the first of them.

        Raises:
            InputError: Embeddings made so are here from another source.
            OutputError: It cannot be written.
        """
        for known in self.made_by():
            if known.key == made.key and known.source != made.source:
                raise InputError(
                    f"the dataset is of another source, {known.source}", value=made.source, hint="take another --out"
                )
        text = json.dumps(made.to_plain(), indent=2, sort_keys=True)
        self.at.write(f"made_by/{made.key}.json", f"{text}\n".encode())

    def machines(self, key: str) -> list[str]:
        """Return the machines that have shards."""
        return [unquote(name[8:]) for name in self.at.folders(f"embeddings/{key}") if name.startswith("machine=")]

    def days(self, key: str, machine: str) -> list[str]:
        """Return the days of a machine that have shards."""
        folders = self.at.folders(f"embeddings/{key}/machine={quote(machine, safe='')}")
        return [unquote(name[4:]) for name in folders if name.startswith("day=")]

    def shards(self, key: str, machine: str, day: str) -> list[Stamped]:
        """Return the files of a partition."""
        return [file for file in self.at.files(folder_of(key, machine, day)) if file.name.endswith(".parquet")]

    def known(self, key: str, machine: str, day: str, before: int | None = None) -> "Known":
        """Return what a partition holds.

        Args:
            key: Key of the provenance.
            machine: The machine.
            day: The day.
            before: Leaves out shards that were written at this time or later, ns.

        Raises:
            InputError: A shard is damaged.
        """
        known = Known({}, {})
        files = self.shards(key, machine, day)
        for file in (file for file in files if before is None or file.modified < before):
            with self.at.at_hand(file.name) as path:
                for name, version, recording, error in known_in(path):
                    known.items.setdefault((name, version), set()).add(recording)
                    if error:
                        known.errors.setdefault((name, version), {})[recording] = error
        return known

    def counts(self, shard: Shard, key: str) -> Counts | None:
        """Return the counts of a shard that is here, None where it is not.

        Raises:
            InputError: It is damaged.
        """
        name = shard_file(key, shard.machine, shard.day, shard.name)
        if self.at.stamp(name) is None:
            return None
        with self.at.at_hand(name) as path:
            return counts_in(path)

    def entries(self, made: MadeBy, machine: str, day: str) -> list[Entry]:
        """Return the recordings of a partition, sorted by name, each in its newest version.

        Raises:
            InputError: A shard is damaged.
        """
        newest = self._newest(made.key, machine, day, made.source)
        return [newest[name] for name in sorted(newest)]

    def heard(self, key: str, machine: str, day: str) -> dict[str, Heard]:
        """Return what was heard in the recordings of a partition by their names, each in its newest version.

        Raises:
            InputError: A shard is damaged.
        """
        return {name: entry.heard for name, entry in self._newest(key, machine, day, "").items()}

    def _newest(self, key: str, machine: str, day: str, root: str) -> dict[str, Entry]:
        newest: dict[str, Entry] = {}
        for file in self.shards(key, machine, day):
            with self.at.at_hand(file.name) as path:
                for entry in entries_in(path, root):
                    other = newest.get(entry.recording)
                    if other is None or _age(other) < _age(entry):
                        newest[entry.recording] = entry
        return newest

    def totals(self, key: str) -> Iterator[tuple[str, str, Stamped, Counts]]:
        """Yield machine, day, file and counts of every shard.

        Raises:
            InputError: A shard is damaged.
        """
        for machine in self.machines(key):
            for day in self.days(key, machine):
                for file in self.shards(key, machine, day):
                    with self.at.at_hand(file.name) as path:
                        yield machine, day, file, counts_in(path)

    def _made_by(self, file: Stamped) -> MadeBy:
        try:
            return MadeBy.from_plain(json.loads(self.at.read(file.name)))
        except (OSError, KeyError, TypeError, ValueError, ConfigError) as error:
            raise InputError("cannot read what made the dataset", where=self.at.show(file.name)) from error


@dataclass(frozen=True)
class Known:
    """What a partition holds already.

    Attributes:
        items: (name, version) to the recordings in it: itself, or those of a pack.
        errors: (name, version) to the recordings in it that cannot be read, and why.
    """

    items: dict[tuple[str, str], set[str]]
    errors: dict[tuple[str, str], dict[str, str]]

    def has(self, item: Listed) -> bool:
        """Return whether a recording or pack is there in the version that was listed."""
        return (printable(item.name), item.version) in self.items

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the recordings and packs that are there in any version."""
        return frozenset(name for name, _ in self.items)


def key_of(made: Provenance, traits: bool) -> str:
    """Return the name of what is made with a provenance, with or without traits."""
    return f"{made.cache_key}-traits" if traits else made.cache_key


def folder_of(key: str, machine: str, day: str) -> str:
    """Return the folder of a partition in a dataset."""
    return f"embeddings/{key}/machine={quote(machine, safe='')}/day={quote(day, safe='')}"


def shard_file(key: str, machine: str, day: str, name: str) -> str:
    """Return the name of a shard's file in a dataset."""
    return f"{folder_of(key, machine, day)}/{name}.parquet"


def settings_of(config: Config, seconds: float, hop: float) -> dict[str, Any]:
    """Return what the user set that decides embeddings, the weights by their hash.

    Raises:
        WeightsError: The encoder's weights are not there.
    """
    model = config.model
    facts = {name: getattr(model, name) for name in ("embedding", "layer", "pooling", "pooling_params", "bands")}
    facts |= {"precision": model.precision, "channel": config.data.channel, "seconds": seconds, "hop": hop}
    parts = joined_names(model.embedding) or [model.embedding]
    weights = config.weights
    facts["traits"] = config.scoring.flag_rate > 0
    files = [find_weights(part, weights.path, weights.cache)[2] for part in parts]
    facts["weights"] = hashlib.sha256("".join(sha256_file(file) for file in files if file).encode()).hexdigest()
    plain: dict[str, Any] = json.loads(json.dumps({**facts, "version": __version__}))
    return plain


def _age(entry: Entry) -> tuple[int, str]:
    return entry.item.modified, entry.item.version
