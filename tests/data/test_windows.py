import tracemalloc

import numpy as np
import pytest
import soundfile

from echobank.data import audio, decoding
from echobank.data.audio import read_clip
from echobank.data.windows import read_windows
from echobank.errors import AudioError

RATE = 16_000
NOISE = np.random.default_rng(0).standard_normal(RATE) * 0.1


def write(path, samples, rate=RATE):
    soundfile.write(path, samples, rate)
    return path


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_windows_equal_the_whole_recording(tmp_path, rate, monkeypatch):
    monkeypatch.setattr(decoding, "_BLOCK_FRAMES", 7_001)
    monkeypatch.setattr(audio, "_IN_MEMORY_BYTES", 0)
    noise = np.random.default_rng(1).standard_normal((round(5.3 * rate), 2)) * 0.1
    path = write(tmp_path / "a.wav", noise, rate)
    whole = read_clip(path, channel=1)
    windows = list(read_windows(path, seconds=1.0, hop=0.4, channel=1))
    assert [round(w.start, 3) for w in windows] == [*(round(0.4 * i, 3) for i in range(11)), 4.3]
    for window in windows:
        begin = round(window.start * RATE)
        assert window.samples.shape == (RATE,) and window.seconds == 1.0
        assert (window.sha256, window.source_rate, window.channels) == (whole.sha256, rate, 2)
        np.testing.assert_allclose(window.samples, whole.samples[begin : begin + RATE], atol=1e-4)


def test_windows_of_a_short_recording_and_with_gaps(tmp_path):
    path = write(tmp_path / "a.wav", NOISE)
    (only,) = read_windows(path, seconds=3.0, hop=1.0)
    np.testing.assert_array_equal(only.samples, read_clip(path).samples)
    assert [w.start for w in read_windows(path, seconds=0.1, hop=0.5)] == [0.0, 0.5]
    assert [w.start for w in read_windows(path, seconds=0.5, hop=0.5)] == [0.0, 0.5]
    with pytest.raises(AudioError, match="positive"):
        list(read_windows(path, seconds=1.0, hop=0.0))


def test_a_long_recording_is_read_in_bounded_memory(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as sound:
        minute = np.random.default_rng(2).integers(-3000, 3000, (60 * 48_000, 2), np.int16)
        for _ in range(8):
            sound.write(minute)
    tracemalloc.start()
    count = sum(1 for _ in read_windows(path, seconds=10.0, hop=10.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 48
    assert path.stat().st_size > audio._IN_MEMORY_BYTES and peak < 40e6
