"""Embed: what is new in a source to shards of a dataset.

The driver lists and cuts; an actor reads, embeds and writes its shard; only counts return.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from echobank.data.audio import refused_by_system
from echobank.errors import BankError
from echobank.fleet.dataset import VectorDataset, key_of, shard_file
from echobank.fleet.location import Location
from echobank.fleet.reasons import Reasons
from echobank.fleet.shards import Counts, Entry, Shard, shard_bytes
from echobank.fleet.supply import Supplied, Supply
from echobank.machines.fit import make_listener
from echobank.machines.listener import Heard, Listener
from echobank.models.provenance import Provenance
from echobank.names import printable
from echobank.settings import Config
from echobank.storage import sha256_file

CHANGED = "changed after it was listed; the next run takes it as it is then"


@dataclass(frozen=True)
class EmbedSettings:
    """What an actor needs to embed.

    Attributes:
        config: Encoder, pooling and channel, and whether flags will be wanted.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        source: Where the recordings are.
        dataset: Where shards go.
        threads: Threads of each actor; 0 takes one per core.
    """

    config: Config
    seconds: float
    hop: float
    source: Location
    dataset: Location
    threads: int = 1


@dataclass(frozen=True)
class ShardDone:
    """The result of one shard.

    Attributes:
        counts: What its file holds.
        errors: Why recordings in it cannot be used.
        waiting: Recordings that the next run tries again: the system or the network refused them, or they changed.
        same: Recordings that the dataset had with the same bytes in another version; they were not embedded again.
    """

    counts: Counts
    errors: Reasons = field(default_factory=Reasons)
    waiting: Reasons = field(default_factory=Reasons)
    same: int = 0


class EmbedWorker:
    """Embeds shards; the encoder is loaded once, for the first of them.

    Args:
        settings: What it needs.
    """

    def __init__(self, settings: EmbedSettings) -> None:
        self._settings = settings
        self._dataset = VectorDataset(settings.dataset)
        self._listener: Listener | None = None

    def ready(self) -> Provenance:
        """Load the encoder and what writes shards, and return what the encoder makes embeddings with.

        Raises:
            WeightsError: The encoder's weights are not there.
        """
        import pyarrow.parquet  # noqa: F401  (before work is timed: it takes as long as many recordings)

        return self._loaded().provenance

    def do(self, shard: Shard) -> ShardDone:
        """Embed a shard and write it; one that is there already is left as it is.

        Raises:
            BankError: The encoder here is another than the one that the dataset is made with.
            OutputError: The shard cannot be written.
        """
        listener = self._loaded()
        key = key_of(listener.provenance, listener.traits)
        if key != shard.key:
            raise BankError(
                "the encoder on this node is another than on the first", hint="install the same version and weights"
            )
        if counts := self._dataset.counts(shard, key):
            return ShardDone(counts)
        done = ShardDone(Counts())
        before = self._dataset.heard(key, shard.machine, shard.day) if shard.touched else {}
        with Supply(self._settings.source, shard.items, partial(_has_bytes_of, before)) as supply:
            entries = list(self._entries(listener, supply, done))
            recalled = list(self._recalled(supply, before, done))
        entries += recalled
        counts = Counts(
            sum(not entry.heard.error for entry in entries),
            sum(len(entry.heard) for entry in entries),
            len(done.errors),
        )
        if entries:
            name = shard_file(key, shard.machine, shard.day, shard.name)
            self._dataset.at.write(name, shard_bytes(entries, counts))
        return replace(done, counts=counts, same=len(recalled))

    def _entries(self, listener: Listener, supply: Supply, done: ShardDone) -> Iterator[Entry]:
        for heard in listener.hear(supply.paths()):
            supplied = supply.take()
            shown = self._settings.source.show(supplied.recording)
            error = supplied.failure or heard.error.replace(str(heard.path), shown)
            if waiting := self._refused(supplied, error):
                done.waiting.add(shown, waiting)
                continue
            if error:
                done.errors.add(shown, error)
            yield Entry(supplied.item, supplied.recording, replace(heard, path=Path(shown), error=error))

    def _recalled(self, supply: Supply, before: Mapping[str, Heard], done: ShardDone) -> Iterator[Entry]:
        """Yield what the dataset knows of recordings that were touched and have the bytes that they had."""
        for supplied in supply.passed:
            if waiting := self._refused(supplied, ""):
                done.waiting.add(self._settings.source.show(supplied.recording), waiting)
            else:
                yield Entry(supplied.item, supplied.recording, before[printable(supplied.recording)])

    def _refused(self, supplied: Supplied, error: str) -> str:
        """Return why a recording is left for the next run; empty where what was heard is final."""
        if supplied.failure or refused_by_system(error):
            return error
        source = self._settings.source
        now = None if source.remote else source.stamp(supplied.item.name)
        return CHANGED if now and now.version != supplied.item.version else ""

    def _loaded(self) -> Listener:
        if self._listener is None:
            settings = self._settings
            made = make_listener(settings.config, settings.seconds, settings.hop)
            self._listener = replace(made, workers=settings.threads, traits=settings.config.scoring.flag_rate > 0)
        return self._listener


def _has_bytes_of(before: Mapping[str, Heard], supplied: Supplied) -> bool:
    """Return whether a recording has the bytes that it had when it was heard; one that is new or unreadable has not."""
    heard = before.get(printable(supplied.recording))
    if heard is None or heard.error or supplied.failure:
        return False
    try:
        return sha256_file(supplied.path) == heard.sha256
    except OSError:
        return False
