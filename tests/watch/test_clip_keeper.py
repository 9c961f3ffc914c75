"""Clips: a click lies where the clip says, exactly; quota; what a killed watch left behind; full disks."""

import json
import os
import time

import numpy as np
import pytest
import soundfile

from echobank.machines.machine import open_machine
from echobank.watch.clip_keeper import ClipKeeper, ClipSettings, offset_of
from echobank.watch.engine import Watch, WatchSettings
from echobank.watch.feeds import capture as capturing
from echobank.watch.feeds.capture import LiveWindow
from echobank.watch.feeds.samples import SampleFormat
from echobank.watch.feeds.stream_feed import StreamFeed
from echobank.watch.feeds.track import Reception
from tests.machines.sounds import full_disk, hum, with_tone
from tests.watch.feeds.played import Clock, Played
from tests.watch.watching import Receiver

RATE = 16_000
CLICK = 30_000


def samples(seconds, seed, *, odd=False, clicks=()):
    parts = [hum(4.0, seed=seed + number) for number in range(round(seconds) // 4 + 1)]
    sound = np.concatenate(parts)[: round(seconds * RATE)]
    sound = with_tone(sound, 0.0, seconds) if odd else sound
    whole = (np.clip(sound, -0.8, 0.8) * 32767).astype("<i2")
    for at in clicks:
        whole[at] = CLICK
    return whole


def cut(whole):
    return [whole[i : i + 1600].tobytes() for i in range(0, len(whole), 1600)]


def run(watch, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        watch.step()
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def live(fitted, tmp_path, monkeypatch):
    """Return a function that starts a watch of a played source with clips."""
    monkeypatch.setattr(capturing, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(capturing, "_BACKLOG", 300.0)  # what is played comes all at once
    machine = open_machine(fitted / "banks" / "pump")
    watches = []

    def start(*steps, receiver=None, **settings):
        for old in watches:
            old.close()
        clock = Clock()
        source = Played(clock)
        feed = StreamFeed("pump", source, machine.listener, 60.0)
        feed.capture.reception.clock = clock
        clips = ClipSettings(tmp_path / "clips", before=3.0, after=2.0, least_free=0, **settings)
        rule = WatchSettings(k=2, n=3, heartbeat=0)
        bank = fitted / "banks" / "pump"
        receiver = receiver or Receiver()
        watch = Watch(machine, bank, feed, tmp_path / "state", [receiver], rule, clips=clips)
        source.play(*steps)
        watches.append(watch)
        return watch, source, receiver

    yield start
    for old in watches:
        old.close()


def kinds(receiver):
    return [message["kind"] for message in receiver.taken]


def flacs(folder):
    return sorted((folder / "clips" / "pump").glob("*.flac"))


def test_a_click_lies_where_the_clip_says_before_at_and_after_a_gap(live, tmp_path):
    before, odd = (
        samples(10.0, 1, clicks=[9 * RATE + 17]),
        samples(6.0, 2, odd=True, clicks=[5 * RATE + 3, 6 * RATE - 1]),
    )
    behind = samples(4.0, 3, odd=True, clicks=[0, 2 * RATE + 5])
    watch, _, receiver = live(*cut(before), *cut(odd), ("lost", 5.0), *cut(behind), *cut(samples(20.0, 4)))
    run(watch, lambda: "close" in kinds(receiver) and flacs(tmp_path))
    (path,) = flacs(tmp_path)
    facts, (sound, rate) = json.loads(path.with_suffix(".json").read_text()), soundfile.read(path, dtype="int16")
    opened = next(message for message in receiver.taken if message["kind"] == "open")
    closed = next(message for message in receiver.taken if message["kind"] == "close")
    assert rate == RATE and path.stem == facts["clip"] == opened["clip"] == closed["clip"] == opened["event"]
    numbers = [9 * RATE + 17, 15 * RATE + 3, 16 * RATE - 1, 21 * RATE, 23 * RATE + 5]
    assert [offset_of(facts, number) is not None for number in numbers] == [True] * 5
    assert [int(sound[offset_of(facts, number)]) for number in numbers] == [CLICK] * 5
    assert int((sound == CLICK).sum()) == 5
    first, second = facts["stretches"]
    assert first["first"] + first["frames"] == 16 * RATE and second["first"] == 21 * RATE
    assert offset_of(facts, 18 * RATE) is None and len(sound) == first["frames"] + second["frames"]
    inside = [m for m in receiver.taken if m["kind"] == "score" and m.get("clip")]
    assert inside and {m["clip"] for m in inside} == {facts["clip"]}


def test_a_clip_begins_before_the_first_window_that_counted_and_ends_after_the_last(live, tmp_path):
    watch, _, receiver = live(*cut(samples(10.0, 1)), *cut(samples(4.0, 2, odd=True)), *cut(samples(20.0, 3)))
    run(watch, lambda: flacs(tmp_path))
    (path,) = flacs(tmp_path)
    (stretch,) = json.loads(path.with_suffix(".json").read_text())["stretches"]
    counted = [m["start"] for m in receiver.taken if m["kind"] == "score" and m["decision"]]
    closed = next(m for m in receiver.taken if m["kind"] == "close")
    assert stretch["first"] == round((min(counted) - 3.0) * RATE)
    assert stretch["first"] + stretch["frames"] == round((closed["start"] + closed["seconds"] + 2.0) * RATE)
    expected = np.concatenate([samples(10.0, 1), samples(4.0, 2, odd=True), samples(20.0, 3)])
    sound, _ = soundfile.read(path, dtype="int16")
    assert np.array_equal(sound, expected[stretch["first"] : stretch["first"] + stretch["frames"]])


def test_a_long_event_has_a_clip_of_bounded_length(live, tmp_path):
    watch, _, receiver = live(*cut(samples(5.0, 1)), *cut(samples(25.0, 2, odd=True)), longest=8.0)
    run(watch, lambda: flacs(tmp_path) and kinds(receiver).count("score") >= 28)
    (path,) = flacs(tmp_path)
    assert soundfile.info(path).frames == 8 * RATE and "close" not in kinds(receiver)


def test_what_a_killed_watch_left_behind_is_kept_and_the_event_goes_on(live, tmp_path):
    watch, _, receiver = live(*cut(samples(5.0, 1)), *cut(samples(6.0, 2, odd=True)))
    run(watch, lambda: kinds(receiver).count("score") >= 10)
    raw = next((tmp_path / "clips" / "pump").glob("*.part"))
    with raw.open("ab") as stream:
        stream.write(b"torn")  # written, but not yet in the list of stretches
    watch._clips._keeper._open = None  # as if killed: nothing is finished
    watch, _, again = live(*cut(samples(4.0, 3, odd=True)), *cut(samples(12.0, 4)))
    run(watch, lambda: "close" in kinds(again) and len(flacs(tmp_path)) == 2)
    first, second = sorted(flacs(tmp_path), key=lambda path: len(path.stem))
    assert "open" not in kinds(again) and second.stem == f"{first.stem}-2"
    assert next(m for m in again.taken if m["kind"] == "close")["clip"] == first.stem
    assert not list((tmp_path / "clips" / "pump").glob("*.part*"))


class Keeping:
    """A keeper with a track that the test fills."""

    def __init__(self, folder, **settings):
        self.track = Reception(600.0).new_track(SampleFormat(RATE), 0.0)
        self.keeper = ClipKeeper(ClipSettings(folder, **{"least_free": 0, **settings}), "pump", 3)

    def clip(self, name, when, seconds=2.0):
        track, first = self.track, self.track.ring.end
        noise = np.random.default_rng(first).integers(-3000, 3000, round(seconds * RATE)).astype("<i2")
        track.ring.append(first, noise.tobytes())
        live = LiveWindow(track.session, first, track.ring.end, "", None)
        self.keeper.opened(name, live, track)
        self.keeper.closed(live)
        self.keeper.step(track)
        self.keeper.close()
        for path in self.keeper._place.glob(f"{name}.*"):
            os.utime(path, (when, when))


def test_the_oldest_clips_go_when_there_are_too_many_bytes(tmp_path):
    keeping = Keeping(tmp_path, most_bytes=130_000, before=0.0, after=0.0)
    now = time.time()
    for number, age in enumerate((500, 900, 100, 50)):  # each some 50 kB
        keeping.clip(f"c{number}", now - age)
    assert {path.stem for path in tmp_path.rglob("*.flac")} == {path.stem for path in tmp_path.rglob("*.json")}
    assert {path.stem for path in tmp_path.rglob("*.flac")} == {"c2", "c3"}


def test_old_clips_go_and_those_of_an_open_event_last(tmp_path):
    keeping = Keeping(tmp_path, most_days=1.0, before=0.0, after=0.0)
    keeping.clip("old", time.time() - 2 * 86_400)
    keeping.clip("new", time.time())
    assert {path.stem for path in tmp_path.rglob("*.flac")} == {"new"}
    crowded = Keeping(tmp_path, most_bytes=60_000, before=0.0, after=0.0)
    crowded.clip("open", time.time() - 3600)
    crowded.keeper.opened("open", LiveWindow(crowded.track.session, 0, 1, "", None), crowded.track)
    crowded.keeper.prune()
    assert {path.stem for path in tmp_path.rglob("*.flac")} == {"open"}


def test_a_full_disk_is_a_trouble_and_no_end(tmp_path):
    keeping = Keeping(tmp_path, before=0.0, after=0.0)
    with full_disk(1000):
        keeping.clip("a", time.time())
        assert "clips cannot be kept" in keeping.keeper.trouble
    keeping.clip("b", time.time())
    assert keeping.keeper.trouble == "" and (tmp_path / "pump" / "b.flac").exists()


@pytest.mark.parametrize("kind", ["u8", "s24le", "s32le", "f32le"])
def test_other_formats_are_kept_to_24_bits(tmp_path, kind):
    from echobank.watch.feeds.flac_files import write_flac

    form = SampleFormat(RATE, 2, kind)
    raw = np.random.default_rng(0).bytes(form.frame * 1000)
    if kind == "f32le":
        raw = np.random.default_rng(0).uniform(-1, 1, 2000).astype("<f4").tobytes()
    write_flac(tmp_path / "a.flac", form, [raw[: 8 * form.frame], raw[8 * form.frame :]])
    sound, _ = soundfile.read(tmp_path / "a.flac", dtype="float64", always_2d=True)
    assert np.abs(sound - form.decode(raw)).max() <= (0 if kind in ("u8", "s24le") else 2.0**-22)
