"""Messages of a watch, as the tests store them."""

from datetime import UTC, datetime

from echobank.machines.verdict import Verdict
from echobank.watch.events import Closed, Opened, Scored
from echobank.watch.rule import message_id


def iso(ms):
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def scored(number, ms=1_700_000_000_000, *, score=1.0, decision=0, nearest="00.wav"):
    verdict = Verdict(
        f"{number}.wav", 0.0, 2.0, score, 0.5, 50.0, decision, nearest=nearest, nearest_start=0.0, level_dbfs=-20.0
    )
    name = message_id("pump", f"{number}", "score")
    return Scored(id=name, machine="pump", time=iso(ms), file_time=iso(ms), verdict=verdict)


def opened(number, ms=1_700_000_000_000, score=9.0):
    verdict = Verdict(f"{number}.wav", 0.0, 2.0, score, 0.01, 100.0, 1, nearest="00.wav")
    name = message_id("pump", f"{number}", "open")
    facts = {"machine": "pump", "time": iso(ms), "file_time": iso(ms), "verdict": verdict}
    return Opened(id=name, event=name, threshold=2.0, **facts)


def closed(number, event, ms=1_700_000_060_000):
    verdict = Verdict(f"{number}.wav", 0.0, 2.0, 1.0, 0.5, 50.0, 0, nearest="00.wav")
    name = message_id("pump", f"{number}", "close")
    facts = {"machine": "pump", "time": iso(ms), "file_time": iso(ms), "verdict": verdict}
    return Closed(id=name, event=event, opened=iso(ms - 60_000), peak=9.5, windows=4, **facts)
