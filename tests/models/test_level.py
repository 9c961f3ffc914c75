"""Level: each quantity against a slow version from its formula, and what a gain does to it."""

import numpy as np
import pytest
import soundfile

from echobank import load_encoder
from echobank.config import load_config
from echobank.data.audio import Stream, read_clip
from echobank.data.windows import cut_stream, read_windows
from echobank.errors import AudioError, ConfigError
from echobank.machines.listener import Listener
from echobank.models.encoder import Sourced
from echobank.models.encoders.level import FLOOR_DB, FRAMES_PER_SECOND, QUANTITIES
from echobank.models.pooling import Pooling
from echobank.models.registry import front_end_of, source_is_heard
from echobank.models.weights.cards import CARDS
from echobank.pipeline.run import Run

RATE = 16000
FRAME = RATE // FRAMES_PER_SECOND
LOUDNESS = ("level", "level_octaves", "level_thirds", "level_percentiles")  # the others do not change with a gain
SHAPE = tuple(name for name in QUANTITIES if name not in LOUDNESS)


def noise(seconds=2.0, seed=0, scale=0.1):
    return (scale * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def measured(name, samples):
    (token,) = load_encoder(name).tokens([samples])
    assert token.shape == (1, 1, len(QUANTITIES[name].labels)) and token.dtype == np.float32
    return token[0, 0].astype(np.float64)


def tone(hz, seconds=2.0, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def dft_power(x):
    """Power of each line of a real signal, by the definition of the discrete Fourier transform."""
    n = len(x)
    lines = np.exp(-2j * np.pi * np.outer(np.arange(n // 2 + 1), np.arange(n)) / n) @ x
    power = np.abs(lines) ** 2 / n**2
    power[1 : (n + 1) // 2] *= 2
    return np.arange(n // 2 + 1) * RATE / n, power


def test_level_is_the_rms_in_decibels_of_full_scale():
    x = noise()
    assert measured("level", x)[0] == pytest.approx(20 * np.log10(np.sqrt(np.mean(x.astype(float) ** 2))), abs=1e-5)
    assert measured("level", tone(1000, amplitude=1.0))[0] == pytest.approx(-3.0103, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "per_octave", "numbers"), [("level_octaves", 1, range(-5, 3)), ("level_thirds", 3, range(-16, 9))]
)
def test_bands_are_those_of_iec_61260_and_hold_the_power_between_their_edges(name, per_octave, numbers):
    x = noise(0.2).astype(np.float64)
    lines, power = dft_power(x)
    expected = []
    for number in numbers:
        centre = 1000 * 10 ** (0.3 * number / per_octave)
        low, high = centre * 10 ** (-0.15 / per_octave), centre * 10 ** (0.15 / per_octave)
        inside = power[(lines >= low) & (lines < high)].sum()
        expected.append(10 * np.log10(inside) if inside else FLOOR_DB)
    np.testing.assert_allclose(measured(name, x.astype(np.float32)), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["level_octaves", "level_thirds"])
def test_a_tone_is_in_the_band_of_its_name_and_only_there(name):
    labels = QUANTITIES[name].labels
    for label in labels:
        number, unit = label.split()[-2:]
        hz = float(number) * (1000 if unit == "kHz" else 1)
        bands = measured(name, tone(round(2 * hz) / 2))  # whole periods in 2 s: nothing leaks
        assert labels[int(np.argmax(bands))] == label
        assert bands.max() == pytest.approx(20 * np.log10(0.5) - 3.0103, abs=0.01)
        assert np.sort(bands)[-2] < -100


def test_percentiles_are_levels_exceeded_during_that_share_of_the_time():
    loud, quiet = noise(0.5, scale=0.3), noise(1.5, seed=1, scale=0.003)
    x = np.concatenate((quiet, loud))
    levels = sorted(10 * np.log10(np.mean(x[i : i + FRAME].astype(float) ** 2)) for i in range(0, len(x), FRAME))
    l10, l50, l90 = measured("level_percentiles", x)
    assert l10 == pytest.approx(np.quantile(levels, 0.9), abs=1e-4) and l50 == pytest.approx(
        np.median(levels), abs=1e-4
    )
    assert l90 == pytest.approx(np.quantile(levels, 0.1), abs=1e-4) and l10 > -15 > l50


def test_crest_kurtosis_and_flatness_of_known_signals():
    assert measured("level_crest", tone(1000))[0] == pytest.approx(3.0103, abs=1e-3)
    assert measured("level_kurtosis", tone(1000))[0] == pytest.approx(10 * np.log10(1.5), abs=1e-3)
    assert measured("level_kurtosis", noise(10))[0] == pytest.approx(10 * np.log10(3), abs=0.1)
    assert -0.5 < measured("level_flatness", noise(60))[0] <= 0 and measured("level_flatness", tone(1000))[0] < -40
    clicks = np.zeros(RATE, np.float32)
    clicks[::4000] = 0.5
    assert measured("level_crest", clicks)[0] == pytest.approx(10 * np.log10(4000), abs=1e-3)
    assert measured("level_kurtosis", clicks)[0] == pytest.approx(10 * np.log10(4000), abs=0.01)


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("gain", [0.01, 0.5, 3.0])
def test_a_gain_adds_its_decibels_to_every_level_and_changes_no_shape(name, gain):
    x = noise()
    change = measured(name, (gain * x).astype(np.float32)) - measured(name, x)
    np.testing.assert_allclose(change, 20 * np.log10(gain) if name in LOUDNESS else 0, atol=2e-3)


@pytest.mark.parametrize("name", QUANTITIES)
def test_silence_and_the_shortest_clip_have_finite_values(name):
    assert np.isfinite(measured(name, np.zeros(RATE, np.float32))).all()
    assert np.isfinite(measured(name, np.ones(1, np.float32))).all()
    with pytest.raises(AudioError, match="no samples"):
        measured(name, np.zeros(0, np.float32))
    with pytest.raises(ConfigError, match="layer"):
        load_encoder(name).tokens([noise()], layer=2)


@pytest.mark.parametrize("name", QUANTITIES)
def test_cards_and_encoders_agree(name):
    facts = load_encoder(name).facts
    assert front_end_of(name) == (facts.sample_rate, facts.front_end) == (RATE, "")
    assert (facts.name, facts.dimension) == (name, len(QUANTITIES[name].labels))
    assert (CARDS[name].unit, CARDS[name].dimension) == ("dB", facts.dimension)


@pytest.mark.parametrize("pooling", [Pooling("gem"), Pooling("rdp_gem"), Pooling("max"), Pooling("mean", bands=True)])
def test_no_pooling_changes_a_level_alone_or_beside_an_encoder(pooling):
    x = noise()
    ((alone,),) = load_encoder("level_thirds").embed([x], [pooling])
    np.testing.assert_array_equal(alone[0], measured("level_thirds", x).astype(np.float32))
    ((beside,),) = load_encoder("logmel_stats+level_thirds").embed([x], [pooling])
    np.testing.assert_array_equal(beside[0, -25:], alone[0])


SOURCE_RATE = 44100


@pytest.fixture
def recording(tmp_path):
    """A recording of 44.1 kHz whose sound lies above what 16 kHz can hold, beside a soft tone of 1 kHz."""
    times = np.arange(3 * SOURCE_RATE) / SOURCE_RATE
    growth = 10 ** (times / 5)
    samples = growth * 0.1 * np.sin(2 * np.pi * 12_000 * times) + 0.01 * np.sin(2 * np.pi * 1000 * times)
    soundfile.write(tmp_path / "high.wav", samples, SOURCE_RATE, "FLOAT")
    return tmp_path / "high.wav"


@pytest.mark.parametrize("embedding", ["level", "logmel_stats+level", "level_thirds+level"])
def test_level_of_a_window_is_that_of_the_samples_of_the_recording(recording, embedding):
    source = soundfile.read(recording, dtype="float32")[0].astype(np.float64)
    listener = Listener(load_encoder(embedding), Pooling(), seconds=1.0, hop=0.5)
    (heard,) = listener.hear([recording])
    assert not heard.error and len(heard) == 5
    for vector, start, level in zip(heard.vectors, heard.starts, heard.levels, strict=True):
        begin = round(start * SOURCE_RATE)
        expected = 10 * np.log10(np.mean(source[begin : begin + SOURCE_RATE] ** 2))
        assert vector[0, -1] == pytest.approx(expected, abs=1e-3)
        assert level == pytest.approx(expected, abs=1e-3)  # the column level_dbfs says the same


def test_level_of_a_clip_is_that_of_the_samples_of_the_recording(recording, tmp_path):
    source = soundfile.read(recording, dtype="float32")[0].astype(np.float64)
    run = Run(load_config("default", ["model.embedding=level", f"data.cache={str(tmp_path / 'cache')!r}"]))
    embedded = run.embed([run.reader.source(recording, allow_silent=False)], "")
    assert not embedded.skipped
    assert embedded.vectors[0, 0, 0] == pytest.approx(10 * np.log10(np.mean(source**2)), abs=1e-3)
    assert run.reader.check(recording).rms_dbfs == pytest.approx(embedded.vectors[0, 0, 0], abs=1e-3)


@pytest.mark.parametrize("embedding", ["soundnet+level", "level", "spectrum+level_octaves"])
def test_what_wants_the_source_is_known_without_weights(embedding):
    assert source_is_heard(embedding)
    assert not source_is_heard("soundnet+spectrum") and not source_is_heard("beats_base")


def test_the_other_parts_hear_what_they_heard_without_level(recording):
    alone, beside = (
        Listener(load_encoder(name), Pooling(), seconds=1.0, hop=1.0)
        for name in ("logmel_stats+spectrum", "logmel_stats+spectrum+level")
    )
    (without,), (with_level,) = alone.hear([recording]), beside.hear([recording])
    width = without.vectors.shape[2]
    np.testing.assert_array_equal(with_level.vectors[:, :, :width], without.vectors)
    assert with_level.vectors.shape[2] == width + 1


@pytest.mark.parametrize("name", ["level_octaves", "level_thirds"])
def test_bands_above_half_the_rate_of_the_recording_read_the_floor(name):
    rate = 8000
    x = noise(2.0)
    (token,) = load_encoder(name).tokens([Sourced(np.repeat(x, 2), x, rate)])
    number, per_octave = (2, 1) if name == "level_octaves" else (8, 3)
    labels = QUANTITIES[name].labels
    uppers = 1000 * 10 ** (0.3 * (np.arange(number - len(labels) + 1, number + 1) + 0.5) / per_octave)
    np.testing.assert_array_equal(token[0, 0] == FLOOR_DB, uppers > rate / 2)
    assert (uppers > rate / 2).any() and not (uppers > rate / 2).all()


@pytest.mark.parametrize("block", [1000, 44100, 10**6])
def test_the_source_under_a_window_does_not_depend_on_blocks(recording, block):
    samples = soundfile.read(recording, dtype="float32")[0]
    blocks = (samples[i : i + block] for i in range(0, len(samples), block))
    cutting = {"seconds": 1.0, "hop": 0.7, "sample_rate": RATE}
    cut = list(cut_stream(Stream(SOURCE_RATE, 1, blocks), **cutting, source=True))
    assert len(cut) == 4
    for window in cut:
        begin = round(window.start * SOURCE_RATE)
        np.testing.assert_array_equal(window.source, samples[begin : begin + len(window.source)])
        assert abs(len(window.source) - SOURCE_RATE) <= 1
    assert all(window.source is None for window in read_windows(recording, **cutting))
    assert read_clip(recording).source is None
    np.testing.assert_array_equal(read_clip(recording, source=True).source, samples)
