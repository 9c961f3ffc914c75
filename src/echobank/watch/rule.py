"""The rule: when single anomalous windows become an alarm, and when the alarm is over.

An event opens when at least k of the last n windows are above the threshold, and closes when the last n windows
are all at or below a lower release level (hysteresis). The state is a value, so that it can be kept.
"""

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echobank.errors import ConfigError
from echobank.machines.machine import Machine
from echobank.machines.verdict import Verdict
from echobank.names import printable
from echobank.watch.events import Closed, Failed, Message, Opened, OpenEvent, Scored

_NAMESPACE = uuid.UUID("6f6f2f3e-0b0c-5a55-9a4e-6563686f626b")  # fixed, so that ids are the same after a restart


@dataclass(frozen=True)
class Rule:
    """When an event opens and closes.

    Attributes:
        k: Windows above the threshold ...
        n: ... among this many of the last.
        threshold: Score above which a window counts.
        release: Score that n windows in a row must not exceed for the event to close; at most `threshold`.
    """

    k: int
    n: int
    threshold: float
    release: float

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n:
            raise ConfigError("k of n needs 1 <= k <= n", value=f"{self.k} of {self.n}")
        if self.release > self.threshold:
            raise ConfigError("the release level is above the threshold", value=self.release)


@dataclass(frozen=True)
class RuleState:
    """What the rule remembers.

    Attributes:
        recent: Scores of the last windows, at most n.
        event: The event that is open.
    """

    recent: tuple[float, ...] = ()
    event: OpenEvent | None = None

    def to_values(self) -> dict[str, Any]:
        """Return the state as the journal keeps it."""
        return {"recent": list(self.recent), "event": self.event.to_values() if self.event else None}

    @staticmethod
    def from_values(values: Mapping[str, Any]) -> "RuleState":
        """Return the state that a journal kept."""
        return RuleState(tuple(values["recent"]), OpenEvent(**values["event"]) if values["event"] else None)


@dataclass(frozen=True)
class Judged:
    """One window as the rule takes it.

    Attributes:
        verdict: The verdict, or the error of the recording.
        place: An identifier of the window, unique for the machine; ids of messages are made from it.
        time: When it was recorded, ISO 8601, for the messages; nothing is decided by it.
        rest: Why the machine rests, for example "schedule": then the window is reported and does not count.
        nuisance: Name of the acknowledged sound that it is like: then it counts as healthy, and is reported.
    """

    verdict: Verdict
    place: str
    time: str = ""
    rest: str = ""
    nuisance: str = ""


def make_rule(machine: Machine, k: int, n: int, hysteresis: float) -> Rule:
    """Return the rule of a machine.

    Args:
        machine: The machine; its threshold opens.
        k: As `Rule`.
        n: As `Rule`.
        hysteresis: 0 closes at the threshold itself, 1 only at the median of the healthy windows.

    Raises:
        ConfigError: A value is out of range.
    """
    if not 0 <= hysteresis <= 1:
        raise ConfigError("hysteresis lies between 0 and 1", value=hysteresis)
    scores = machine.calibration.scores
    median = min(float(scores[len(scores) // 2]), machine.threshold)
    return Rule(k, n, machine.threshold, machine.threshold - hysteresis * (machine.threshold - median))


def advance(
    rule: Rule, state: RuleState, windows: Sequence[Judged], machine: str, now: str
) -> tuple[RuleState, list[Message]]:
    """Take some windows and return the new state and the messages they give rise to.

    Message ids depend on the machine, the place of the window and the kind alone: the same again after a restart.

    Args:
        rule: When events open and close.
        state: State before the windows.
        windows: Windows, in order.
        machine: Its name.
        now: Wall-clock time for the messages, ISO 8601; nothing is decided by it.
    """
    messages: list[Message] = []
    for window in windows:
        state = _take(rule, state, window, machine, now, messages)
    return state, messages


def message_id(machine: str, place: str, kind: str) -> str:
    """Return the id of a message: the same whenever the same thing happens."""
    return str(uuid.uuid5(_NAMESPACE, printable(f"{machine}|{place}|{kind}")))


def _take(rule: Rule, state: RuleState, window: Judged, machine: str, now: str, messages: list[Message]) -> RuleState:
    verdict = window.verdict

    def facts(kind: str) -> dict[str, Any]:
        quiet = window.rest or (f"nuisance {window.nuisance}" if window.nuisance else None)
        shared = {"machine": machine, "time": now, "file_time": window.time, "verdict": verdict, "quiet": quiet}
        return {"id": message_id(machine, window.place, kind), **shared}

    if verdict.score is None:
        messages.append(Failed(**facts("error")))
        return state
    messages.append(Scored(**facts("score")))
    if window.rest:
        return RuleState((), state.event)
    counted = min(verdict.score, rule.release) if window.nuisance else verdict.score
    recent, event = (*state.recent, counted)[-rule.n :], state.event
    if event is None and sum(score > rule.threshold for score in recent) >= rule.k:
        opened = facts("open")
        messages.append(Opened(**opened, threshold=rule.threshold, event=opened["id"]))
        event = OpenEvent(opened["id"], verdict.file, now, max(recent))
    if event is not None:
        event = dataclasses.replace(event, peak=max(event.peak, verdict.score), windows=event.windows + 1)
        if len(recent) == rule.n and all(score <= rule.release for score in recent):
            story: dict[str, Any] = {
                "event": event.id,
                "opened": event.opened,
                "peak": event.peak,
                "windows": event.windows,
            }
            messages.append(Closed(**facts("close"), **story))
            event, recent = None, ()
    return RuleState(recent, event)
