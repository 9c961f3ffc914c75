"""Capture with a source that the test plays: gaps, losses, silence, a backlog; windows never span a gap."""

import subprocess
import sys
import time

import numpy as np
import pytest

from echobank.watch.feeds import capture as module
from echobank.watch.feeds.capture import Capture, Cutting
from echobank.watch.feeds.samples import SampleFormat
from echobank.watch.feeds.timeline import Timeline
from tests.machines.sounds import hum
from tests.watch.feeds.played import Clock, Played

RATE = 16_000
CUTTING = Cutting(1.0, 1.0, RATE)


def block(seconds=0.1, seed=0, value=None):
    rng = np.random.default_rng(seed)
    samples = (
        np.full(round(seconds * RATE), value) if value is not None else rng.integers(-3000, 3000, int(seconds * RATE))
    )
    return samples.astype("<i2").tobytes()


def blocks(seconds, seed=0):
    return [block(seed=seed * 1000 + i) for i in range(round(seconds * 10))]


@pytest.fixture
def playing(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.01)
    started = []

    def start(*steps, form=None, cutting=CUTTING, ring_seconds=60.0):
        clock = Clock()
        source = Played(clock, form)
        capture = Capture(source, cutting, ring_seconds, clock)
        source.play(*steps)
        capture.begin()
        started.append(capture)
        return capture, source

    yield start
    for capture in started:
        capture.close()


def until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def conditions(capture):
    return {found.kind: found for found in capture.reception.conditions.snapshot()}


def test_a_loss_is_a_gap_of_its_length_and_no_window_spans_it(playing):
    capture, _ = playing(*blocks(3.5), ("lost", 7.0), *blocks(3.5, seed=1))
    until(lambda: capture.heard >= 7)
    windows = capture.take(10)
    starts = [window.sample / RATE for window in windows]
    assert starts[:4] == [0.0, 1.0, 2.0, 2.5] and starts[4:7] == [10.5, 11.5, 12.5]
    assert [window.window.start for window in windows] == starts
    gap = conditions(capture)["gap"]
    assert (gap.count, gap.seconds) == (1, 7.0) and not gap.now
    ahead = np.concatenate([np.frombuffer(data, "<i2") for data in blocks(3.5, seed=1)])
    assert np.array_equal(windows[4].window.samples, ahead[:RATE].astype(np.float32) / 32768)


def test_a_stall_is_a_loss_and_the_source_is_opened_again(playing):
    capture, source = playing(*blocks(2.0), ("stall", 4.0))
    until(lambda: "nothing came" in capture.reception.trouble)
    source.play(*blocks(2.0, seed=1))
    until(lambda: capture.heard >= 4 and not capture.reception.trouble)
    assert conditions(capture)["gap"].seconds == pytest.approx(4.0, abs=0.2)


def test_a_short_piece_between_two_gaps_is_not_scored(playing):
    capture, _ = playing(*blocks(2.0), ("lost", 1.0), *blocks(0.4), ("lost", 1.0), *blocks(2.0))
    until(lambda: capture.heard >= 4)
    assert {round(window.window.seconds, 3) for window in capture.take(9)} == {1.0}


def test_conditions_have_start_length_and_count(playing):
    loud = np.clip(np.random.default_rng(1).standard_normal(RATE) * 60_000, -32768, 32767).astype("<i2").tobytes()
    offset = (np.random.default_rng(2).integers(-300, 300, RATE) + 9000).astype("<i2").tobytes()
    same = block(0.5, seed=3)
    capture, _ = playing(
        *blocks(1.0),
        block(1.0, value=0),
        *blocks(1.0),
        block(1.5, value=0),
        *blocks(1.0),
        loud,
        offset,
        same * 3,
        *blocks(1.5),
    )
    until(lambda: capture.reception.track and capture.reception.track.timeline.position >= 9.5 * RATE)
    until(lambda: "stuck" in conditions(capture) and not conditions(capture)["stuck"].now)
    found = conditions(capture)
    assert (found["silent"].count, found["silent"].seconds, found["silent"].total) == (2, 1.5, 2.5)
    assert (found["clipped"].count, found["clipped"].seconds) == (1, 1.0)
    assert (found["dc"].count, found["dc"].seconds) == (1, 1.0)
    assert (found["stuck"].count, found["stuck"].seconds) == (1, 1.0)
    assert not any(condition.now for condition in found.values())


def test_silence_ends_with_sound_and_not_with_a_click(playing):
    capture, source = playing(*blocks(1.0), block(5.0, value=0))
    until(lambda: capture.reception.silence >= 5.0)
    source.play(block(0.5), block(1.0, value=0))
    until(lambda: capture.reception.silence >= 6.0)
    source.play(*blocks(1.5))
    until(lambda: capture.reception.silence == 0.0 and capture.reception.track.timeline.position == 9 * RATE)
    capture.reception.clock.now += 30
    assert capture.reception.silence == pytest.approx(30.0, abs=0.2)


def test_samples_that_are_not_finite_are_a_gap(playing):
    form = SampleFormat(RATE, 1, "f32le")
    good = (np.random.default_rng(0).standard_normal(2 * RATE) * 0.1).astype("<f4").tobytes()
    bad = np.full(RATE, np.nan, "<f4").tobytes()
    capture, _ = playing(good, bad, good, form=form)
    until(lambda: capture.heard >= 4)
    assert [window.sample for window in capture.take(9)] == [0, RATE, 3 * RATE, 4 * RATE]
    assert conditions(capture)["not_finite"].seconds == 1.0


def test_another_format_begins_another_session(playing):
    capture, source = playing(*blocks(2.0))
    until(lambda: capture.heard >= 2)
    source.form = SampleFormat(48_000)
    source.play(("lost", 1.0), *[data * 3 for data in blocks(3.0)])
    until(lambda: capture.heard >= 4)
    windows = capture.take(9)
    capture.done(windows)
    assert [window.window.source_rate for window in windows] == [RATE, RATE] and len({w.session for w in windows}) == 1
    later = capture.take(9)
    assert later[0].window.source_rate == 48_000 and later[0].sample == 0 and later[0].session != windows[0].session


def test_a_live_backlog_is_dropped_and_counted_and_the_newest_is_heard(playing):
    capture, _ = playing(*blocks(100.0))
    until(lambda: capture.reception.track and capture.reception.track.timeline.position >= 100 * RATE - 1)
    until(lambda: capture.heard >= 99)
    waiting = len(capture.take(1000))
    assert waiting <= CUTTING.backlog == 30
    assert capture.dropped + waiting == capture.heard
    assert conditions(capture)["dropped"].count == capture.dropped > 60
    assert capture.take(1000)[-1].sample >= 98 * RATE


def test_windows_under_way_are_not_dropped(playing):
    capture, source = playing(*blocks(3.0))
    until(lambda: capture.heard >= 2)
    batch = capture.take(2)
    source.play(*blocks(60.0))
    until(lambda: capture.dropped)
    assert capture.take(2) == batch
    capture.done(batch)
    assert capture.take(1)[0].sample > batch[-1].sample + RATE


def test_the_ring_knows_samples_by_number(playing):
    capture, _ = playing(*blocks(2.0), ("lost", 1.0), *blocks(2.0, seed=1), ring_seconds=3.0)
    until(lambda: capture.reception.track and capture.reception.track.timeline.position >= 5 * RATE - 1)
    ring = capture.reception.track.ring
    first, second = ring.read(0, 10 * RATE)
    assert first.first >= RATE and second.first == 3 * RATE and ring.end == 5 * RATE
    whole = b"".join(blocks(2.0))
    assert first.data == whole[first.first * 2 :] and second.data == b"".join(blocks(2.0, seed=1))
    (cut,) = ring.read(3 * RATE + 5, 3 * RATE + 9)
    assert cut.data == second.data[10:18]


def test_bursts_and_a_clock_that_is_off_are_no_gaps_but_lost_samples_are():
    timeline, now, gaps = Timeline(RATE, 0.0), 0.0, []
    for second in range(1, 2000):  # pages of a second, a card that is 100 ppm slow
        now = second * 1.0001
        gaps.append(timeline.missing(now))
        timeline.arrived(now, RATE)
    assert sum(gaps) == 0
    timeline.begun -= 2.0  # two seconds of samples never come
    for second in range(2000, 2030):
        now = second * 1.0001
        if missing := timeline.missing(now):
            gaps.append(missing)
            timeline.skip(missing)
        timeline.arrived(now, RATE)
    assert sum(gaps) == pytest.approx(2.0 * RATE, rel=0.05)


HOUR = """
import os, resource, sys, threading, time
import numpy as np
from echobank.watch.feeds.capture import Capture, Cutting
from echobank.watch.feeds.pipe import Pipe
from echobank.watch.feeds.samples import SampleFormat
reading, writing = os.pipe()
minute = np.random.default_rng(0).integers(-3000, 3000, 60 * 16000).astype("<i2").tobytes()
def pour():
    for _ in range(60):
        left = memoryview(minute)
        while left:
            left = left[os.write(writing, left):]
    os.close(writing)
threading.Thread(target=pour, daemon=True).start()
capture = Capture(Pipe(reading, SampleFormat(16000)), Cutting(10.0, 5.0, 16000), 30.0)
capture.begin()
peaks = {}
while not capture.finished or capture.take(1):
    windows = capture.take(4)
    if not windows:
        time.sleep(0.001)  # asking without a pause would keep the capture from its turn
    capture.done(windows)
    peaks[capture.heard // 180] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(capture.heard, capture.dropped, peaks[1], max(peaks.values()))
"""


@pytest.mark.slow
def test_an_hour_replayed_fast_takes_no_more_memory_than_ten_minutes():
    done = subprocess.run([sys.executable, "-c", HOUR], capture_output=True, text=True, check=True)
    heard, dropped, early, late = map(int, done.stdout.split())
    assert heard == 719 and dropped == 0
    assert late - early < 8_000, (early, late)  # KiB


def test_resampling_starts_over_behind_a_gap(playing):
    form, sound = SampleFormat(44_100), (hum(4.0)[:44_100] * 32767).astype("<i2")
    capture, _ = playing(sound.tobytes(), ("lost", 2.0), sound.tobytes(), ("lost", 2.0), form=form)
    until(lambda: capture.heard >= 2)
    first, second = capture.take(2)
    assert np.array_equal(first.window.samples, second.window.samples)
    assert second.sample == 3 * 44_100
