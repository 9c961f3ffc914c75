"""The scheduler: the same threads read sources and embed their pieces, in batches that timing does not change.

A thread that is free embeds a batch that waits, else it reads on, first where most are waiting for it. Full batches of
one source go ahead on their own; what is left of each source is put together in the order of the sources. So the
batches depend on the sources alone, a long recording keeps every thread busy, and no more than a few batches wait. Only
a job of a single batch is dealt out to the threads.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Condition

from echobank.errors import AudioError, ConfigError, OutputError
from echobank.models.courses import Course, Item, Outputs, Shelf
from echobank.models.encoder import Feature
from echobank.models.sources import Feedable, Piece
from echobank.models.workers import single_threaded, start_workers, worker_count

LOOKAHEAD = 4  # batches that may wait for others of their length; bounds memory whatever the number of recordings
_PATIENCE = 2  # batches of sources that go by before a piece no longer waits for others of its length
_ENDS_THE_RUN = (ConfigError, OutputError)  # no fault of one source


@dataclass(frozen=True)
class Job:
    """How pieces become outputs.

    Attributes:
        embed: Features of a batch to the outputs of each.
        recall: Identity to outputs that are stored, or None.
        keep: Stores the outputs of an identity.
        batch_size: Pieces per batch.
        at_once: Batches embedded at the same time; 0 is one per thread.
        threads: Worker threads; 0 is one per core.
        alone: Whether the one piece of a small job runs outside the worker threads, with every core.
    """

    embed: Callable[[Sequence[Feature]], list[Outputs]]
    recall: Callable[[str], Outputs | None]
    keep: Callable[[str, Outputs], None]
    batch_size: int
    at_once: int = 0
    threads: int = 0
    alone: bool = False


class Scheduler:
    """Takes sources to what comes of them, in their order.

    Args:
        job: How pieces become outputs.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._threads = worker_count(job.threads)
        self._changed = Condition()  # guards everything below
        self._courses: deque[Course] = deque()  # added and not yet given out
        self._to_read: list[Course] = []  # not read to the end, and not being read; in their order
        self._to_place: deque[Course] = deque()  # what is left of them is not on the common shelf yet
        self._shelf = Shelf()
        self._batches: deque[list[Item]] = deque()
        self._busy = self._embedding = self._waiting = self._made = 0
        self._ended = self._stopped = self._settled = False
        self._failure: BaseException | None = None

    def run(self, sources: Iterable[Feedable]) -> Generator[Course, None, None]:
        """Yield what comes of each source, in order; sources are read a few batches ahead."""
        numbered = enumerate(sources)
        with ExitStack() as limits, start_workers(self._threads) as self._pool:
            try:
                while True:
                    self._fill(numbered)
                    if not self._courses:
                        return
                    yield self._first(limits)
            finally:
                with self._changed:
                    self._stopped = True

    def _fill(self, numbered: Iterator[tuple[int, Feedable]]) -> None:
        while not self._ended and len(self._courses) < self._window:
            step = next(numbered, None)
            with self._changed:
                if step is None:
                    self._ended = True
                    self._place()
                else:
                    course = Course(*step)
                    self._courses.append(course)
                    self._to_read.append(course)
                    self._to_place.append(course)
                self._start()

    def _first(self, limits: ExitStack) -> Course:
        """Wait for the first source that was not given out."""
        course = self._courses[0]
        while True:
            with self._changed:
                while not (done := self._failure or course.finished) and (self._settled or not self._may_settle()):
                    self._changed.wait()
                if self._failure:
                    raise self._failure
                if done:
                    self._courses.popleft()
                    self._start()
                    return course
                batch = self._only_batch() if self._ended and self._made == 1 else None
            if batch is None:
                limits.enter_context(single_threaded())
                with self._changed:
                    self._settled = True
                    self._start()
            else:
                self._embed(batch)

    def _only_batch(self) -> list[Item] | None:
        """Return the one piece of the job, or deal its one batch out to the threads; the caller holds the lock."""
        if len(self._batches[0]) == 1:
            return self._batches.popleft() if self._job.alone else None
        batch, at_once = self._batches.popleft(), self._job.at_once or self._threads
        self._batches.extend(share for i in range(at_once) if (share := batch[i::at_once]))
        return None

    def _may_settle(self) -> bool:
        """Return whether it is known that there are several batches, or only one."""
        return bool(self._batches) and (self._made > 1 or not self._to_place)

    @property
    def _window(self) -> int:
        """Sources that are under way together."""
        size = self._job.batch_size
        return _PATIENCE * size + max(2 * size, self._threads)  # more than the wait, so that none waits for ever

    def _is_news(self) -> bool:
        """Return whether the thread that waits in `_first` has something to do."""
        return not self._settled or self._stopped or bool(self._courses and self._courses[0].finished)

    def _start(self) -> None:
        """Give work to free threads."""
        while self._busy < self._threads and (task := self._next()):
            self._busy += 1
            self._pool.submit(self._work, task).add_done_callback(self._check)

    def _check(self, work: "Future[None]") -> None:
        """Take up why a thread could not start; whatever happens in one that did is taken up by `_work`."""
        if not work.cancelled() and (error := work.exception()):
            with self._changed:
                self._failure, self._stopped = self._failure or error, True
                self._changed.notify_all()

    def _work(self, task: Callable[[], None] | None) -> None:
        while task:
            try:
                task()
            except BaseException as error:
                with self._changed:
                    self._failure, self._stopped = self._failure or error, True
            with self._changed:
                task = self._next()
                if not task:
                    self._busy -= 1
                self._start()
                if self._is_news():
                    self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        """Return the most useful next task; the caller holds the lock."""
        if self._stopped:
            return None
        at_once = self._job.at_once or self._threads
        if self._settled and self._batches and self._embedding < at_once:
            self._embedding += 1
            return partial(self._embed_next, self._batches.popleft())
        if not self._to_read or len(self._batches) >= 2 * at_once:
            return None
        if self._waiting >= LOOKAHEAD * self._job.batch_size and self._to_read[0] is not self._to_place[0]:
            return None  # the others wait for the first one
        return partial(self._read, self._to_read.pop(0))

    def _read(self, course: Course) -> None:
        """Read the next few pieces of a source."""
        found: list[tuple[Piece, Outputs | None]] = []
        error, ended = "", False
        try:
            course.pieces = course.pieces or course.source.pieces()
            while len(found) < self._job.batch_size and not ended:
                piece = next(course.pieces, None)
                if piece is None:
                    ended = True
                else:
                    found.append((piece, self._job.recall(piece.identity)))
        except _ENDS_THE_RUN:
            raise
        except Exception as raised:
            error = _reason(course, raised)
        with self._changed:
            course.error = course.error or error
            for piece, outputs in found:
                course.facts.append(piece.facts)
                course.outputs.append(outputs)
                if outputs is None and not course.error:
                    course.owed += 1
                    self._waiting += 1
                    self._make(course.left.add((course, len(course.outputs) - 1, piece), self._job.batch_size))
            if ended or course.error:
                course.read, course.pieces = True, None
                self._place()
            else:
                insort(self._to_read, course, key=lambda other: other.position)

    def _place(self) -> None:
        """Put what is left of sources on the common shelf, in their order; the caller holds the lock."""
        size = self._job.batch_size
        while self._to_place and self._to_place[0].read:
            course = self._to_place.popleft()
            if course.error:
                course.owed -= len(course.left)
                self._waiting -= len(course.left)
                course.left = Shelf()
            for items in course.left.lengths.values():
                for item in items:
                    self._make(self._shelf.add(item, size))
                    if len(self._shelf) >= LOOKAHEAD * size:
                        self._make(self._shelf.oldest())
            course.left = Shelf()
            while self._shelf.lengths and self._shelf.since <= course.position - _PATIENCE * size:
                self._make(self._shelf.oldest())
        while self._ended and not self._to_place and self._shelf.lengths:
            self._make(self._shelf.oldest())

    def _make(self, batch: list[Item]) -> None:
        if batch:
            self._batches.append(batch)
            self._waiting -= len(batch)
            self._made += 1

    def _embed_next(self, batch: list[Item]) -> None:
        try:
            self._embed(batch)
        finally:
            with self._changed:
                self._embedding -= 1

    def _embed(self, batch: list[Item]) -> None:
        try:
            every: list[Outputs | str] = list(self._job.embed([piece.features for _, _, piece in batch]))
        except _ENDS_THE_RUN:
            raise
        except Exception:  # one of them cannot be used: which?
            every = [self._embed_one(course, piece) for course, _, piece in batch]
        for (_, _, piece), outputs in zip(batch, every, strict=True):
            if not isinstance(outputs, str):
                self._job.keep(piece.identity, outputs)
        with self._changed:
            for (course, index, _), outputs in zip(batch, every, strict=True):
                course.owed -= 1
                if isinstance(outputs, str):
                    course.error = course.error or outputs
                else:
                    course.outputs[index] = outputs

    def _embed_one(self, course: Course, piece: Piece) -> Outputs | str:
        try:
            return self._job.embed([piece.features])[0]
        except _ENDS_THE_RUN:
            raise
        except Exception as error:
            return _reason(course, error)


def _reason(course: Course, error: Exception) -> str:
    """Return one line on why a source cannot be used; an unforeseen error is named by its type."""
    if isinstance(error, AudioError):
        return str(error)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return str(AudioError(f"cannot be used ({text})", where=course.source.name))
