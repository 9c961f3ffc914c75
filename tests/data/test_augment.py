"""Noise at an exact ratio, pitch that really moves, and randomness that does not depend on the order of work."""

import numpy as np
import pytest

from echobank.data.augment import Augmentation, generator, mix_noise, pitch_shift, plan
from echobank.errors import AudioError, InputError

RATE = 16000


def tone(hz, seconds=3.0, rate=RATE, level=0.3):
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def white(seconds, seed, level=0.1):
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def peak_hz(samples, rate=RATE):
    middle = samples[len(samples) // 8 : -len(samples) // 8]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 8 * len(middle)))
    return np.argmax(spectrum) * rate / (8 * len(middle))


def level_db(samples):
    middle = samples[len(samples) // 8 : -len(samples) // 8]
    return 10 * np.log10(np.mean(middle.astype(np.float64) ** 2))


@pytest.mark.parametrize("snr", [-10.0, 0.0, 10.0, 33.3])
@pytest.mark.parametrize("noise_seconds", [0.01, 1.7, 3.0, 8.0])
def test_noise_has_the_exact_ratio(snr, noise_seconds):
    clip, noise = tone(440), white(noise_seconds, 1)
    mixed = mix_noise(clip, noise, snr, np.random.default_rng(0))
    added = mixed.astype(np.float64) - clip
    assert mixed.dtype == np.float32 and mixed.shape == clip.shape
    assert 10 * np.log10(np.mean(clip.astype(np.float64) ** 2) / np.mean(added**2)) == pytest.approx(snr, abs=1e-3)


def test_the_clip_is_never_rescaled_even_where_the_sum_exceeds_one():
    clip = tone(100, level=1.0)
    mixed = mix_noise(clip, white(5, 2), 0.0, np.random.default_rng(0))
    assert np.abs(mixed).max() > 1
    slope = np.dot(mixed, clip) / np.dot(clip, clip)
    assert slope == pytest.approx(1.0, abs=0.02)


def test_the_offset_comes_from_the_generator():
    clip, noise = tone(440), white(30, 3)
    first, again, other = (mix_noise(clip, noise, 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("bad", [np.zeros(100, np.float32), np.zeros(0, np.float32), np.full(9, np.nan, np.float32)])
def test_no_ratio_without_power(bad):
    good, rng = tone(440, 0.1), np.random.default_rng(0)
    with pytest.raises(AudioError, match="clip"):
        mix_noise(bad, good, 10, rng)
    with pytest.raises(AudioError, match="noise"):
        mix_noise(good, bad, 10, rng)


@pytest.mark.parametrize("semitones", [-24.0, -7.0, -1.0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize(
    ("hz", "rate"), [(61.0, 16000), (440.0, 16000), (3000.0, 16000), (440.0, 8000), (997.0, 48000)]
)
def test_a_tone_moves_and_keeps_length_and_level(semitones, hz, rate):
    clip = tone(hz, rate=rate)
    shifted = pitch_shift(clip, semitones, rate)
    assert shifted.shape == clip.shape and shifted.dtype == np.float32
    assert peak_hz(shifted, rate) == pytest.approx(hz * 2 ** (semitones / 12), rel=0.005)
    assert level_db(shifted) == pytest.approx(level_db(clip), abs=1.0)


@pytest.mark.parametrize("semitones", [-1.0, 1.0])
def test_noise_keeps_its_level(semitones):
    low = np.convolve(white(4, 5), np.ones(8) / 8, "same").astype(np.float32)
    assert level_db(pitch_shift(low, semitones, RATE)) == pytest.approx(level_db(low), abs=1.0)


@pytest.mark.parametrize("semitones", [-1.0, 1.0])
def test_impacts_stay_where_they_were_and_stay_sharp(semitones):
    clip = np.zeros(4 * RATE, np.float32)
    clip[RATE // 4 :: RATE // 2] = 0.8
    shifted = np.abs(pitch_shift(clip, semitones, RATE))
    found = np.flatnonzero(shifted > 0.25)
    starts = found[np.concatenate(([True], np.diff(found) > RATE // 20))]
    expected = np.arange(RATE // 4, 4 * RATE, RATE // 2)
    assert len(starts) == len(expected)
    assert np.abs(starts - expected).max() < 0.03 * RATE
    assert np.std(shifted) == pytest.approx(np.std(clip), rel=0.2)


@pytest.mark.parametrize("count", [1, 100, 2047, 2048, 16001])
def test_any_length_and_no_shift(count):
    clip = white(2, 6)[:count]
    assert pitch_shift(clip, 1.0, RATE).shape == clip.shape
    assert np.array_equal(pitch_shift(clip, 0.0, RATE), clip)
    with pytest.raises(AudioError, match="pitch"):
        pitch_shift(clip * np.float32(np.inf), 1.0, RATE)


def test_the_plan_and_its_labels():
    assert [a.label for a in plan([0, 10, 20.5], [-1, 1], True)] == [
        "snr=0",
        "snr=10",
        "snr=20.5",
        "pitch=-1",
        "pitch=1",
    ]
    assert [a.label for a in plan([0, 10], [-1], False)] == ["pitch=-1"]


def test_apply_draws_one_of_the_noises_and_needs_one():
    clip, change = tone(440, 0.2), Augmentation("snr", 10.0)
    noises = [white(1, seed) for seed in range(4)]
    results = {change.apply(clip, RATE, noises, generator(0, str(i), change.label)).tobytes() for i in range(8)}
    assert len(results) == 8
    with pytest.raises(InputError, match="no noise"):
        change.apply(clip, RATE, [], np.random.default_rng(0))
    shifted = Augmentation("pitch", 1.0).apply(clip, RATE, [], np.random.default_rng(0))
    assert np.array_equal(shifted, pitch_shift(clip, 1.0, RATE))


def test_the_generator_depends_on_seed_content_and_label_alone():
    draws = [
        generator(*key).random() for key in [(0, "a", "x"), (0, "a", "x"), (1, "a", "x"), (0, "b", "x"), (0, "a", "y")]
    ]
    assert draws[0] == draws[1] and len(set(draws)) == 4
