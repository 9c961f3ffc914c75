"""Delivery: the watch's journal is the outbox of every sink, and each sink has a cursor in it.

A cursor moves only after its sink has taken the messages; a killed or cut-off watch therefore sends the last ones
again, with the same ids, and never loses one. What lies behind a network is delivered by a thread of its own, so that
one that stalls holds up neither the listening nor the others.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from echobank.journal import read_journal
from echobank.storage import write_json
from echobank.watch.events import Message, message_from
from echobank.watch.sinks.sink import Sink, SinkError

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_LONGEST_PUMP = 2.0  # a slow sink must not keep the watch from listening


@dataclass(frozen=True)
class Cursor:
    """Position of a sink.

    Attributes:
        journal: Name of the journal's generation; another one begins at its start.
        offset: Byte offset after the last record that is delivered whole.
        mark: The sink's own position at that point.
    """

    journal: str = ""
    offset: int = 0
    mark: int = 0


class Delivery:
    """Brings the messages of a journal to one sink.

    Args:
        sink: Where they go.
        folder: Where the cursor is kept.
        clock: A monotonic clock, seconds; only waiting is measured by it.
    """

    def __init__(self, sink: Sink, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.sink = sink
        self.trouble = ""
        self._journal, self._generation = Path(), ""
        self._file = folder / f"{sink.name}.cursor.json"
        self._clock = clock
        self._wait, self._next_try = _FIRST_WAIT, clock()
        self.cursor = self._load()
        self._save()  # before anything is sent, so that the first restart knows where the sink began
        sink.rewind(self.cursor.mark)

    @property
    def done(self) -> bool:
        """Whether nothing is left of the journal that was pumped last."""
        return self.cursor.journal == self._generation and self.cursor.offset >= self._journal.stat().st_size

    def pump(self, journal: Path, generation: str, *, limit: int = 1000) -> None:
        """Deliver what waits, at most `limit` records in two seconds.

        A sink that fails is left in peace for a while that grows up to a minute.

        Raises:
            OutputError: The cursor cannot be kept.
        """
        self._journal, self._generation = journal, generation
        if self.cursor.journal != generation:
            self.cursor = Cursor(generation, 0, self.cursor.mark)
        begun = self._clock()
        if begun >= self._next_try:
            for offset, record in islice(read_journal(journal, start=self.cursor.offset), limit):
                wanted = (item for item in record.get("messages", ()) if item["kind"] in self.sink.kinds)
                messages = [message_from(item) for item in wanted]
                if messages and not self._send(messages):
                    break
                self.cursor = Cursor(generation, offset, self.sink.mark())
                if messages:
                    self._save()
                    if self._clock() - begun > _LONGEST_PUMP:
                        break

    def heartbeat(self, message: Message) -> None:
        """Send a heartbeat, once: a missed one is followed by the next."""
        if "heartbeat" in self.sink.kinds and self._clock() >= self._next_try:
            self._send([message])

    def close(self) -> None:
        """Release the sink."""
        self.sink.close()

    def _send(self, messages: list[Message]) -> bool:
        try:
            self.sink.send(messages)
        except SinkError as error:
            self.trouble = str(error)
            self._next_try = self._clock() + self._wait
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            return False
        self.trouble, self._wait = "", _FIRST_WAIT
        return True

    def _load(self) -> Cursor:
        try:
            return Cursor(**json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Cursor(mark=self.sink.mark())

    def _save(self) -> None:
        write_json(self._file, asdict(self.cursor))


class RemoteDelivery(Delivery):
    """A delivery by a thread of its own; `pump` and `heartbeat` return at once, and do nothing while it is at work."""

    def __init__(self, sink: Sink, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sink, folder, clock)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=sink.name)
        self._pumping: Future[None] | None = None
        self._beating: Future[None] | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left, and nothing is under way."""
        return not _busy(self._pumping) and super().done

    def pump(self, journal: Path, generation: str, *, limit: int = 1000) -> None:
        """Begin to deliver what waits.

        Raises:
            OutputError: The cursor could not be kept the last time.
        """
        if _busy(self._pumping):
            return
        last, self._pumping = self._pumping, self._thread.submit(super().pump, journal, generation, limit=limit)
        if last is not None:
            last.result()

    def heartbeat(self, message: Message) -> None:
        """Begin to send a heartbeat."""
        if not _busy(self._beating):
            self._beating = self._thread.submit(super().heartbeat, message)

    def close(self) -> None:
        """Wait for what is under way, and release the sink."""
        self._thread.shutdown()
        super().close()


def make_delivery(sink: Sink, folder: Path, clock: Callable[[], float] = time.monotonic) -> Delivery:
    """Return the delivery that suits a sink."""
    return (RemoteDelivery if sink.remote else Delivery)(sink, folder, clock)


def _busy(task: Future[None] | None) -> bool:
    return task is not None and not task.done()
