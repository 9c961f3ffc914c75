"""Feedback: how users judged the events of a machine, and what rate of alarms they saw."""

from collections.abc import Mapping, Sequence
from typing import Any

from echobank.machines.checkup.finding import GOOD, NOTE, WARNING, CheckupFinding, date_of, share
from echobank.machines.health import counted

WEEK = 7 * 24 * 3_600_000
_SHOWN = 5


def feedback_findings(
    events: Sequence[Mapping[str, Any]], threshold: float | None, first: int, last: int
) -> list[CheckupFinding]:
    """Return what the events say.

    Args:
        events: Rows of the service's table `events`, the oldest first.
        threshold: Score above which the bank calls a window anomalous today; None where that is not known.
        first: When the trend begins, milliseconds since 1970 ...
        last: ... and ends.
    """
    sounds = [event for event in events if event["kind"] == "sound" and first <= event["opened"] <= last]
    if not sounds:
        return []
    weeks = max(1.0, (last - first) / WEEK)
    no_fault = [event for event in sounds if event["opinion"] == "no_fault"]
    confirmed = [event for event in sounds if event["opinion"] == "fault"]
    muted = [event for event in sounds if event["muted"] and not event["opinion"]]
    unseen = [event for event in sounds if not (event["opinion"] or event["muted"] or event["acknowledged"])]
    values = {"events": len(sounds), "a_week": len(sounds) / weeks, "no_fault": len(no_fault)}
    values |= {"confirmed": len(confirmed), "muted": len(muted), "unseen": len(unseen)}
    nuisance = len(no_fault) + len(muted)
    judged = nuisance + len(confirmed)
    said = f"users saw {counted(len(sounds), 'event')} in {weeks:.0f} weeks, {len(sounds) / weeks:.2g} per week"
    if judged:
        said += f"; of {judged} that they judged, {share(nuisance / judged)} were no fault or a nuisance"
    today, missed = _today(no_fault, confirmed, threshold)
    evidence = (
        f"{len(no_fault)} were marked as no fault, {len(confirmed)} were confirmed, {len(muted)} were muted, "
        f"{len(unseen)} nobody looked at",
        *today,
    )
    many = judged >= 4 and nuisance > judged / 2
    step = "lower the rate (`echobank bank calibrate --far`), or take the sounds as healthy" if many else ""
    if missed:
        step = "the threshold of today is above a fault that was confirmed: undo the change of the bank that raised it"
    level = WARNING if missed or many else (NOTE if judged else GOOD)
    return [CheckupFinding("feedback", "events", level, said, evidence, step, values=values)]


def _today(
    no_fault: Sequence[Mapping[str, Any]], confirmed: Sequence[Mapping[str, Any]], threshold: float | None
) -> tuple[list[str], bool]:
    """Return what the threshold of today would make of events, and whether it would miss a confirmed fault."""
    if threshold is None:
        return [], False
    again = [event for event in no_fault if (event["peak"] or 0) > threshold]
    missed = [event for event in confirmed if (event["peak"] or 0) <= threshold]
    said = []
    if no_fault:
        said.append(
            f"of those that were no fault, the highest score of {len(again)} of {len(no_fault)} is above the "
            f"threshold of today, {threshold:.4g}; the bank may have learnt their sound since"
        )
    if missed:
        names = ", ".join(date_of(event["opened"]) for event in missed[:_SHOWN])
        said.append(f"{counted(len(missed), 'confirmed fault')} would not alarm at the threshold of today: {names}")
    return said, bool(missed)
