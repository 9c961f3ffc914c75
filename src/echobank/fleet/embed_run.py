"""The driver of an embed run: what is new is cut into shards and handed out; counts are added up as they come.

Nothing here grows with the number of recordings: one partition is listed at a time, no faster than actors take shards.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from echobank.data.folder import LeftOut
from echobank.errors import InputError, OutputError
from echobank.fleet.catalog import Catalog, Partition
from echobank.fleet.cluster import Lost, RayPool
from echobank.fleet.dataset import MadeBy, VectorDataset, settings_of
from echobank.fleet.embedding import EmbedSettings, ShardDone
from echobank.fleet.location import Location
from echobank.fleet.reasons import Reasons
from echobank.fleet.shards import RECORDINGS, Counts, Shard, cut
from echobank.names import printable


@dataclass(frozen=True)
class Pace:
    """Progress of a run.

    Attributes:
        done: Recordings and packs dealt with.
        total: How many there are to do; None while they are counted.
        seconds: Since the first actor was ready.
    """

    done: int
    total: int | None
    seconds: float

    @property
    def rate(self) -> float:
        """Recordings and packs per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds to the end at this rate; None where that is not known."""
        return None if self.total is None or not self.done else (self.total - self.done) / self.rate


@dataclass
class EmbedTally:
    """The outcome of a run.

    Attributes:
        made: What made the embeddings.
        new: Counts of the shards of this run.
        shards: How many there were.
        same: Recordings among them whose file was touched and has the bytes that it had; they were not embedded again.
        known: Recordings that the dataset had already.
        errors: Recordings of the source that cannot be used, of this run and of earlier ones, by reason.
        waiting: Recordings that the next run tries again, by reason.
        lost: Shards that were given up, by reason.
        left_out: What the listing passed over.
        starting: Seconds until the first actor was ready; 0 where none was needed.
        seconds: Seconds of work after that.
    """

    made: MadeBy | None = None
    new: Counts = field(default_factory=Counts)
    shards: int = 0
    same: int = 0
    known: int = 0
    errors: Reasons = field(default_factory=Reasons)
    waiting: Reasons = field(default_factory=Reasons)
    lost: Reasons = field(default_factory=Reasons)
    left_out: LeftOut = field(default_factory=LeftOut)
    starting: float = 0.0
    seconds: float = 0.0


class ShardPool(Protocol):
    """What the driver needs of a pool; `RayPool` is one."""

    def first(self) -> object:
        """Start the first actor and return what it says when it is ready."""
        ...

    def map(self, tasks: Iterator[Shard]) -> Iterator[tuple[Shard, ShardDone | Lost]]:
        """Yield tasks and what came of them."""
        ...


class EmbedRun:
    """One run of `fleet embed`.

    Args:
        settings: What actors need.
        catalog: Lists the source.
        size: Most recordings per shard.
    """

    def __init__(self, settings: EmbedSettings, catalog: Catalog, size: int = RECORDINGS) -> None:
        self._settings, self._catalog, self._size = settings, catalog, size
        self._dataset = VectorDataset(settings.dataset)

    def run(
        self, pool: "RayPool[Shard, ShardDone] | ShardPool", see: Callable[[Pace], object] = lambda _: None
    ) -> EmbedTally:
        """Embed what is new.

        Args:
            pool: Who does it; not asked where nothing is new.
            see: Called after each shard.

        Raises:
            InputError: The source or dataset cannot be used, or another run writes there.
            WeightsError: The encoder's weights are not there.
            OutputError: A shard cannot be written.
        """
        tally = EmbedTally()
        with locked(self._settings.dataset):
            begun = time.monotonic()
            tally.made = self._made_before() or self._made_now(pool)
            shards = self._new_shards(tally.made.key, tally)
            first = next(shards, None)
            if first is not None:
                pool.first()
                tally.starting = time.monotonic() - begun
                counter = _Counter(self._catalog, self._dataset, tally.made.key)
                begun, done = time.monotonic(), 0
                for shard, outcome in pool.map(_with(first, shards)):
                    _add(tally, shard, outcome)
                    done += len(shard.items)
                    tally.seconds = time.monotonic() - begun
                    see(Pace(done, counter.total, tally.seconds))
            self._settings.dataset.sweep()
        return tally

    def _made_before(self) -> MadeBy | None:
        """Return what made embeddings by these very settings before; then no encoder is needed to know it."""
        settings = self._settings
        wanted = settings_of(settings.config, settings.seconds, settings.hop)
        known = [made for made in self._dataset.made_by() if made.settings == wanted]
        if known and known[0].source != source_root(settings.source):
            self._dataset.remember(MadeBy(wanted, known[0].provenance, source_root(settings.source)))  # refuses it
        return known[0] if known else None

    def _made_now(self, pool: "RayPool[Shard, ShardDone] | ShardPool") -> MadeBy:
        settings = self._settings
        provenance = pool.first()
        wanted = settings_of(settings.config, settings.seconds, settings.hop)
        made = MadeBy(wanted, provenance, source_root(settings.source))  # type: ignore[arg-type]
        self._dataset.remember(made)
        return made

    def _new_shards(self, key: str, tally: EmbedTally) -> Iterator[Shard]:
        for partition in self._catalog.partitions(tally.left_out):
            known = self._dataset.known(key, partition.machine, partition.day)
            for item in partition.items:
                place = printable(item.name), item.version
                tally.known += len(known.items.get(place, ()))
                for name, error in known.errors.get(place, {}).items():
                    tally.errors.add(self._settings.source.show(name), error)
            new = [item for item in partition.items if not known.has(item)]
            for touched in (False, True):
                items = [item for item in new if (printable(item.name) in known.names) == touched]
                yield from cut(partition, items, key, self._size, touched=touched)


def source_root(source: Location) -> str:
    """Return the full name of a source with a "/" at the end."""
    where = source if source.remote else Location(str(Path(source.uri).absolute()))
    return f"{where.show().rstrip('/')}/"


@contextmanager
def locked(dataset: Location) -> Iterator[None]:
    """Hold the lock of a dataset on disk, which the system frees when its holder dies; S3 has none.

    Raises:
        InputError: Another run holds it.
        OutputError: The folder cannot be written.
    """
    if dataset.remote:
        with nullcontext():
            yield
        return
    folder = Path(dataset.uri)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".fleet.lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError("another fleet run writes here", where=dataset.uri, hint="wait for it to end") from error
    except OSError as error:
        raise OutputError(f"cannot write ({error.strerror})", where=dataset.uri, hint="choose another --out") from error
    try:
        yield
    finally:
        lock.release()


class _Counter:
    """Counts what is to be done in a thread beside the work, so that an estimate knows the whole."""

    def __init__(self, catalog: Catalog, dataset: VectorDataset, key: str) -> None:
        self.total: int | None = None
        self._catalog, self._dataset, self._key = catalog, dataset, key
        self._before = time.time_ns()
        threading.Thread(target=self._count, name="fleet-counter", daemon=True).start()

    def _count(self) -> None:
        total = 0
        try:
            for partition in self._catalog.partitions(LeftOut()):
                total += self._new_in(partition)
        except InputError:  # the run itself says so; there is no estimate then
            return
        self.total = total

    def _new_in(self, partition: Partition) -> int:
        known = self._dataset.known(self._key, partition.machine, partition.day, before=self._before)
        return sum(not known.has(item) for item in partition.items)


def _with(first: Shard, others: Iterator[Shard]) -> Iterator[Shard]:
    yield first
    yield from others


def _add(tally: EmbedTally, shard: Shard, outcome: ShardDone | Lost) -> None:
    if isinstance(outcome, Lost):
        tally.lost.add(f"{shard.machine} {shard.day}", outcome.reason, len(shard.items))
        return
    tally.shards += 1
    tally.new += outcome.counts
    tally.same += outcome.same
    tally.errors.merge(outcome.errors)
    tally.waiting.merge(outcome.waiting)
