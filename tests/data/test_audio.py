import hashlib
import struct

import numpy as np
import pytest
import soundfile

from echobank.data import audio
from echobank.data.audio import read_clip
from echobank.data.windows import read_windows
from echobank.errors import AudioError, ConfigError

RATE = 16_000


def tone(seconds, rate, hz=440.0, level=0.5):
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def write(path, samples, rate=RATE, **kind):
    soundfile.write(path, samples, rate, **kind)
    return path


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 4e-5),
        ("a.wav", "PCM_24", 2e-7),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "DOUBLE", 1e-7),
        ("a.wav", "PCM_U8", 8e-3),
        ("a.flac", "PCM_16", 4e-5),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_formats_give_the_samples_that_were_written(tmp_path, name, subtype, tolerance):
    wanted = tone(1.0, RATE)
    path = write(tmp_path / name, wanted, subtype=subtype)
    clip = read_clip(path)
    assert clip.samples.dtype == np.float32
    assert (clip.source_rate, clip.sample_rate, clip.channels, clip.flags) == (RATE, RATE, 1, ())
    assert clip.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert np.abs(clip.samples[2000:14000] - wanted[2000:14000]).max() < tolerance


def test_integers_scale_as_libsndfile_scales_them(tmp_path):
    path = write(tmp_path / "a.wav", np.array([-32768, -1, 0, 1, 32767] * 2000, np.int16))
    np.testing.assert_array_equal(read_clip(path).samples, soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_is_resampled_to_the_same_tone(tmp_path, rate):
    clip = read_clip(write(tmp_path / "a.wav", tone(1.0, rate), rate, subtype="FLOAT"))
    assert clip.source_rate == rate and len(clip.samples) == RATE and clip.seconds == 1.0
    np.testing.assert_allclose(clip.samples[800:-800], tone(1.0, RATE)[800:-800], atol=1e-4)


def test_what_lies_above_the_new_band_does_not_alias(tmp_path):
    clip = read_clip(write(tmp_path / "a.wav", tone(1.0, 48_000, hz=9_000), 48_000, subtype="FLOAT"))
    assert np.abs(clip.samples[800:-800]).max() < 1e-5


def test_a_channel_is_chosen_never_averaged(tmp_path):
    levels = np.arange(1, 9) / 16
    path = write(tmp_path / "a.wav", tone(0.5, RATE, level=1.0)[:, None] * levels, subtype="FLOAT")
    for channel in range(8):
        clip = read_clip(path, channel=channel)
        assert (clip.channel, clip.channels) == (channel, 8)
        assert clip.peak_dbfs == pytest.approx(20 * np.log10(levels[channel]), abs=0.02)
    with pytest.raises(AudioError, match=r"a\.wav.*no channel 8.*has 8"):
        read_clip(path, channel=8)
    for channel in (-1, "w2", "", 1.0, True):
        with pytest.raises(ConfigError, match="channel"):
            read_clip(path, channel=channel)


def test_levels_of_a_sine(tmp_path):
    clip = read_clip(write(tmp_path / "a.wav", tone(1.0, RATE, level=0.5), subtype="FLOAT"))
    assert clip.peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert clip.rms_dbfs == pytest.approx(-9.03, abs=0.01)


NOISE = np.random.default_rng(0).standard_normal(RATE) * 0.1


@pytest.mark.parametrize(
    ("samples", "flags"),
    [
        (NOISE, ()),
        (np.zeros(RATE), ("silent",)),
        (np.full(RATE, 0.01), ("silent",)),
        (np.full(RATE, 0.5), ("silent", "dc")),
        (np.clip(NOISE * 20, -1, 1), ("clipped",)),
        (np.where(np.arange(RATE) == 5, 1.0, NOISE), ()),
        (NOISE * 40, ("clipped",)),
        (NOISE + 0.3, ("dc",)),
        (NOISE * 0.01 + 0.01, ("dc",)),
        (NOISE[:1600], ("short",)),
        (NOISE[:1], ("silent", "short")),
    ],
)
def test_flags(tmp_path, samples, flags):
    clip = read_clip(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert clip.flags == flags
    assert np.isfinite([clip.peak_dbfs, clip.rms_dbfs]).all()
    assert len(clip.samples) == len(samples)


def damaged(tmp_path, kind):
    path = tmp_path / "bad.wav"
    write(path, NOISE)
    content = path.read_bytes()
    bad = NOISE.copy()
    bad[700] = np.nan if kind == "nan" else np.inf
    if kind in ("nan", "inf"):
        write(path, bad, subtype="FLOAT")
    elif kind == "zero-length":
        write(path, NOISE[:0])
    elif kind == "rate":
        write(path, NOISE, 100)
    elif kind == "absent":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind in ("flac", "mp3"):
        other = write(path.with_suffix(f".{kind}"), np.tile(NOISE, 5))
        path.write_bytes(other.read_bytes()[: other.stat().st_size // 2])
    else:
        path.write_bytes(
            {
                "text": b"these are my notes, not a recording\n" * 20,
                "empty": b"",
                "one byte missing": content[:-1],
                "half": content[: len(content) // 2],
                "header": content[:44],
                "half a header": content[:30],
                "noise": bytes(range(256)) * 9,
            }[kind]
        )
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("text", "not a recording"),
        ("noise", "not a recording"),
        ("empty", "empty"),
        ("zero-length", "no samples"),
        ("one byte missing", r"cut short: 32000 bytes of samples promised, 31999 found"),
        ("half", "cut short"),
        ("header", "cut short"),
        ("half a header", "cut short"),
        ("flac", "."),
        ("mp3", "cut short: 80000 samples"),
        ("nan", "sample 700"),
        ("inf", "sample 700"),
        ("rate", "100 Hz"),
        ("absent", "No such file"),
        ("folder", "directory"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_cannot_be_used_is_one_clear_line(tmp_path, kind, says, streamed, monkeypatch):
    path = damaged(tmp_path, kind)
    if streamed:
        monkeypatch.setattr(audio, "_IN_MEMORY_BYTES", 0)
    with pytest.raises(AudioError, match=says) as caught:
        if streamed:
            list(read_windows(path, seconds=0.25, hop=0.25))
        else:
            read_clip(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
def test_every_kind_of_wav_tells_when_it_is_cut_short(tmp_path, kind):
    path = write(tmp_path / "a.wav", NOISE, format=kind)
    assert len(read_clip(path).samples) == RATE
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(AudioError, match="cut short: 32000 bytes"):
        read_clip(path)


def test_a_chunk_before_the_samples_and_an_open_length_are_fine(tmp_path):
    path = write(tmp_path / "a.wav", NOISE)
    content = path.read_bytes()
    wanted = read_clip(path).samples
    path.write_bytes(content[:36] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + content[36:])
    np.testing.assert_array_equal(read_clip(path).samples, wanted)
    path.write_bytes(content[:40] + struct.pack("<I", 0xFFFFFFFF) + content[44:])
    np.testing.assert_array_equal(read_clip(path).samples, wanted)
