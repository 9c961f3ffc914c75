"""The engine: ask a feed for new sound, judge it, apply the rule, write it down, deliver; a restart loses nothing.

The feed says what is new, the judge holds machine and rule, the state keeps the journal, and each sink has a delivery
in the outbox; this module only joins them.
"""

import dataclasses
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from echobank.errors import OutputError
from echobank.machines.archive import revision_of
from echobank.machines.machine import Machine
from echobank.machines.trend.trend_keeper import TrendKeeper
from echobank.machines.verdict import Verdict
from echobank.names import printable
from echobank.watch.clip_keeper import ClipKeeper, ClipSettings
from echobank.watch.event_clips import EventClips, EventSounds
from echobank.watch.event_windows import windows_of_messages
from echobank.watch.events import Heartbeat, OpenSilence, SilenceClosed, SilenceOpened
from echobank.watch.feeds.feed import Arrival, Feed
from echobank.watch.feeds.stream_feed import StreamFeed
from echobank.watch.judge import Judge
from echobank.watch.mutes import Mutes
from echobank.watch.outbox import make_delivery
from echobank.watch.rest import PAUSE_FILE, Rest, Span
from echobank.watch.rule import Judged, advance, message_id
from echobank.watch.sinks.sink import Commanded, Sink
from echobank.watch.state import WatchState


@dataclass(frozen=True)
class WatchSettings:
    """How running sound is watched.

    Attributes:
        k: Windows above the threshold that open an event ...
        n: ... among this many of the last.
        hysteresis: 0 closes at the threshold, 1 only at the median of the healthy windows.
        heartbeat: Seconds between two heartbeats; 0 gives none.
        only_new: True takes what is there at the first start as seen.
        schedule: When the machine alarms; empty is always.
        silence_after: Seconds without sound, or without a recording, that open an event `no_sound`; 0 never does.
    """

    k: int = 3
    n: int = 5
    hysteresis: float = 0.3
    heartbeat: float = 60.0
    only_new: bool = False
    silence_after: float = 0.0
    schedule: tuple[Span, ...] = ()


class Watch:
    """One machine, one feed.

    Args:
        machine: The machine.
        bank: Path of its bank; a bank that is changed meanwhile is taken up.
        feed: Where its sound comes from.
        state: Folder of the journal and the cursors.
        sinks: Where messages go.
        settings: How it is watched.
        clock: A monotonic clock, seconds.
        rate: False-alarm rate in place of the bank's own; None keeps that.
        clips: What is kept of the sound of events, for a feed that is a stream, or what keeps it; None keeps none.
        trend: Folder of the trend; None keeps none.
        mutes: Folder of the acknowledged sounds; None is that of the state.

    Raises:
        InputError: Another watch uses the state, or the state is of something else.
        OutputError: The state cannot be written.
    """

    def __init__(
        self,
        machine: Machine,
        bank: Path,
        feed: Feed,
        state: Path,
        sinks: Sequence[Sink],
        settings: WatchSettings,
        clock: Callable[[], float] = time.monotonic,
        rate: float | None = None,
        clips: ClipSettings | EventSounds | None = None,
        trend: Path | None = None,
        mutes: Path | None = None,
    ) -> None:
        self._feed, self._settings, self._clock = feed, settings, clock
        self._judge = Judge(machine, bank, settings.k, settings.n, settings.hysteresis, rate)
        self._name = machine.name
        start = feed.present if settings.only_new else dict
        self._state = WatchState(state, {"machine": self._name, **feed.identity}, start)
        self.resting = Rest(state / PAUSE_FILE, settings.schedule)
        self._mutes = Mutes(mutes or state, bank, settings.n)
        self._refused, self._closed = "", False
        for sink in sinks:
            if isinstance(sink, Commanded):
                sink.obey(self._obey)
        self._deliveries = [make_delivery(sink, state, clock) for sink in sinks]
        self._next_heartbeat = clock()
        self._trend = TrendKeeper(trend) if trend else None
        self._clips: EventSounds | None = None if isinstance(clips, ClipSettings) else clips
        if isinstance(clips, ClipSettings) and isinstance(feed, StreamFeed):
            self._clips = EventClips(feed, ClipKeeper(clips, self._name, settings.n))

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong at this moment: a feed that is gone, a full disk, sinks that do not take messages."""
        clips = self._clips.trouble if self._clips else ""
        again = [
            *self._feed.troubles,
            self._refused,
            clips,
            self._mutes.trouble,
            self._trend.trouble if self._trend else "",
            *(delivery.trouble for delivery in self._deliveries),
        ]
        stale = self._judge.trouble
        return (*filter(None, [stale]), *(f"{trouble}; trying again" for trouble in again if trouble))

    @property
    def machine(self) -> Machine:
        """The machine in force."""
        return self._judge.machine

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was passed over, one sentence per kind."""
        return self._feed.left_out

    @property
    def ended(self) -> bool:
        """Whether no more sound will ever come."""
        return self._feed.ended

    @property
    def heard(self) -> bool:
        """Whether anything was ever heard."""
        return bool(self._state.seen)

    @property
    def idle(self) -> bool:
        """Whether everything that has arrived is scored and delivered."""
        return self._feed.idle and not self._refused and all(delivery.done for delivery in self._deliveries)

    @property
    def rest(self) -> float:
        """Least time to wait before the next poll, seconds."""
        return self._feed.rest

    @property
    def summary(self) -> str:
        """What is watched, how, and how far it is, in one sentence."""
        rule = self._judge.rule
        state = "an event is open" if self._state.rule.event else "no event is open"
        return (
            f"{self._name} {self._feed.title}: {len(self._state.seen)} recordings done, {state}; "
            f"an event opens at {rule.k} of {rule.n} windows above {rule.threshold:.4g}"
        )

    def step(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Poll once, score what is finished, deliver what waits; return the number of pieces scored.

        A disk that is full is a trouble like others: what could not be written down was not done, and is done later.

        Args:
            stop: Asked between pieces; True ends the step early.
        """
        self._judge.refresh()
        done = 0
        try:
            for arrival in self._feed.arrivals(self._judge.machine.listener, self._state.seen):
                self._record(arrival)
                done += 1
                self._deliver()
                self._beat()
                if stop():
                    break
            if self._clips:
                self._clips.step()
            self._mind_silence()
            self._deliver()
            self._forget()
            self._refused = ""
        except OutputError as error:
            self._refused = str(error)
        self._beat()
        return done

    def close(self) -> None:
        """Try once more to deliver, and release everything; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._feed.close()
            if self._clips:
                self._clips.close()
            if self._trend:
                self._trend.close()
            with suppress(OutputError):
                self._deliver()
            for delivery in self._deliveries:
                delivery.close()
        finally:
            self._state.close()

    def _record(self, arrival: Arrival) -> None:
        machine, rest = self._judge.machine, self.resting.reason
        verdicts, nuisances = machine.judge(arrival.heard), self._mutes.names(arrival.heard, machine)
        windows = [
            Judged(_as_message(verdict, arrival.name), place, when, rest, nuisance)
            for verdict, place, when, nuisance in zip(verdicts, arrival.places, arrival.times, nuisances, strict=True)
        ]
        if isinstance(self._feed, StreamFeed) and not arrival.heard.error:
            self._feed.note_levels(self._judge.far_levels(arrival.heard))
        before = self._state.rule
        rule, messages = advance(self._judge.rule, before, windows, self._name, _now())
        if self._clips:
            messages = self._clips.mark(before, messages, arrival)
        if self._trend:  # before it counts as done: what comes again after a kill is known by its id
            revision = revision_of(machine.bank)
            self._trend.take(windows_of_messages(messages, revision), arrival.heard)
        self._state.record(arrival.name, arrival.stamp, rule, messages)
        event = rule.event or before.event
        if event is not None and not rest:
            self._mutes.remember(event.id, arrival.heard, verdicts, machine)
        if self._clips:
            self._clips.follow(verdicts, messages, self._judge.rule.threshold)

    def _obey(self, word: str) -> None:
        with suppress(OutputError):
            if word == "pause":
                self.resting.pause()
            elif word == "resume":
                self.resting.resume()

    def _mind_silence(self) -> None:
        after, silent, open_silence = self._settings.silence_after, self._feed.silence, self._state.silence
        now, where = _now(), self._feed.title
        resting = self._feed.ended or bool(self.resting.reason)
        if open_silence is None and after and silent >= after and not resting:
            opened = OpenSilence(message_id(self._name, f"{where}|{now}", SilenceOpened.kind), now)
            facts = {"machine": self._name, "time": now, "where": where}
            message = SilenceOpened(id=opened.id, event=opened.id, seconds=round(silent, 1), **facts)
            self._state.record_silence(opened, [message])
        elif open_silence is not None and (not after or silent < after):
            event = open_silence.id
            facts = {"machine": self._name, "time": now, "where": where, "opened": open_silence.opened}
            closed = SilenceClosed(id=message_id(self._name, event, SilenceClosed.kind), event=event, **facts)
            self._state.record_silence(None, [closed])

    def _deliver(self) -> None:
        for delivery in self._deliveries:
            delivery.pump(self._state.file, self._state.generation)

    def _beat(self) -> None:
        if self._settings.heartbeat and self._clock() >= self._next_heartbeat:
            self._next_heartbeat = self._clock() + self._settings.heartbeat
            for delivery in self._deliveries:
                delivery.heartbeat(self._heartbeat())

    def _forget(self) -> None:
        """Start the journal over once it is long and delivered; what is gone need not be remembered."""
        if not self._state.long or not all(delivery.done for delivery in self._deliveries):
            return
        seen = self._feed.remembered(self._state.seen)
        if seen is not None:
            self._state.start_over(seen)

    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(
            id=uuid.uuid4().hex,
            machine=self._name,
            time=_now(),
            files=len(self._state.seen),
            event=self._state.rule.event,
            troubles=tuple(map(printable, self.troubles)),
            age=round(self._feed.silence, 1),
            conditions=self._feed.conditions,
            paused=self.resting.reason,
            muted=self._mutes.counts,
        )


def _as_message(verdict: Verdict, name: str) -> Verdict:
    """Return a verdict as in messages: named after the arrival, in text that every receiver can hold."""
    nearest, error = printable(verdict.nearest), printable(verdict.error)
    return dataclasses.replace(verdict, file=printable(name), nearest=nearest, error=error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
