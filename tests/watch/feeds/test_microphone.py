"""A microphone without a sound card: ALSA's file device, heard by arecord and by sounddevice."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from echobank.errors import ConfigError
from echobank.machines.machine import open_machine
from echobank.watch.feeds.capture import Capture, Cutting
from echobank.watch.feeds.microphone import Microphone
from echobank.watch.feeds.samples import SampleFormat
from tests.machines.sounds import hum, write
from tests.requirements import require
from tests.watch.feeds.streams import heard_in, scored

CONFIG = 'pcm.{name} {{ type file slave.pcm "null" file "/dev/null" infile "{file}" format "raw" }}\n'


@pytest.fixture
def card(tmp_path, monkeypatch):
    """Return a function that makes a device of a name; it plays samples int16[T]."""
    require("alsa")
    monkeypatch.setenv("HOME", str(tmp_path))
    samples = (hum(60.0, seed=5) * 32767).astype("<i2")
    (tmp_path / "sound.raw").write_bytes(samples.tobytes())

    def plug_in(name):
        (tmp_path / ".asoundrc").write_text(CONFIG.format(name=name, file=tmp_path / "sound.raw"))
        return samples

    return plug_in


def first_windows(capture, count, seconds=40.0):
    capture.begin()
    end, windows = time.monotonic() + seconds, []
    while len(windows) < count:
        assert time.monotonic() < end, capture.reception.trouble
        windows += (batch := capture.take(100))
        capture.done(batch)
        time.sleep(0.01)
    return windows


def test_sounddevice_hears_every_sample(card):
    samples = card("pump_mic")
    capture = Capture(Microphone("PUMP_mic", rate=16_000), Cutting(1.0, 1.0, 16_000))
    windows = first_windows(capture, 5)
    capture.close()
    assert windows[0].sample == 0
    inside = [live for live in windows if live.end <= len(samples)]
    assert len(inside) >= 4
    for (
        live
    ) in inside:  # the device plays as fast as it is read, so that whole windows may be dropped on a busy machine
        expected = samples[live.sample : live.end].astype(np.float32) / 32768
        assert live.sample % 16_000 == 0 and np.array_equal(live.window.samples, expected)


def test_a_microphone_that_appears_later_is_found(card):
    card("something_else")
    capture = Capture(Microphone("pump_mic", rate=16_000), Cutting(1.0, 1.0, 16_000))
    capture.begin()
    end = time.monotonic() + 30
    while "no such microphone" not in capture.reception.trouble:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "something_else" in capture.reception.trouble
    card("pump_mic")
    assert first_windows(capture, 2)
    lost = next(found for found in capture.reception.conditions.snapshot() if found.kind == "lost")
    assert lost.count == 1 and lost.seconds > 0.5 and not lost.now and capture.reception.trouble == ""
    capture.close()


def test_devices_are_listed_with_their_rates(card):
    card("pump_mic")
    done = subprocess.run([sys.executable, "-m", "echobank", "listen", "--list"], capture_output=True, text=True)
    assert done.returncode == 0
    assert any(line.startswith("mic:") and "pump_mic" in line and "Hz" in line for line in done.stdout.splitlines())


def test_arecord_through_a_pipe_is_scored_like_a_file(card, fitted, tmp_path):
    arecord = shutil.which("arecord") or pytest.skip("no ALSA: apt-get install alsa-utils")
    samples = card("pump_mic")
    record = [arecord, "-q", "-D", "pump_mic", "-f", "S16_LE", "-r", "16000", "-c", "1", "-d", "6"]
    machine = open_machine(fitted / "banks" / "pump")
    expected = scored(machine, write(tmp_path / "same.wav", samples[: 6 * 16_000]))
    wav = subprocess.run([*record, "-t", "wav"], capture_output=True, check=True).stdout
    raw = subprocess.run([*record, "-t", "raw"], capture_output=True, check=True).stdout
    assert heard_in(machine, wav) == expected
    assert heard_in(machine, raw, form=SampleFormat(16_000)) == expected


def test_without_sounddevice_it_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setattr("echobank.watch.feeds.microphone.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'echobank\[live\]'"):
        Microphone()


def test_no_child_outlives_its_parent(card, tmp_path):
    card("pump_mic")
    command = [sys.executable, "-m", "echobank.watch.feeds.microphone", "pump_mic", "16000"]
    reading, writing = os.pipe()
    child = subprocess.Popen(command, stdin=reading, stdout=subprocess.PIPE)
    os.close(reading)
    assert child.stdout.read(4) == b"RIFF"
    os.close(writing)  # as when the parent is killed: nobody reads, and a hung driver would never write
    assert child.wait(20) == 0
