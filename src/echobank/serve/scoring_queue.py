"""Scoring: one thread owns the encoder; recordings of one machine that wait are judged together."""

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from echobank.serve.hosted import HostedMachine, Judgement
from echobank.serve.writer import BusyError

_TOGETHER = 16


@dataclass(frozen=True)
class Waiting:
    """A recording that waits.

    Attributes:
        machine: The machine that it belongs to.
        sound: As `HostedMachine.judge`.
        answer: Where the verdicts go.
    """

    machine: HostedMachine
    sound: tuple[Path, str, str]
    answer: "Future[Judgement]"


class ScoringQueue:
    """Judges recordings in order.

    Args:
        depth: Recordings that may wait.
    """

    def __init__(self, depth: int = 64) -> None:
        self._waiting: queue.Queue[Waiting | None] = queue.Queue(depth)
        self._closed, self._gate = False, threading.Lock()
        self._thread = threading.Thread(target=self._run, name="scoring")
        self._thread.start()

    @property
    def depth(self) -> int:
        """Number of waiting recordings."""
        return self._waiting.qsize()

    def submit(self, machine: HostedMachine, wav: Path, name: str, sha256: str) -> "Future[Judgement]":
        """Have a recording judged.

        Raises:
            BusyError: Too many recordings are waiting, or the service stops.
        """
        item = Waiting(machine, (wav, name, sha256), Future())
        with self._gate:
            if self._closed:
                raise BusyError("the service is stopping")
            try:
                self._waiting.put_nowait(item)
            except queue.Full:
                raise BusyError("too many recordings wait", hint="try again") from None
        return item.answer

    def close(self) -> None:
        """Refuse what waits, and stop after what is at work."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            while True:
                try:
                    item = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if item is not None:
                    item.answer.set_exception(BusyError("the service is stopping"))
            self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        held: Waiting | None = None
        while (first := held or self._waiting.get()) is not None:
            batch, held = [first], None
            while len(batch) < _TOGETHER:
                try:
                    item = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if item is None or item.machine is not first.machine:
                    held = item
                    self._judge(batch)
                    batch = []
                    if item is None:
                        return
                    break
                batch.append(item)
            self._judge(batch)

    def _judge(self, batch: list[Waiting]) -> None:
        if not batch:
            return
        try:
            found = batch[0].machine.judge([item.sound for item in batch])
        except Exception as error:
            for item in batch:
                item.answer.set_exception(error)
            return
        for item, judgement in zip(batch, found, strict=True):
            item.answer.set_result(judgement)
