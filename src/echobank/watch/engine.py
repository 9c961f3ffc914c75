"""Watch: score recordings as they land in a folder, and tell sinks about them; a restart loses and repeats nothing.

One line of the journal holds everything a recording led to: that it was seen, the state of the event rule, and
the messages. It is written in one piece, so a watch that is killed has either done a recording or not.
"""

import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from echobank.detection.bank import load_bank
from echobank.errors import BankError, InputError, OutputError
from echobank.journal import Journal, read_journal
from echobank.machines.archive import bank_file
from echobank.machines.machine import Machine, assemble
from echobank.machines.score import score_stream
from echobank.machines.verdict import Verdict
from echobank.storage import stamp_of, write_bytes
from echobank.watch.events import Message
from echobank.watch.feeds.folder_feed import Landed, Landing
from echobank.watch.outbox import make_delivery
from echobank.watch.rule import Rule, advance, make_rule, start_state
from echobank.watch.sinks.sink import Sink

_LONG_JOURNAL = 32 << 20  # bytes after its first line; then what is delivered everywhere is forgotten
_REST = 9.0  # a look is followed by a rest of this many times its length: in huge folders it takes a tenth of the time


@dataclass(frozen=True)
class WatchSettings:
    """How a folder is watched.

    Attributes:
        k: Windows above the threshold that open an event ...
        n: ... among this many of the last.
        hysteresis: 0 closes at the threshold, 1 only at the median of the healthy windows.
        settle: Seconds that a file must stay the same before it is read.
        heartbeat: Seconds between two signs of life; 0 gives none.
        only_new: True takes what lies in the folder at the first start as seen.
    """

    k: int = 3
    n: int = 5
    hysteresis: float = 0.3
    settle: float = 2.0
    heartbeat: float = 60.0
    only_new: bool = False


class Watch:
    """One machine, one folder.

    Args:
        machine: The machine.
        bank: Where its bank lies; a bank that is changed meanwhile is taken up.
        folder: Where recordings land.
        state: Folder of the journal and the cursors.
        sinks: Where messages go.
        settings: How the folder is watched.
        clock: Seconds that never go back.
        rate: False-alarm rate in place of the bank's own; None keeps that.

    Raises:
        InputError: The folder is not there, another watch uses the state, or the state is of something else.
        OutputError: The state cannot be written.
    """

    def __init__(
        self,
        machine: Machine,
        bank: Path,
        folder: Path,
        state: Path,
        sinks: Sequence[Sink],
        settings: WatchSettings,
        clock: Callable[[], float] = time.monotonic,
        rate: float | None = None,
    ) -> None:
        if not folder.is_dir():
            raise InputError("no such folder", where=folder)
        self._bank, self._settings, self._clock, self._rate = bank, settings, clock, rate
        self._lock = _hold(state)
        self._file = state / "journal.jsonl"
        self._seen: dict[str, str] = {}
        self._state: dict[str, Any] = start_state()
        self._generation, self._first_line = "", 0
        self._refused = self._stale = ""
        self._landing = Landing(folder, settings.settle, clock)
        self._take_up(machine, _bank_stamp(bank))
        if self._replay():
            self._journal = Journal(self._file, durable=True)
        else:
            self._begin()
        self._deliveries = [make_delivery(sink, state, clock) for sink in sinks]
        self._next_heartbeat = clock()

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong at this moment: a folder that is gone, a full disk, sinks that do not take messages."""
        gone = "" if self._landing.present else f"{self._landing.folder}: the folder is gone"
        again = [gone, self._refused, *(delivery.trouble for delivery in self._deliveries)]
        return (*filter(None, [self._stale]), *(f"{trouble}; trying again" for trouble in again if trouble))

    @property
    def idle(self) -> bool:
        """Whether everything that lies in the folder is scored and delivered."""
        return not (self._landing.waiting or self._refused) and all(delivery.done for delivery in self._deliveries)

    @property
    def rest(self) -> float:
        """Seconds to wait before the next look at the least."""
        return _REST * self._landing.took

    @property
    def summary(self) -> str:
        """What is watched, how, and how far it is, in one sentence."""
        rule = self._rule
        state = "an event is open" if self._state["event"] else "no event is open"
        return (
            f"{self._machine.name} in {self._landing.folder}: {len(self._seen)} recordings done, {state}; "
            f"an event opens at {rule.k} of {rule.n} windows above {rule.threshold:.4g}"
        )

    def step(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Look once, score what is finished, deliver what waits; return the number of recordings scored.

        A disk that is full is a trouble like others: what could not be written down was not done, and is done later.

        Args:
            stop: Asked between recordings; True ends the step early.
        """
        self._refresh_bank()
        done = 0
        try:
            for landed in self._landing.look(self._seen):
                if stop():
                    break
                done += self._one(landed)
                self._deliver()
                self._beat()
            self._deliver()
            self._forget()
            self._refused = ""
        except OutputError as error:
            self._refused = str(error)
        self._beat()
        return done

    def close(self) -> None:
        """Try once more to deliver, and let go of everything."""
        try:
            with suppress(OutputError):
                self._deliver()
            for delivery in self._deliveries:
                delivery.close()
        finally:
            self._journal.close()
            self._lock.release()

    def _one(self, landed: Landed) -> int:
        path = self._landing.folder / landed.name
        verdicts = next(score_stream(self._machine, [path]))
        if stamp_of(path)[0] != landed.stamp:  # it grew or went while it was read: wait until it settles again
            self._landing.again(landed.name)
            return 0
        named = [dataclasses.replace(verdict, file=landed.name) for verdict in verdicts]
        self._record(landed, named)
        return 1

    def _record(self, landed: Landed, verdicts: Sequence[Verdict]) -> None:
        name = self._machine.name
        state, messages = advance(self._rule, self._state, verdicts, name, landed.stamp, _now(), landed.time)
        self._journal.append({"file": landed.name, "stamp": landed.stamp, "state": state, "messages": messages})
        self._seen[landed.name], self._state = landed.stamp, state

    def _deliver(self) -> None:
        for delivery in self._deliveries:
            delivery.pump(self._file, self._generation)

    def _beat(self) -> None:
        if self._settings.heartbeat and self._clock() >= self._next_heartbeat:
            self._next_heartbeat = self._clock() + self._settings.heartbeat
            for delivery in self._deliveries:
                delivery.heartbeat(self._sign_of_life())

    def _replay(self) -> bool:
        records = read_journal(self._file)
        first = next(records, None)
        if first is None:
            return False
        header, ours = first[1], self._header()
        if header.get("machine") != ours["machine"] or header.get("folder") != ours["folder"]:
            raise InputError(
                "the state belongs to another watch",
                value=f"{header.get('machine')} in {header.get('folder')}",
                where=self._file,
                hint="give another --state",
            )
        self._generation, self._first_line = str(header["generation"]), first[0]
        self._seen.update(header["seen"])
        self._state = header["state"]
        for _, record in records:
            self._seen[record["file"]], self._state = record["stamp"], record["state"]
        return True

    def _begin(self) -> None:
        if self._settings.only_new:
            self._seen = self._landing.stamps()
        self._write_header()

    def _forget(self) -> None:
        """Begin the journal anew once it is long and delivered; files that are gone need not be remembered."""
        if not self._landing.present or self._file.stat().st_size - self._first_line < _LONG_JOURNAL:
            return
        if not all(delivery.done for delivery in self._deliveries):
            return
        here = self._landing.stamps()
        self._seen = {name: stamp for name, stamp in self._seen.items() if name in here}
        before = self._journal
        self._write_header()
        before.close()

    def _write_header(self) -> None:
        """Replace the journal, in one step, by its first line."""
        generation = uuid.uuid4().hex
        header = {**self._header(), "generation": generation, "seen": self._seen, "state": self._state}
        line = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        write_bytes(self._file, line)
        self._generation, self._first_line = generation, len(line)
        self._journal = Journal(self._file, durable=True)

    def _header(self) -> dict[str, Any]:
        return {"machine": self._machine.name, "folder": str(self._landing.folder.resolve())}

    def _take_up(self, machine: Machine, stamp: str) -> None:
        settings = self._settings
        self._machine = machine if self._rate is None else machine.at_rate(self._rate)
        self._bank_stamp = stamp
        self._rule: Rule = make_rule(self._machine, settings.k, settings.n, settings.hysteresis)

    def _refresh_bank(self) -> None:
        """Take up a bank that was changed; one that cannot be used leaves the old one in force, and is told."""
        stamp = _bank_stamp(self._bank)
        if stamp in ("", self._bank_stamp):
            return
        self._bank_stamp, self._stale = stamp, ""
        file = bank_file(self._bank)
        try:
            bank = load_bank(file)
            if bank.made_by != self._machine.bank.made_by:
                raise BankError("other windows or another encoder than before", where=file, hint="restart the watch")
            self._take_up(assemble(bank, self._machine.listener), stamp)
        except (BankError, InputError) as error:
            self._stale = f"the bank that was watched with stays in force, the new one cannot be used: {error}"

    def _sign_of_life(self) -> Message:
        return {
            "id": uuid.uuid4().hex,
            "kind": "heartbeat",
            "machine": self._machine.name,
            "time": _now(),
            "files": len(self._seen),
            "event": self._state["event"],
            "troubles": list(self.troubles),
        }


def _hold(state: Path) -> FileLock:
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = FileLock(state / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError("another watch is running with this state", where=state) from error
    except OSError as error:
        raise InputError(f"the state cannot be kept ({error.strerror})", where=state) from error
    return lock


def _bank_stamp(bank: Path) -> str:
    return stamp_of(bank_file(bank))[0]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
