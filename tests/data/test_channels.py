"""What is heard of a recording: one channel, or two microphones reduced to one signal."""

import numpy as np
import pytest
import soundfile
import soxr

from echobank.data.audio import Stream, read_clip
from echobank.data.channels import Channel
from echobank.data.index import ClipIndex, facts_of
from echobank.data.two_microphones import near_minus_far
from echobank.data.windows import cut_stream, read_windows
from echobank.errors import AudioError, ConfigError

RATE = 16_000


def two(seconds, seed=0, rate=RATE):
    """Return float32[T, 2]: a tone beside the near microphone, and noise that both hear."""
    length = round(seconds * rate)
    far = 0.1 * np.random.default_rng(seed).standard_normal(length)
    near = 0.05 * np.sin(2 * np.pi * 440 * np.arange(length) / rate) + np.convolve(far, [0.0, 0.5, 0.2])[:length]
    return np.stack([near, far], axis=1).astype(np.float32)


def write(path, samples, rate=RATE):
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def test_a_value_has_an_identity_and_a_name():
    assert [Channel.of(name).identity for name in (0, 3, "w1")] == [0, 3, "w1"]
    assert [str(Channel.of(name)) for name in (0, "w1")] == ["0", "w1"]
    assert len({Channel.of(name) for name in (0, 1, "w1", "w1")}) == 3
    assert [Channel.of(name).alone.identity for name in (0, 3, "w1")] == [0, 0, "w1"]
    for name in (-1, "w2", "", None, 1.0, False):
        with pytest.raises(ConfigError):
            Channel.of(name)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_clip_is_reduced_at_its_own_rate(tmp_path, rate):
    sound = two(2.0, rate=rate)
    clip = read_clip(write(tmp_path / "a.wav", sound, rate), channel="w1", source=True)
    reduced = near_minus_far(sound[:, 0], sound[:, 1], rate)
    np.testing.assert_array_equal(clip.source, reduced)
    wanted = reduced if rate == RATE else soxr.resample(reduced, rate, RATE, quality="HQ")
    np.testing.assert_array_equal(clip.samples, wanted)
    level = 10 * np.log10(np.mean(reduced.astype(np.float64) ** 2))
    assert clip.rms_dbfs == pytest.approx(level) and clip.flags == ()
    assert (clip.channel, clip.channels, clip.source_rate) == ("w1", 2, rate)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_window_is_reduced_as_a_clip_of_its_own_however_the_blocks_are_cut(tmp_path, rate):
    sound = two(3.3, rate=rate)
    path = write(tmp_path / "a.wav", sound, rate)
    windows = list(read_windows(path, seconds=1.0, hop=0.5, channel="w1", source=True))
    assert [window.start for window in windows] == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.3])
    for window in windows:
        first = round(window.start * rate)
        alone = read_clip(write(tmp_path / "b.wav", sound[first : first + rate], rate), channel="w1", source=True)
        np.testing.assert_array_equal(window.samples, alone.samples)
        np.testing.assert_array_equal(window.source, alone.source)
        assert (window.rms_dbfs, window.flags, window.seconds) == (alone.rms_dbfs, alone.flags, 1.0)
    blocks = iter(np.split(sound, np.sort(np.random.default_rng(0).integers(1, len(sound), 40))))
    cut = cut_stream(Stream(rate, 2, blocks), seconds=1.0, hop=0.5, sample_rate=RATE, channel="w1")
    assert [window.sound_sha256 for window in cut] == [window.sound_sha256 for window in windows]


def test_more_channels_than_two_are_no_matter_and_fewer_are_one_clear_line(tmp_path):
    sound = two(0.5)
    wide = np.concatenate((sound, 0.3 * sound[::-1]), axis=1)
    pair = read_clip(write(tmp_path / "two.wav", sound), channel="w1")
    np.testing.assert_array_equal(read_clip(write(tmp_path / "four.wav", wide), channel="w1").samples, pair.samples)
    mono = write(tmp_path / "mono.wav", sound[:, 0])
    for read in (read_clip, lambda path, **words: list(read_windows(path, seconds=1, hop=1, **words))):
        with pytest.raises(AudioError, match=r"mono\.wav.*w1 needs a near and a far microphone.*has one channel"):
            read(mono, channel="w1")


def test_what_the_reduction_hides_is_flagged(tmp_path):
    sound = two(0.5)
    loud = np.clip(40 * sound, -1, 1)
    for name, samples, flags in (
        ("same", sound[:, [0, 0]], ("silent",)),
        ("far dead", sound * [1, 0], ("far_silent",)),
        ("near dead", sound * [0, 1], ("silent",)),
        ("far clipped", np.stack([sound[:, 0], loud[:, 1]], axis=1), ("clipped",)),
        ("near clipped", np.stack([loud[:, 0], sound[:, 1]], axis=1), ("clipped",)),
    ):
        assert read_clip(write(tmp_path / f"{name}.wav", samples), channel="w1").flags == flags
    clip = read_clip(tmp_path / "far dead.wav", channel="w1")
    np.testing.assert_allclose(clip.samples, sound[:, 0], atol=1e-7)


def test_a_sample_that_is_none_is_refused_in_either_channel(tmp_path):
    for channel in (0, 1):
        sound = two(0.5)
        sound[4321, channel] = np.nan
        with pytest.raises(AudioError, match=r"not a finite number.*sample 4321"):
            read_clip(write(tmp_path / "a.wav", sound), channel="w1")
    assert read_clip(tmp_path / "a.wav", channel=0).flags == ()


def test_facts_of_channels_and_reductions_lie_side_by_side(tmp_path):
    path = write(tmp_path / "a.wav", two(0.5))
    for _ in range(200):  # more stale lines than the journal keeps: it is written again, in order
        index = ClipIndex(tmp_path / "cache")
        for channel in ("w1", 0):
            index.add(facts_of(path, channel, clip=read_clip(path, channel=channel)))
    index = ClipIndex(tmp_path / "cache")
    assert len(index) == 2 and index.find(path, 1) is None
    assert [index.find(path, channel).channel for channel in (0, "w1")] == [0, "w1"]
    assert index.find(path, "w1").rms_dbfs < index.find(path, 0).rms_dbfs
