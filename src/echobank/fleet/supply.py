"""Supply: the recordings of a shard as files on this machine, one after another, copies removed behind.

What lies on S3 is fetched some recordings ahead, each with one request; a pack is fetched once and unpacked.
"""

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from echobank.fleet.catalog import PACK, Listed
from echobank.fleet.location import Location

_AHEAD, _THREADS = 16, 4


@dataclass(frozen=True)
class Supplied:
    """A recording at hand.

    Attributes:
        item: What was listed.
        recording: Its name relative to the source.
        path: Where it lies for now.
        copied: Whether that is a copy.
        failure: Why it is not there; empty when it is.
    """

    item: Listed
    recording: str
    path: Path
    copied: bool = False
    failure: str = ""


class Supply(AbstractContextManager["Supply"]):
    """Hands out the recordings of a shard in order.

    Args:
        source: Where they are.
        items: The recordings and packs.
        known: Tells of a recording at hand whether it need not be handed out; it goes to `passed` then.
    """

    def __init__(
        self, source: Location, items: Sequence[Listed], known: Callable[[Supplied], bool] = lambda _: False
    ) -> None:
        self._source, self._items, self._known = source, items, known
        self.passed: list[Supplied] = []
        self._folder: Path | None = None
        self._numbers = count()
        self._out: deque[Supplied] = deque()

    def __exit__(self, *_: object) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def paths(self) -> Iterator[Path]:
        """Yield the paths; `take` gives what each stands for, in the same order."""
        for supplied in self._supplied():
            if self._known(supplied):
                self.passed.append(supplied)
                _discard(supplied)
            else:
                self._out.append(supplied)
                yield supplied.path

    def take(self) -> Supplied:
        """Return the next recording whose path was handed out, and remove its copy."""
        supplied = self._out.popleft()
        _discard(supplied)
        return supplied

    def _supplied(self) -> Iterator[Supplied]:
        if not self._source.remote:
            for item in self._items:
                path = Path(self._source.show(item.name))
                yield from self._unpacked(item, path) if item.name.endswith(PACK) else [Supplied(item, item.name, path)]
            return
        with ThreadPoolExecutor(_THREADS) as threads:
            waiting: deque[tuple[Listed, Future[Supplied]]] = deque()
            ahead = iter(self._items)
            while True:
                while len(waiting) < _AHEAD and (new := next(ahead, None)):
                    waiting.append((new, threads.submit(self._fetched, new, self._new_path(new.name))))
                if not waiting:
                    return
                item, future = waiting.popleft()
                supplied = future.result()
                if item.name.endswith(PACK) and not supplied.failure:
                    yield from self._unpacked(item, supplied.path)
                    supplied.path.unlink(missing_ok=True)
                else:
                    yield supplied

    def _fetched(self, item: Listed, path: Path) -> Supplied:
        try:
            path.write_bytes(self._source.read(item.name))
        except OSError as error:
            reason = f"{self._source.show(item.name)}: cannot be read ({error})"
            return Supplied(item, item.name, path, copied=True, failure=reason)
        return Supplied(item, item.name, path, copied=True)

    def _unpacked(self, item: Listed, pack: Path) -> Iterator[Supplied]:
        """Yield the recordings of a pack; a damaged one is an unreadable recording itself."""
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            with ParquetFile(pack) as file:
                for batch in file.iter_batches(_AHEAD, columns=["recording", "content"]):
                    yield from self._written(item, batch)
        except (OSError, KeyError, ValueError, ArrowException):
            yield Supplied(item, item.name, pack)

    def _written(self, item: Listed, batch: Any) -> Iterator[Supplied]:
        names = batch["recording"].to_pylist()
        for name, content in zip(names, batch["content"], strict=True):
            path = self._new_path(name)
            with path.open("wb") as stream:
                stream.write(content.as_buffer())
            yield Supplied(item, name, path, copied=True)

    def _new_path(self, name: str) -> Path:
        """Return a new path that ends as a name does."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="echobank-fleet-"))
        return self._folder / f"{next(self._numbers)}{Path(name).suffix}"


def _discard(supplied: Supplied) -> None:
    if supplied.copied:
        supplied.path.unlink(missing_ok=True)
