"""Mutes: acknowledged sounds that do not alarm, for a time, until they change, or for good; counted and shown.

Every event leaves the embeddings of its windows in the state; `mute` copies them among the mutes. Both are files, so
that a command can mute a watch that runs. What is muted stays anomalous: it is scored and reported, and never learned.
"""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from echobank.errors import BankError, InputError
from echobank.machines.archive import bank_file
from echobank.machines.listener import Heard
from echobank.machines.machine import Machine
from echobank.machines.nuisance import (
    NUISANCES,
    SUFFIX,
    Nuisance,
    load_nuisance,
    matches,
    save_nuisance,
    usual_distance,
)
from echobank.machines.verdict import Verdict

_EVENTS, _MUTES = "events", "mutes"
_KEPT_EVENTS = 100
_KEPT_WINDOWS = 16


class Mutes:
    """The acknowledged sounds of one machine.

    Args:
        state: Folder of the watch's state.
        bank: Path of the machine's bank.
        changed: Windows in a row that are unlike a sound for it to count as changed.
    """

    def __init__(self, state: Path, bank: Path, changed: int) -> None:
        self._state, self._changed = state, changed
        self._folders = (state / _MUTES, bank_file(bank).parent / NUISANCES)
        self._stamp: object = None
        self._files: list[tuple[Path, Nuisance]] = []
        self._radius: tuple[int, float] = (0, 0.0)
        self._unlike: Counter[Path] = Counter()
        self._remembered: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.trouble = ""

    def names(self, heard: Heard, machine: Machine) -> list[str]:
        """Return the name of the acknowledged sound that each window is like, empty for none; counts them."""
        self._refresh(machine)
        if not self._files or heard.error:
            return [""] * max(1, len(heard))
        healthy = machine.bank.vectors
        if self._radius[0] != id(machine):
            self._radius = id(machine), usual_distance(healthy, machine.bank.groups)
        found = matches(heard.vectors, [nuisance for _, nuisance in self._files], healthy, self._radius[1])
        self.counts.update(name for name in found if name)
        for name in found:
            self._note(name)
        return found

    def remember(self, event: str, heard: Heard, verdicts: Sequence[Verdict], machine: Machine) -> None:
        """Keep the embeddings of the anomalous windows of an event, for a `mute` that may come.

        Raises:
            OutputError: The disk is full or gone.
        """
        odd = [i for i, verdict in enumerate(verdicts) if verdict.decision]
        if not odd or self._remembered[event] >= _KEPT_WINDOWS:
            return
        self._remembered[event] += len(odd)
        path, vectors = self._state / _EVENTS / f"{event}{SUFFIX}", heard.vectors[odd]
        if path.exists():
            with suppress(BankError):
                vectors = np.concatenate([load_nuisance(path).vectors, vectors])
        save_nuisance(path, Nuisance(event, vectors[-_KEPT_WINDOWS:], made_by(machine)))
        for old in sorted(path.parent.glob(f"*{SUFFIX}"), key=_age)[:-_KEPT_EVENTS]:
            old.unlink(missing_ok=True)

    def _note(self, name: str) -> None:
        """Lift the mutes that hold until a sound changes, once it has."""
        for path, nuisance in list(self._files):
            self._unlike[path] = 0 if nuisance.name == name else self._unlike[path] + 1
            if nuisance.facts.get("until_changed") and self._unlike[path] >= self._changed:
                path.unlink(missing_ok=True)
                self._files.remove((path, nuisance))

    def _refresh(self, machine: Machine) -> None:
        listed = sorted(path for folder in self._folders for path in folder.glob(f"*{SUFFIX}"))
        stamp = id(machine), [(path, _age(path)) for path in listed]
        if stamp != self._stamp:
            self._stamp, self._files, self.trouble = stamp, [], ""
            for path in listed:
                try:
                    self._files.append((path, load_nuisance(path, made_by(machine))))
                except BankError as error:
                    self.trouble = str(error)
        now = datetime.now(UTC).isoformat()
        self._files = [(path, it) for path, it in self._files if not it.facts.get("until") or it.facts["until"] > now]


def mute(state: Path, event: str, *, seconds: float | None = None) -> str:
    """Acknowledge the sound of an event: it does not alarm for a time, or until it changes.

    Args:
        state: Folder of the watch's state; the watch may be running.
        event: Id of the event, or how it begins.
        seconds: For how long; None until the sound changes.

    Returns:
        The id of the event.

    Raises:
        InputError: There is no such event, or there are several.
        OutputError: The state cannot be written.
    """
    found = sorted((state / _EVENTS).glob(f"*{SUFFIX}"))
    fitting = [path for path in found if path.stem.startswith(event) and event]
    if len(fitting) != 1:
        what = "several events have an id that begins like this" if fitting else "no such event"
        known = ", ".join(path.stem for path in sorted(found, key=_age)[-3:]) or "none"
        raise InputError(what, value=event, where=state, hint=f"the last events are: {known}")
    (path,) = fitting
    until = None if seconds is None else (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    facts = {"until": until, "until_changed": seconds is None}
    content = load_nuisance(path)
    target = state / _MUTES / path.name
    save_nuisance(target, Nuisance(path.stem, content.vectors, content.made, facts))
    return path.stem


def made_by(machine: Machine) -> dict[str, object]:
    """Return what vectors that are compared with the machine's must be made by."""
    return machine.listener.provenance.to_header()


def _age(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0
