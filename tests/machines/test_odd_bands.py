"""Real motors: sounds of known time and band in a recording that the bank does not hold are named where they are."""

import numpy as np
import pytest
import soundfile

from echobank import Detector
from tests.requirements import require


@pytest.fixture(scope="module")
def motor():
    """Return a healthy recording of a motor, float64[T] at 16 kHz, and the machine of its other speeds."""
    files = sorted((require("recordings", "bldc_motors") / "Healthy" / "M3").glob("*.wav"))
    left_out = files.pop(2)
    detector = Detector("M3", seconds=2.0, settings=("model.embedding=logmel_stats",)).fit(files)
    samples, rate = soundfile.read(left_out, always_2d=True)
    assert rate == 16_000
    return samples[:, 0], detector


def level(samples, hz, octaves):
    """Return the mean power of a band."""
    spectrum, lines = np.fft.rfft(samples), np.fft.rfftfreq(len(samples), 1 / 16_000)
    inside = np.abs(np.log2(np.maximum(lines, 1) / hz)) <= octaves / 2
    return 2 * np.sum(np.abs(spectrum[inside]) ** 2) / len(samples) ** 2


@pytest.mark.parametrize("hz", [800.0, 2300.0])
@pytest.mark.parametrize("start", [3.2, 6.7])
def test_a_tone_of_12_db_is_named_and_flagged(motor, tmp_path, hz, start):
    sound, detector = motor
    changed, inside = sound.copy(), slice(round(start * 16_000), round((start + 0.8) * 16_000))
    power = level(sound[inside], hz, 1 / 3) * 10**1.2
    changed[inside] += np.sqrt(2 * power) * np.sin(2 * np.pi * hz * np.arange(inside.stop - inside.start) / 16_000)
    soundfile.write(tmp_path / "a.wav", changed, 16_000, subtype="FLOAT")
    window = np.floor(start)
    finding = detector.explain(tmp_path / "a.wav", window).findings[0]
    region = finding.region
    assert abs(window + region.start - start) < 0.1 and abs(window + region.end - start - 0.8) < 0.1
    assert abs(np.log2(np.sqrt(region.low_hz * region.high_hz) / hz)) < 1 / 3
    (verdict,) = [it for it in detector.score([tmp_path / "a.wav"]) if it.start == window]
    assert "odd_band" in verdict.flags


def test_clicks_are_named_with_their_rate(motor, tmp_path):
    sound, detector = motor
    rng, changed = np.random.default_rng(0), sound.copy()
    times = 4.3 + 0.3 * np.arange(4)
    spectrum, lines = np.fft.rfft(rng.standard_normal(160)), np.fft.rfftfreq(160, 1 / 16_000)
    click = np.fft.irfft(np.where((lines > 2000) & (lines < 4000), spectrum, 0), 160) * np.exp(-np.arange(160) / 48)
    click *= np.sqrt(level(sound, 2828.0, 1.0) * 10**1.2 / np.mean(click[:80] ** 2))
    for time in times:
        changed[round(time * 16_000) :][:160] += click
    soundfile.write(tmp_path / "a.wav", changed, 16_000, subtype="FLOAT")
    train = detector.explain(tmp_path / "a.wav", 4.0).impulses
    assert train.count == 4 and train.rate_hz == pytest.approx(1 / 0.3, rel=0.05)
    assert 4.0 + np.array(train.times) == pytest.approx(times, abs=0.02)
