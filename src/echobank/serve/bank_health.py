"""The health of the banks of a service: a checkup per machine and day, and a message where one needs a look.

A checkup is made of the trend that lies with the bank (`BANK/trend`), where a watch keeps one, else of the database;
the events are the service's own. The last one of each machine is kept in a file, so a restart forgets nothing.
"""

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from echobank.errors import EchobankError, InputError
from echobank.machines.archive import bank_file
from echobank.machines.checkup.checkup import Checkup, check_up
from echobank.machines.checkup.history import History, history_in
from echobank.machines.trend.reservoir import Sampled, read_reservoir
from echobank.machines.trend.trend_store import JOURNAL
from echobank.moments import iso_of, now_ms
from echobank.serve.intake import take_messages
from echobank.serve.trend_source import events_of, history_from
from echobank.storage import write_json
from echobank.watch.events import BankHealthChanged
from echobank.watch.rule import message_id

if TYPE_CHECKING:
    from echobank.serve.hosted import HostedMachine
    from echobank.serve.service import Service

DAY = 86_400_000
WEEK = 7 * DAY
_FRESH = DAY // 24
_LOOK_SECONDS = 300.0


class BankHealth:
    """Makes checkups, and reports those that need a look, at most once a week per machine.

    Args:
        service: The service; its heartbeats get the verdict of each machine.
    """

    def __init__(self, service: "Service") -> None:
        self._service, self._folder = service, service.settings.folder / "health"
        self._gate, self._ended = threading.Lock(), threading.Event()
        service.health_of = self.verdict
        self._thread = threading.Thread(target=self._run, name="bank health")
        self._thread.start()

    def close(self) -> None:
        """Stop; a checkup that is under way is finished first."""
        self._ended.set()
        self._thread.join()

    def checkup(self, name: str, now: int | None = None) -> dict[str, Any]:
        """Return the checkup of a machine as plain values; one that is older than an hour is made again.

        Raises:
            InputError: No machine of this name has a bank here, or its trend cannot be read.
        """
        now = now_ms() if now is None else now
        kept = self._kept(name)
        if kept and now - kept["checkup"]["made"] < _FRESH:
            return dict(kept["checkup"])
        with self._gate:  # one at a time: it takes seconds of a processor
            return self._make(name, now, kept)

    def verdict(self, name: str) -> str:
        """Return the verdict of the last checkup of a machine; empty where there is none."""
        kept = self._kept(name)
        return str(kept["checkup"]["verdict"]) if kept else ""

    def look(self, now: int) -> None:
        """Repeat checkups that are a day old, and report those that need a look."""
        for name in list(self._service.machines):
            kept = self._kept(name)
            if self._ended.is_set() or (kept and now - kept["checkup"]["made"] < DAY):
                continue
            with self._gate, suppress(EchobankError):  # said to whoever asks for it
                self._make(name, now, kept)

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self.look(now_ms())

    def _make(self, name: str, now: int, kept: Mapping[str, Any]) -> dict[str, Any]:
        machine = self._service.hosted(name)
        checkup = self._checked(machine, now)
        told = int(kept.get("told", 0))
        if checkup.verdict == "look" and now - told >= WEEK:
            self._tell(name, checkup, now)
            told = now
        values = checkup.to_values()
        write_json(self._file(name), {"told": told, "checkup": values})
        return values

    def _checked(self, machine: "HostedMachine", now: int) -> Checkup:
        folder = bank_file(machine.bank).parent / "trend"
        sample: list[Sampled] = []
        with self._service.engine.connect() as connection:
            events = events_of(connection, machine.name)
            history: History
            if (folder / JOURNAL).exists():
                history, sample = history_in(folder), read_reservoir(folder / "sample")
            else:
                history = history_from(connection, machine.name)
        return check_up(machine.machine.bank, history, now=now, sample=sample, events=events)

    def _tell(self, name: str, checkup: Checkup, now: int) -> None:
        worst = checkup.findings[0]
        message = BankHealthChanged(
            id=message_id(name, f"{now // WEEK}", BankHealthChanged.kind),
            machine=name,
            time=iso_of(now),
            verdict=checkup.verdict,
            about=worst.about,
            finding=worst.kind,
            sentence=worst.sentence,
            next_step=worst.next_step,
        )
        self._service.writer.run(partial(take_messages, taken=[message], machine=self._service.numbers[name]))

    def _kept(self, name: str) -> dict[str, Any]:
        try:
            kept = json.loads(self._file(name).read_text(encoding="utf-8"))
            return kept if isinstance(kept["checkup"]["made"], int) else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _file(self, name: str) -> Path:
        if name not in self._service.machines:
            raise InputError("no machine of this name has a bank here", value=name)
        return self._folder / f"{quote(name, safe='')}.json"
