"""Standard input: the verdicts are those of the same recording as a file, however the bytes are cut."""

import csv
import json
import os
import random
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echobank.cli import main
from echobank.errors import AudioError, ConfigError
from echobank.machines.machine import open_machine
from echobank.watch.feeds.pipe import Pipe
from echobank.watch.feeds.samples import SampleFormat, read_wav_header, wav_header
from echobank.watch.feeds.stream_feed import StreamFeed
from tests.machines.sounds import hum, with_tone
from tests.watch.feeds.streams import collect, heard_in, pour, scored

SUBTYPES = {"s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT", "u8": "PCM_U8"}


@pytest.fixture(scope="module")
def machine(fitted):
    return open_machine(fitted / "banks" / "pump")


def sound(rate, channels, seconds, seed):
    """Return float64[T, channels]; the first channel is a machine with a tone for a while."""
    rng = np.random.default_rng(seed)
    first = with_tone(hum(seconds, seed=seed), 1.0, 2.5)
    at = np.arange(round(seconds * rate)) / rate
    mono = np.interp(at, np.arange(len(first)) / 16_000, first) + 1e-3 * rng.standard_normal(len(at))
    return np.stack([mono, *(0.1 * rng.standard_normal(len(mono)) for _ in range(channels - 1))], axis=1)


def recorded(folder, rate, channels, kind, seconds, seed=0):
    path = folder / f"{rate}-{channels}-{kind}-{seconds}-{seed}.wav"
    soundfile.write(path, sound(rate, channels, seconds, seed), rate, subtype=SUBTYPES[kind])
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rate=st.sampled_from([16_000, 44_100, 48_000]),
    channels=st.sampled_from([1, 2]),
    kind=st.sampled_from(["s16le", "s24le", "f32le"]),
    seconds=st.floats(0.3, 9.0),
    seed=st.integers(0, 2**16),
    cuts=st.integers(0, 60),
)
def test_a_stream_is_scored_like_the_same_file(machine, tmp_path_factory, rate, channels, kind, seconds, seed, cuts):
    path = recorded(tmp_path_factory.mktemp("wav"), rate, channels, kind, seconds, seed)
    data = path.read_bytes()
    chunks = sorted(random.Random(seed).sample(range(1, len(data)), min(cuts, len(data) - 1)))
    expected = scored(machine, path)
    assert heard_in(machine, data, chunks) == expected
    assert len(expected) >= 1 and expected[0].score is not None


@pytest.mark.parametrize("kind", SUBTYPES)
@pytest.mark.parametrize("channels", [1, 2])
def test_raw_samples_are_scored_like_a_file(machine, tmp_path, kind, channels):
    path = recorded(tmp_path, 44_100, channels, kind, 5.3)
    with path.open("rb") as stream:
        stream.read(12)
        read_wav_header(stream.read)
        raw = stream.read()
    assert heard_in(machine, raw, [1, 2, 4099, 100_001], SampleFormat(44_100, channels, kind)) == scored(machine, path)


def test_the_end_stub_is_heard_when_it_is_half_a_window(machine, tmp_path):
    for seconds, count in ((4.0, 3), (4.9, 4), (1.2, 1), (0.4, 1)):
        path = recorded(tmp_path, 16_000, 1, "s16le", seconds)
        heard = heard_in(machine, path.read_bytes())
        assert heard == scored(machine, path) and len(heard) == count


def test_a_long_stream_written_at_once_loses_no_window(machine, tmp_path):
    path = recorded(tmp_path, 16_000, 1, "s16le", 200.0)
    assert heard_in(machine, path.read_bytes()) == scored(machine, path)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_headers_that_do_not_know_the_length(machine, tmp_path, size):
    path = recorded(tmp_path, 16_000, 1, "s16le", 3.0)
    data = path.read_bytes()
    at = data.index(b"data") + 4
    assert heard_in(machine, data[:at] + struct.pack("<I", size) + data[at + 4 :]) == scored(machine, path)


def test_what_follows_the_samples_is_not_heard(machine, tmp_path):
    path = recorded(tmp_path, 16_000, 1, "s16le", 3.0)
    noise = np.random.default_rng(0).bytes(50_000)
    assert heard_in(machine, path.read_bytes() + b"LIST" + struct.pack("<I", len(noise)) + noise) == scored(
        machine, path
    )


def test_what_is_no_header_is_refused():
    def reader(data):
        rest = [data]

        def read(count):
            found, rest[0] = rest[0][:count], rest[0][count:]
            return found

        return read

    for data in (b"", b"data\x08\0\0\0", b"fmt \x10\0\0\0" + struct.pack("<HHIIHH", 85, 1, 16_000, 0, 0, 16)):
        with pytest.raises(AudioError):
            read_wav_header(reader(data))
    with pytest.raises(AudioError, match="impossible header"):
        read_wav_header(reader(b"junk\xff\xff\xff\x7f"))
    header = wav_header(SampleFormat(48_000, 2, "s24le"))
    assert read_wav_header(reader(header[12:])).format == SampleFormat(48_000, 2, "s24le")
    assert read_wav_header(reader(header[12:])).size is None


@pytest.mark.parametrize("wrong", [(0, 1, "s16le"), (16_000, 0, "s16le"), (16_000, 1, "mp3")])
def test_impossible_formats_are_refused(wrong):
    with pytest.raises(ConfigError):
        SampleFormat(*wrong)


def listen(fitted, tmp_path, data, *words):
    command = [sys.executable, "-m", "echobank", "listen", str(fitted / "banks" / "pump"), "-", "--heartbeat", "0"]
    return subprocess.run([*command, "--state", str(tmp_path / "s"), *words], input=data, capture_output=True)


def test_the_command_prints_what_watch_prints(fitted, machine, tmp_path):
    path = recorded(tmp_path, 48_000, 2, "s24le", 6.3)
    table = tmp_path / "rows.csv"
    done = listen(fitted, tmp_path, path.read_bytes(), "--csv", str(table), "--k-of-n", "2/3")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    expected = scored(machine, path)
    assert [line["score"] for line in lines if line["kind"] == "score"] == [verdict.score for verdict in expected]
    assert {line["file"] for line in lines} == {"pump"} and "open" in {line["kind"] for line in lines}
    with table.open(newline="") as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == [line["id"] for line in lines]


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", b"nothing came"), (b"no sound at all, only text", b"--rate"), (b"RIFF1234WAVE", b"WAV")]
)
def test_what_is_no_sound_is_said_in_one_line(fitted, tmp_path, data, reason):
    done = listen(fitted, tmp_path, data)
    assert done.returncode == 2 and reason in done.stderr and b"Traceback" not in done.stderr


def test_a_stream_that_is_cut_short_is_heard_and_said(fitted, tmp_path):
    path = recorded(tmp_path, 16_000, 1, "s16le", 6.0)
    done = listen(fitted, tmp_path, path.read_bytes()[:-40_000])
    assert b"cut short" in done.stderr and b"40000 bytes" in done.stderr
    assert [json.loads(line)["kind"] for line in done.stdout.splitlines()].count("score") == 4


@pytest.fixture(scope="module")
def two_microphones(tmp_path_factory):
    """Return a machine of data.channel=w1."""
    root = tmp_path_factory.mktemp("two")
    for i in range(6):
        recorded(root, 16_000, 2, "s16le", 4.0, seed=i)
    words = ["fit", str(root), "--machine", "pump", "--out", str(root / "banks"), "--window", "2s"]
    assert main([*words, "--far", "0.2", "--set", "data.channel=w1"]) == 0
    return open_machine(root / "banks" / "pump")


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_two_microphones_are_reduced_window_by_window_like_the_same_file(two_microphones, tmp_path, rate):
    path = recorded(tmp_path, rate, 2, "s16le", 7.3, seed=50)
    expected = scored(two_microphones, path)
    assert len(expected) > 5 and expected[0].score is not None
    data = path.read_bytes()
    assert heard_in(two_microphones, data, [1, 50, 4099, 100_001]) == expected


def test_a_stream_of_one_channel_says_what_is_wanted(two_microphones, tmp_path):
    data = recorded(tmp_path, 16_000, 1, "s16le", 3.0).read_bytes()
    reading, writing = os.pipe()
    writer = pour(data, [], writing)
    feed = StreamFeed("stdin", Pipe(reading), two_microphones.listener)
    try:
        assert collect(feed, two_microphones) == []
        assert "w1 needs a near and a far microphone" in " ".join(feed.troubles)
        assert "the source has one channel" in feed.troubles[0] and "--channels" in feed.troubles[0]
    finally:
        feed.close()
        os.close(reading)
        writer.join()
