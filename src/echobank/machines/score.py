"""Score: from many recordings to one table of verdicts, in bounded memory, continuing where it was interrupted.

Every finished recording is a line of a journal beside the table; the table is written from the journal at the
end, in one step, and the journal is removed.
"""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echobank.errors import InputError
from echobank.journal import Journal, read_journal
from echobank.machines.archive import bank_file
from echobank.machines.gain import together
from echobank.machines.listener import Heard
from echobank.machines.machine import Machine
from echobank.machines.table import check_table, write_table
from echobank.machines.verdict import Verdict, from_plain, plain
from echobank.models.feeding import clips_a_batch
from echobank.progress import Progress, silent
from echobank.storage import sha256_file, stamp_of

Keep = Callable[[Heard, Sequence[Verdict]], object]

_WRITE_SECONDS = 0.1  # a process that is killed loses no more than this of what it scored


@dataclass(frozen=True)
class Tally:
    """The outcome of a run of `score`.

    Attributes:
        files: Recordings in the table.
        windows: Windows scored.
        anomalous_files: Recordings with an anomalous window.
        anomalous_windows: Anomalous windows.
        errors: (recording, reason) of those that could not be scored; the first thousand.
        failed: How many could not be scored.
        resumed: Recordings that an earlier, interrupted run had scored.
        levels: Level of each recording that was scored, dB of full scale.
        flagged: Windows that carry `odd_band` or `impulses` and are not anomalous.
    """

    files: int
    windows: int
    anomalous_files: int
    anomalous_windows: int
    errors: tuple[tuple[str, str], ...]
    failed: int
    resumed: int
    levels: tuple[float, ...] = ()
    flagged: int = 0


def _nothing(heard: Heard, verdicts: Sequence[Verdict]) -> None:
    """Keep nothing."""


def score_stream(
    machine: Machine, paths: Iterable[Path], keep: Keep = _nothing
) -> Generator[list[Verdict], None, None]:
    """Yield the verdicts of each recording, in order; some are compared with the bank together.

    Args:
        machine: The machine.
        paths: Recordings.
        keep: Called with what was heard and the verdicts, before they are yielded.
    """
    together = clips_a_batch(machine.listener.batch_size, machine.listener.encoder)
    waiting: list[Heard] = []
    with closing(machine.listener.hear(paths, profiles=machine.listener.facts)) as stream:
        for heard in stream:
            waiting.append(heard)
            if len(waiting) == together or sum(map(len, waiting)) >= together:
                yield from _judged(machine, waiting, keep)
                waiting = []
    yield from _judged(machine, waiting, keep)


def _judged(machine: Machine, waiting: Sequence[Heard], keep: Keep) -> Iterator[list[Verdict]]:
    for heard, verdicts in zip(waiting, machine.judge_all(waiting), strict=True):
        keep(heard, verdicts)
        yield verdicts


def score_to_table(
    machine: Machine,
    bank: Path | str,
    paths: Sequence[Path],
    out: Path | str,
    progress: Progress = silent,
    see: Callable[[Verdict], object] = lambda _: None,
    keep: Keep = _nothing,
) -> Tally:
    """Score recordings and write the table; a journal beside it lets an interrupted run continue.

    Args:
        machine: The machine.
        bank: Path of its bank; the journal remembers which bank it was.
        paths: Recordings, each once.
        out: The table.
        progress: Shows how far it is.
        see: Called with every verdict of the table, in its order.
        keep: As `score_stream`; what an interrupted run had scored was kept by that run.

    Raises:
        InputError: The journal is of another bank or threshold, or damaged.
        OutputError: The table or the journal cannot be written, or another program writes them.
    """
    out = check_table(out)
    file = journal_file(out)
    header = {"bank": sha256_file(bank_file(bank)), "threshold": machine.threshold}
    with Journal(file) as journal:
        done = _open_journal(file, header)
        waiting = [path for path in paths if str(path) not in done or done[str(path)] != stamp_of(path)[0]]
        if not file.stat().st_size:
            journal.append(header)
        _score(machine, waiting, journal, progress, keep)
        counting = Counting(len(paths) - len(waiting))
        write_table(out, counting.watch(_replay(file, {str(path) for path in paths}), see))
        file.unlink()
    return counting.result()


def _score(machine: Machine, paths: Sequence[Path], journal: Journal, progress: Progress, keep: Keep) -> None:
    """Score recordings into the journal, some in one piece; an interruption costs none that was scored."""
    stamps: dict[Path, str] = {}

    def stamped() -> Iterator[Path]:  # a file that changes once it is read is scored again by the next run
        for path in paths:
            stamps[path] = stamp_of(path)[0]
            yield path

    scored: list[dict[str, Any]] = []
    written = time.monotonic()
    with closing(score_stream(machine, stamped(), keep)) as stream:
        try:
            for path, verdicts in progress(zip(paths, stream, strict=True), total=len(paths), label="score"):
                rows = [plain(verdict) for verdict in verdicts]
                scored.append({"file": str(path), "stamp": stamps.pop(path), "rows": rows})
                if time.monotonic() - written > _WRITE_SECONDS:
                    journal.append_all(scored)
                    scored, written = [], time.monotonic()
        finally:
            journal.append_all(scored)


def journal_file(out: Path) -> Path:
    """Return the path of the journal of a table."""
    return out.with_name(f"{out.name}.journal")


def _open_journal(file: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Return the stamp of every recording that the journal has."""
    records = read_journal(file)
    first = next(records, None)
    if first is None:
        return {}
    if first[1] != header:
        raise InputError(
            "an interrupted run with another bank or threshold left its journal",
            where=file,
            hint="remove it to start afresh, or write to another table",
        )
    return {record["file"]: record["stamp"] for _, record in records}


def _replay(file: Path, wanted: set[str]) -> Iterator[Verdict]:
    """Yield the verdicts of the last record of each recording that is wanted."""
    last = {record["file"]: offset for offset, record in read_journal(file) if "file" in record}
    for offset, record in read_journal(file):
        if record.get("file") in wanted and last[record["file"]] == offset:
            yield from (from_plain(row) for row in record["rows"])


class Counting:
    """Counts verdicts as they pass by.

    Args:
        resumed: Recordings that an earlier run had scored.
    """

    def __init__(self, resumed: int = 0) -> None:
        self._resumed = resumed
        self._files = self._windows = self._anomalous_files = self._anomalous = self._failed = 0
        self._errors: list[tuple[str, str]] = []
        self._now: tuple[str, bool] = ("", False)
        self._levels: list[float] = []
        self._windows_now: list[float] = []
        self._flagged = 0

    def watch(
        self, verdicts: Iterable[Verdict], see: Callable[[Verdict], object] = lambda _: None
    ) -> Iterator[Verdict]:
        """Yield verdicts, counting each and showing it to `see`."""
        for verdict in verdicts:
            see(verdict)
            if verdict.file != self._now[0]:
                self._level()
                self._files += 1
                self._now = (verdict.file, False)
            if verdict.error:
                self._failed += 1
                if len(self._errors) < 1000:
                    self._errors.append((verdict.file, verdict.error))
            else:
                self._windows += 1
                self._windows_now += [] if verdict.level_dbfs is None else [verdict.level_dbfs]
            self._flagged += bool(verdict.findings) and not verdict.decision
            if verdict.decision:
                self._anomalous += 1
                self._anomalous_files += not self._now[1]
                self._now = (verdict.file, True)
            yield verdict
        self._level()

    def _level(self) -> None:
        """Put the windows of the recording that is over into one level."""
        if self._windows_now:
            self._levels.append(together(self._windows_now))
        self._windows_now = []

    def result(self) -> Tally:
        """Return what the verdicts so far come to."""
        return Tally(
            self._files,
            self._windows,
            self._anomalous_files,
            self._anomalous,
            tuple(self._errors),
            self._failed,
            self._resumed,
            tuple(self._levels),
            self._flagged,
        )
