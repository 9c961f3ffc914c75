"""The rule: when single anomalous windows become an alarm, and when the alarm is over.

An event opens when at least k of the last n windows are above the threshold, and closes when the last n windows
are all at or below a lower release level (hysteresis). The state is plain values, so that it can be kept.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echobank.errors import ConfigError
from echobank.machines.machine import Machine
from echobank.machines.verdict import Verdict, plain
from echobank.watch.events import Message

_NAMESPACE = uuid.UUID("6f6f2f3e-0b0c-5a55-9a4e-6563686f626b")  # fixed, so that ids are the same after a restart

State = Mapping[str, Any]


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


def start_state() -> dict[str, Any]:
    """Return the state before the first window."""
    return {"recent": [], "event": None}


def advance(
    rule: Rule, state: State, verdicts: Sequence[Verdict], machine: str, stamp: str, now: str, file_time: str = ""
) -> tuple[dict[str, Any], list[Message]]:
    """Take the windows of one recording and return the new state and the messages they give rise to.

    Message ids depend on the machine, the recording, its stamp and the place in it alone: the same again.

    Args:
        rule: When events open and close.
        state: State before the recording.
        verdicts: Its windows, in order, or its error.
        machine: Its name.
        stamp: What tells two recordings of the same name apart (size and time of change).
        now: Wall-clock time for the messages, ISO 8601; nothing is decided by it.
        file_time: When the recording was last changed, ISO 8601, for the messages; nothing is decided by it.
    """
    times = {"time": now, "file_time": file_time}
    recent, event, messages = list(state["recent"]), state["event"], list[Message]()

    def say(kind: str, verdict: Verdict, **facts: Any) -> Message:
        place = f"{machine}|{verdict.file}|{stamp}|{verdict.start}|{kind}"
        message = {"id": str(uuid.uuid5(_NAMESPACE, place)), "kind": kind, "machine": machine, **times, **facts}
        messages.append({**message, **plain(verdict)})
        return messages[-1]

    for verdict in verdicts:
        if verdict.score is None:
            say("error", verdict)
            continue
        say("score", verdict)
        recent = [*recent, verdict.score][-rule.n :]
        if event is None and sum(score > rule.threshold for score in recent) >= rule.k:
            opened = say("open", verdict, threshold=rule.threshold)
            event = {"id": opened["id"], "file": verdict.file, "opened": now, "peak": max(recent), "windows": 0}
            opened["event"] = event["id"]
        if event is not None:
            event = {**event, "peak": max(event["peak"], verdict.score), "windows": event["windows"] + 1}
            if len(recent) == rule.n and all(score <= rule.release for score in recent):
                facts = {"event": event["id"], "opened": event["opened"], "peak": event["peak"]}
                say("close", verdict, **facts, windows=event["windows"])
                event, recent = None, []
    return {"recent": recent, "event": event}, messages
