"""Clips without the band of speech."""

import io

import numpy as np
import pytest
import soundfile

from echobank.machines.machine import open_machine
from echobank.machines.score import score_stream
from echobank.serve.speech_cut import HIGH, LOW, cut_speech
from tests.machines.sounds import RATE, hum, with_tone
from tests.requirements import needs
from tests.serve.serving import served, sound
from tests.serve.sources import declare, radio, wait_for

UPLOAD = "/api/machines/pump/recordings"


def voice(rate, seconds=4.0):
    """Return something with the spectrum of a voice: harmonics of 120 Hz, three formants, syllables, and hiss."""
    rng = np.random.default_rng(5)
    t = np.arange(round(seconds * rate)) / rate
    voiced = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 30))
    formants = sum(np.sin(2 * np.pi * hz * t) for hz in (500.0, 1500.0, 2500.0))
    hiss = rng.standard_normal(len(t))
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)
    return 0.1 * syllables * (voiced + formants + 0.3 * hiss) / 4


def band_power(samples, rate, low, high):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / rate)
    return spectrum[(hz >= low) & (hz <= high)].sum()


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_band_of_speech_is_gone(tmp_path, rate, channels):
    t = np.arange(4 * rate) / rate
    kept = 0.1 * np.sin(2 * np.pi * 40 * t) + (0.1 * np.sin(2 * np.pi * 12_000 * t) if rate > 24_000 else 0)
    samples = np.stack([voice(rate) + kept] * channels, axis=1)
    soundfile.write(tmp_path / "in.wav", samples, rate, subtype="FLOAT")
    cut_speech(tmp_path / "in.wav", tmp_path / "out.flac")
    found, after = soundfile.read(tmp_path / "out.flac", always_2d=True)
    assert found.shape == samples.shape and after == rate
    assert soundfile.info(tmp_path / "out.flac").format == "FLAC"
    middle = slice(rate, 3 * rate)  # the filters need a moment to settle
    for channel in range(channels):
        before, left = samples[middle, channel], found[middle, channel]
        for low, high in ((1.05 * LOW, 300), (300, 3400), (3400, min(HIGH, 0.5 * rate) / 1.01)):
            assert band_power(left, rate, low, high) < 10**-6 * band_power(before, rate, low, high)
        for low, high in ((35, 45), (11_900, 12_100))[: 2 if rate > 24_000 else 1]:
            assert 0.9 < band_power(left, rate, low, high) / band_power(before, rate, low, high) < 1.1


def test_blocks_leave_no_seams(tmp_path):
    """A long recording is filtered block by block, and is the same as in one piece."""
    from scipy.signal import cheby2, sosfilt

    samples = voice(16_000, 20.0)
    soundfile.write(tmp_path / "in.wav", samples, 16_000, subtype="DOUBLE")
    cut_speech(tmp_path / "in.wav", tmp_path / "out.flac")
    found, _ = soundfile.read(tmp_path / "out.flac")
    whole = sosfilt(cheby2(10, 70.0, LOW, "lowpass", output="sos", fs=16_000), samples)
    assert np.abs(found - whole).max() < 2e-7  # half a step of 24 bit


@pytest.mark.parametrize("kind", ["WAV", "MP3"])
def test_an_upload_is_kept_without_its_speech_and_judged_with_it(settings, kind, tmp_path):
    content, path = sound(odd=True, kind=kind), tmp_path / f"x.{kind.lower()}"
    path.write_bytes(content)
    ((*expected,),) = score_stream(open_machine(settings.banks / "pump"), [path])
    with served(settings, keeps_speech=False) as (client, running):
        answer = client.post(UPLOAD, content=content).json()
        assert [verdict["score"] for verdict in answer["verdicts"]] == [verdict.score for verdict in expected]
        clip = client.get(f"/api/clips/{answer['clip']}")
        samples, rate = soundfile.read(io.BytesIO(clip.content))
        original, _ = soundfile.read(io.BytesIO(content))
        assert len(samples) == len(original) and clip.headers["content-type"] == "audio/flac"
        middle = slice(rate, len(samples) - rate)
        assert band_power(samples[middle], rate, 100, 7900) < 1e-6 * band_power(original[middle], rate, 100, 7900)
        refused = client.post(f"/api/events/{answer['event']}/no-fault", json={})
        assert refused.status_code == 400 and "band of speech" in refused.json()["error"]
        assert [path.name for path in running.clips.iterdir()] == [f"{answer['clip']}.nospeech.flac"]
        assert list((settings.folder / "incoming").iterdir()) == []


@needs("ffmpeg")
def test_a_stream_is_kept_without_its_speech(settings, tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    soundfile.write(folder / "odd.wav", with_tone(hum(4.0, seed=7), 0, 4.0, level=0.2), RATE)
    with radio(2.0) as address:
        hall, line = {"machine": "pump", "listen": address}, {"machine": "pump", "watch": str(folder), "settle": 0.2}
        declare(settings.folder, hall=hall, line=line)
        with served(settings, keeps_speech=False) as (client, _):
            wait_for(lambda: {event["file"] for event in client.get("/api/events").json()} == {"hall", "odd.wav"}, 60)
    clips = sorted((settings.folder / "clips").iterdir())
    assert len(clips) == 2 and all(path.name.endswith(".nospeech.flac") for path in clips)
    for path in clips:
        samples, rate = soundfile.read(path)
        rest = samples[rate:]
        tone = (0.2 * len(rest) / 4) ** 2  # the power of the tone that made the event, behind the same window
        assert band_power(rest, rate, 100, 7900) < 1e-6 * tone
    left = [path for path in settings.folder.rglob("*") if path.suffix in (".wav", ".part") or path.name == "odd.flac"]
    assert left == [] and [*settings.folder.glob("sources/*/clips/*/*.flac")] == []
