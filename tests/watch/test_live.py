"""A watch of a stream: a slow encoder, silence, levels, several sources at once, the engine of folders."""

import dataclasses
import json
import subprocess
import sys
import time

import numpy as np
import pytest

from echobank.machines.machine import open_machine
from echobank.watch.engine import Watch, WatchSettings
from echobank.watch.feeds import capture as capturing
from echobank.watch.feeds.stream_feed import StreamFeed
from tests.machines.sounds import hum, write
from tests.watch.feeds.played import Clock, Played
from tests.watch.test_clip_keeper import cut, samples
from tests.watch.watching import Receiver

RATE = 16_000


class Slow:
    """An encoder that takes longer for a window than the window is long, by the clock of the test."""

    def __init__(self, encoder, clock, source):
        self._encoder, self._clock, self._source = encoder, clock, source
        self.facts, self.calls, self.most = encoder.facts, 0, 0

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def tokens(self, *args, **kwargs):
        self._wait(len(args[0]))
        return self._encoder.tokens(*args, **kwargs)

    def tokens_from_logmel(self, *args, **kwargs):
        self._wait(len(args[0]))
        return self._encoder.tokens_from_logmel(*args, **kwargs)

    def _wait(self, windows):
        self.calls += windows
        self._source.play(*cut(samples(3.0 * windows, self.calls % 20)))  # three seconds pass per window of one
        end = time.monotonic() + 5
        while self._source._steps.qsize() and time.monotonic() < end:
            time.sleep(0.002)


@pytest.fixture
def live(fitted, tmp_path, monkeypatch):
    """Return a function that starts a watch of a played source."""
    monkeypatch.setattr(capturing, "_FIRST_WAIT", 0.01)
    machine = open_machine(fitted / "banks" / "pump")
    watches = []

    def start(*steps, slow=False, **settings):
        clock = Clock()
        source, receiver = Played(clock), Receiver()
        used = machine
        if slow:
            listener = dataclasses.replace(machine.listener, encoder=Slow(machine.listener.encoder, clock, source))
            used = dataclasses.replace(machine, listener=listener)
        feed = StreamFeed("pump", source, used.listener)
        feed.capture.reception.clock = clock
        rule = WatchSettings(**{"k": 2, "n": 3, "heartbeat": 0, **settings})
        watch = Watch(used, fitted / "banks" / "pump", feed, tmp_path / "state", [receiver], rule, clock)
        source.play(*steps)
        watches.append(watch)
        return watch, source, receiver, feed

    yield start
    for watch in watches:
        watch.close()


def run(watch, condition, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        watch.step()
        assert time.monotonic() < end
        time.sleep(0.005)


def test_an_encoder_that_is_three_times_too_slow_drops_whole_windows_and_stays_near(live):
    watch, _, receiver, feed = live(*cut(samples(4.0, 1)), slow=True, heartbeat=20.0)
    encoder = watch.machine.listener.encoder
    run(watch, lambda: encoder.calls >= 60)
    heard = [m for m in receiver.taken if m["kind"] == "score"]
    starts = [m["start"] for m in heard]
    assert starts == sorted(starts) and {m["seconds"] for m in heard} == {2.0}
    dropped = next(found for found in feed.conditions if found["kind"] == "dropped")
    assert feed.capture.dropped == dropped["count"] > 60
    assert len(feed.capture._waiting) <= feed.capture.cutting.backlog
    position = feed.capture.reception.track.timeline.position / RATE
    assert position > 150 and position - starts[-1] <= 30 + 8 * 3 + 4  # the backlog, and what was embedded meanwhile
    beats = [m for m in receiver.taken if m["kind"] == "heartbeat"]
    assert beats and any(c["kind"] == "dropped" for c in beats[-1]["conditions"])


def test_silence_is_an_event_that_survives_a_restart_and_closes_with_sound(live):
    watch, source, receiver, _ = live(*cut(samples(4.0, 1)), np.zeros(RATE * 8, "<i2").tobytes(), silence_after=5.0)
    run(watch, lambda: "no_sound" in [m["kind"] for m in receiver.taken])
    watch.close()
    watch, source, again, feed = live(np.zeros(RATE * 8, "<i2").tobytes(), silence_after=5.0)
    run(watch, lambda: feed.silence >= 7.5)
    assert not [m for m in again.taken if m["kind"] in ("no_sound", "sound")]
    source.play(*cut(samples(4.0, 2)))
    run(watch, lambda: "sound" in [m["kind"] for m in again.taken])
    opened = next(m for m in receiver.taken if m["kind"] == "no_sound")
    closed = next(m for m in again.taken if m["kind"] == "sound")
    assert closed["event"] == opened["id"] and closed["opened"] == opened["time"] and opened["seconds"] >= 5.0


def test_a_level_far_outside_the_range_of_the_bank_is_a_trouble(live):
    quiet = (samples(8.0, 2) / 200).round().astype("<i2")
    watch, source, _, feed = live(*cut(samples(8.0, 1)), *cut(quiet))
    run(watch, lambda: any("level since" in trouble for trouble in watch.troubles))
    source.play(*cut(samples(8.0, 3)))
    run(watch, lambda: not watch.troubles)
    level = next(found for found in feed.conditions if found["kind"] == "level")
    assert level["count"] == 1 and 4 < level["seconds"] < 10 and not level["now"]


def test_what_was_broken_off_is_not_scored_twice(live):
    watch, _, receiver, _ = live(*cut(samples(20.0, 1)))
    end = time.monotonic() + 30
    while len(receiver.taken) < 15 and time.monotonic() < end:
        watch.step(lambda: True)  # every step is broken off after one arrival
    ids = [m["id"] for m in receiver.taken]
    assert len(ids) == len(set(ids)) and [m["start"] for m in receiver.taken[:15]] == [float(i) for i in range(15)]


def test_several_sources_have_a_bank_a_state_and_events_of_their_own(fitted, tmp_path):
    path = write(tmp_path / "a.wav", hum(4.0, seed=100))
    words = ["listen", str(fitted / "banks"), "--source", "pump=-", "--source", "pump2=mic", "--heartbeat", "0"]
    command = [sys.executable, "-m", "echobank", *words]
    done = subprocess.run(command, input=path.read_bytes(), capture_output=True)
    assert done.returncode == 2 and b"pump2" in done.stderr and b"Traceback" not in done.stderr
    command = [sys.executable, "-m", "echobank", *words[:4], "--heartbeat", "0"]
    done = subprocess.run([*command, "--state", str(tmp_path / "s")], input=path.read_bytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["file"] for line in done.stdout.splitlines()} == {"pump"}
    assert (tmp_path / "s" / "pump" / "journal.jsonl").exists()


@pytest.mark.parametrize(
    "words",
    [[], ["banks/pump"], ["banks", "mic", "--source", "a=mic"], ["banks", "--source", "mic"], ["banks/pump", "tape"]],
)
def test_what_is_no_source_is_refused_in_one_line(words, capsys):
    from echobank.cli import main

    assert main(["listen", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
