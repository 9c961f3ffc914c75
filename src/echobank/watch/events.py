"""Events: the messages of a watch as values, so that a sink imports neither scorer nor encoder.

`to_values` gives the plain mapping that is a line on standard output, an object of a webhook and an entry of the
journal; `message_from` reads it back. Names and order of the keys are the contract with everything that reads them.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from echobank.errors import InputError
from echobank.machines.verdict import Verdict, from_plain, plain


@dataclass(frozen=True)
class OpenEvent:
    """An event that is not over.

    Attributes:
        id: Id of the message that opened it.
        file: The recording or source in which it opened.
        opened: When the message was made, ISO 8601.
        peak: Highest score so far.
        windows: Windows scored since it opened.
    """

    id: str
    file: str
    opened: str
    peak: float
    windows: int = 0

    def to_values(self) -> dict[str, Any]:
        """Return the event as a plain mapping."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Message:
    """What every message has.

    Attributes:
        id: Unique, and the same again when the same message is made again.
        machine: The machine.
        time: When the message was made, ISO 8601.
    """

    kind: ClassVar[str]
    id: str
    machine: str
    time: str

    def to_values(self) -> dict[str, Any]:
        """Return the message as a plain mapping."""
        return {"id": self.id, "kind": self.kind, "machine": self.machine, "time": self.time, **self._facts()}

    def _facts(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class WindowMessage(Message):
    """A message about one window.

    Attributes:
        file_time: When the window was recorded, or its recording last changed, ISO 8601.
        verdict: The verdict on it.
        clip: Id of the clip of the event that is open; None where no clips are kept.
        quiet: Why the window did not alarm: the machine rests, or it is like an acknowledged sound.
    """

    file_time: str
    verdict: Verdict
    clip: str | None = None
    quiet: str | None = None

    def _facts(self) -> dict[str, Any]:
        more = {"clip": self.clip, "quiet": self.quiet}
        more = {name: value for name, value in more.items() if value is not None}
        return {"file_time": self.file_time, **self._own(), **plain(self.verdict), **self._last(), **more}

    def _own(self) -> dict[str, Any]:
        return {}

    def _last(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Scored(WindowMessage):
    """A window was scored."""

    kind: ClassVar[str] = "score"


@dataclass(frozen=True, kw_only=True)
class Failed(WindowMessage):
    """A recording could not be scored."""

    kind: ClassVar[str] = "error"


@dataclass(frozen=True, kw_only=True)
class Opened(WindowMessage):
    """An event opened.

    Attributes:
        threshold: Score above which a window counts.
        event: Id of the event.
    """

    kind: ClassVar[str] = "open"
    threshold: float
    event: str

    def _own(self) -> dict[str, Any]:
        return {"threshold": self.threshold}

    def _last(self) -> dict[str, Any]:
        return {"event": self.event}


@dataclass(frozen=True, kw_only=True)
class Closed(WindowMessage):
    """An event is over.

    Attributes:
        event: Id of the event.
        opened: When it opened, ISO 8601.
        peak: Its highest score.
        windows: Windows scored while it was open.
    """

    kind: ClassVar[str] = "close"
    event: str
    opened: str
    peak: float
    windows: int

    def _own(self) -> dict[str, Any]:
        return {"event": self.event, "opened": self.opened, "peak": self.peak, "windows": self.windows}


@dataclass(frozen=True, kw_only=True)
class Heartbeat(Message):
    """The watch is running.

    Attributes:
        files: Recordings done.
        event: The event that is open.
        troubles: What is wrong at this moment.
        age: Seconds since the last recording, or since there was sound.
        conditions: What was wrong with the sound so far, with start, length and count.
        paused: Why the machine is heard and not alarmed; empty when it is.
        muted: How many windows were like each acknowledged sound, since the start.
        health: Verdict of the last checkup of its bank: good, look or too little; empty where none was made.
    """

    kind: ClassVar[str] = "heartbeat"
    files: int
    event: OpenEvent | None = None
    troubles: tuple[str, ...] = ()
    age: float | None = None
    conditions: tuple[Mapping[str, Any], ...] = ()
    paused: str = ""
    muted: Mapping[str, int] = dataclasses.field(default_factory=dict)
    health: str = ""

    def _facts(self) -> dict[str, Any]:
        event = self.event.to_values() if self.event else None
        facts = {"files": self.files, "event": event, "troubles": list(self.troubles), "age": self.age}
        conditions = [dict(condition) for condition in self.conditions]
        more = {"health": self.health} if self.health else {}
        return {**facts, "conditions": conditions, "paused": self.paused, "muted": dict(self.muted), **more}


@dataclass(frozen=True)
class OpenSilence:
    """A silence that is not over.

    Attributes:
        id: Id of the message that opened it.
        opened: When the message was made, ISO 8601.
    """

    id: str
    opened: str

    def to_values(self) -> dict[str, Any]:
        """Return the silence as a plain mapping."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class SilenceOpened(Message):
    """No sound came for too long.

    Attributes:
        event: Id of the event.
        seconds: How long there was none.
        where: Where it should come from.
    """

    kind: ClassVar[str] = "no_sound"
    event: str
    seconds: float
    where: str

    def _facts(self) -> dict[str, Any]:
        return {"event": self.event, "seconds": self.seconds, "where": self.where}


@dataclass(frozen=True, kw_only=True)
class SilenceClosed(Message):
    """Sound came again.

    Attributes:
        event: Id of the event.
        opened: When it opened, ISO 8601.
        where: Where the sound comes from.
    """

    kind: ClassVar[str] = "sound"
    event: str
    opened: str
    where: str

    def _facts(self) -> dict[str, Any]:
        return {"event": self.event, "opened": self.opened, "where": self.where}


@dataclass(frozen=True, kw_only=True)
class BankHealthChanged(Message):
    """A checkup found that a bank needs a look; at most one per machine and week.

    Attributes:
        verdict: Of the checkup: "look".
        about: What the worst finding is about: scores, machine, recording chain, ...
        finding: What it is, in one word.
        sentence: The same for people.
        next_step: What to do.
    """

    kind: ClassVar[str] = "bank_health"
    verdict: str
    about: str
    finding: str
    sentence: str
    next_step: str = ""

    def _facts(self) -> dict[str, Any]:
        facts = {"verdict": self.verdict, "about": self.about, "finding": self.finding}
        return {**facts, "sentence": self.sentence, "next_step": self.next_step}


@dataclass(frozen=True, kw_only=True)
class TrialAlarm(Message):
    """A message that only shows that messages arrive."""

    kind: ClassVar[str] = "test"


def message_from(values: Mapping[str, Any]) -> Message:
    """Return the message that `to_values` made a mapping of; keys that it does not know are passed over.

    Raises:
        InputError: No such kind of message, or one that lacks a key.
    """
    kind = _KINDS.get(str(values.get("kind")))
    if kind is None:
        raise InputError("no such kind of message", value=values.get("kind"))
    fields = {field.name: values[field.name] for field in dataclasses.fields(kind) if field.name in values}
    if issubclass(kind, WindowMessage) and "file" in values:
        fields["verdict"] = from_plain(values)
    if kind is Heartbeat:
        fields["event"] = OpenEvent(**values["event"]) if values.get("event") else None
        fields["troubles"] = tuple(values.get("troubles", ()))
        fields["conditions"] = tuple(values.get("conditions", ()))
    try:
        return kind(**fields)
    except TypeError as error:
        raise InputError(f"a message of kind {kind.kind} lacks a value ({error})", value=values.get("id")) from error


_KINDS: dict[str, type[Message]] = {
    kind.kind: kind
    for kind in (
        *(Scored, Failed, Opened, Closed, Heartbeat),
        *(SilenceOpened, SilenceClosed, BankHealthChanged, TrialAlarm),
    )
}
