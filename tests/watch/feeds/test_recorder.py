"""Recording only: whole minutes, every sample, no file over a gap; what is recorded can be fitted on."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.errors import InputError
from echobank.watch.feeds import capture as capturing
from echobank.watch.feeds.pipe import Pipe
from echobank.watch.feeds.recorder import record
from echobank.watch.feeds.samples import SampleFormat
from tests.machines.sounds import hum
from tests.watch.feeds.played import Clock, Played
from tests.watch.feeds.streams import pour


def noise(seconds, rate=16_000, channels=1, seed=0):
    return np.random.default_rng(seed).integers(-9000, 9000, (round(seconds * rate), channels)).astype("<i2")


def piped(samples, form, folder, **more):
    reading, writing = os.pipe()
    writer = pour(samples.tobytes(), [], writing)
    try:
        return record(Pipe(reading, form), folder, "pump", **more)
    finally:
        os.close(reading)
        writer.join()


def test_every_sample_lies_in_files_of_a_minute(tmp_path):
    samples = noise(200.5, channels=2)
    files, seconds = piped(samples, SampleFormat(16_000, 2), tmp_path / "new")
    paths = sorted((tmp_path / "new").iterdir())
    parts = [soundfile.read(path, dtype="int16", always_2d=True)[0] for path in paths]
    assert (files, seconds) == (4, 200.5) and [len(part) / 16_000 for part in parts] == [60, 60, 60, 20.5]
    assert np.array_equal(np.concatenate(parts), samples)


def test_it_stops_when_there_is_enough(tmp_path):
    samples = noise(100.0)
    assert piped(samples, SampleFormat(16_000), tmp_path, seconds=70.0) == (2, 70.0)
    parts = [soundfile.read(path, dtype="int16")[0] for path in sorted(tmp_path.iterdir())]
    assert np.array_equal(np.concatenate(parts), samples[: 70 * 16_000, 0])


def test_no_file_spans_a_gap(tmp_path, monkeypatch):
    monkeypatch.setattr(capturing, "_FIRST_WAIT", 0.01)
    first, second, clock, said = noise(5.0), noise(7.0, seed=1), Clock(), []
    source = Played(clock)
    source.play(first.tobytes(), ("lost", 3.0), second.tobytes())
    files, seconds = record(source, tmp_path, "pump", seconds=12.0, tell=said.append, clock=clock)
    parts = [soundfile.read(path, dtype="int16")[0] for path in sorted(tmp_path.iterdir())]
    assert files == 2 and seconds == 12.0
    assert np.array_equal(parts[0], first[:, 0]) and np.array_equal(parts[1], second[:, 0])


def test_nothing_recorded_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nothing was recorded"):
        piped(noise(0.0), SampleFormat(16_000), tmp_path)


def test_the_command_records_what_fit_takes(tmp_path, capsys):
    sound = np.concatenate([hum(4.0, seed=seed) for seed in range(24)])
    words = ["--record", str(tmp_path / "healthy"), "--for", "90s", "--rate", "16000", "-"]
    data = (sound * 32767).astype("<i2").tobytes()
    done = subprocess.run([sys.executable, "-m", "echobank", "listen", *words], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"recorded 90.0 s in 2 files" in done.stdout
    fit = ["fit", str(tmp_path / "healthy"), "--machine", "pump", "--out", str(tmp_path / "banks"), "--window", "2s"]
    assert main(fit) == 0
    done = subprocess.run([sys.executable, "-m", "echobank", "listen", *words[:-1]], capture_output=True, input=b"")
    assert done.returncode == 2
