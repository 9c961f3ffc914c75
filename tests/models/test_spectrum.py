"""The power spectrum as an encoder."""

import numpy as np
import pytest
from scipy.signal import welch

from echobank import load_encoder
from echobank.errors import AudioError, ConfigError
from echobank.models.encoder import SpectrogramEncoder
from echobank.models.encoders.spectrum import BANDS, FLOOR, HOP, WINDOW, spectrum_edges_hz
from echobank.models.registry import front_end_of

RATE = 16000


def density(tokens):
    """Power a Hz of each band and window, from decibels above the floor."""
    return FLOOR * (10 ** (tokens[:, 0].astype(np.float64) / 10) - 1)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("spectrum")


def test_bands_are_a_24th_of_an_octave_up_to_half_the_rate(encoder):
    edges = spectrum_edges_hz()
    np.testing.assert_allclose(edges[1:] / edges[:-1], 2 ** (1 / 24))
    assert len(edges) == BANDS + 1 == encoder.facts.dimension + 1 and edges[-1] == RATE / 2
    assert front_end_of("spectrum") == (encoder.facts.sample_rate, encoder.facts.front_end) == (RATE, "")


def test_it_is_the_power_that_welch_finds_line_by_line(encoder):
    clip = (0.1 * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32)
    (tokens,) = encoder.tokens([clip])
    assert tokens.shape == (1 + (len(clip) - WINDOW) // HOP, 1, BANDS) and tokens.dtype == np.float32
    _, lines = welch(clip.astype(np.float64), RATE, "hann", WINDOW, HOP, detrend=False)
    edges, expected = spectrum_edges_hz(), np.zeros(BANDS)
    for band in range(BANDS):
        for line, power in enumerate(lines):  # lines are 1 Hz apart
            share = min(line + 0.5, edges[band + 1]) - max(line - 0.5, edges[band])
            expected[band] += max(share, 0) * power
    # scipy halves the line at half the rate, of which the top band holds half a Hz
    np.testing.assert_allclose(density(tokens).mean(axis=0)[:-1], (expected / np.diff(edges))[:-1], rtol=1e-4)


@pytest.mark.parametrize("hz", [52.0, 120.0, 1010.0, 6000.0])
def test_the_power_of_a_tone_is_where_it_sounds(encoder, hz):
    tone = (0.3 * np.sin(2 * np.pi * hz * np.arange(3 * RATE) / RATE)).astype(np.float32)
    power = (density(encoder.tokens([tone])[0]) * np.diff(spectrum_edges_hz())).mean(axis=0)
    assert power.sum() == pytest.approx(0.045, rel=0.02)
    near = np.searchsorted(spectrum_edges_hz(), hz) - 1
    assert power[max(0, near - 2) : near + 3].sum() > 0.97 * power.sum()


def test_rounding_to_16_bits_is_3_decibels_and_silence_is_the_zero_vector(encoder):
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 60 * RATE).astype(np.float32) * 2**-15
    mean = density(encoder.tokens([noise])[0]).mean() / FLOOR
    assert 10 * np.log10(1 + mean) == pytest.approx(10 * np.log10(2), abs=0.1)
    assert not encoder.tokens([np.zeros(RATE, np.float32)])[0].any()


def test_louder_by_10_decibels_is_10_decibels_more(encoder):
    clip = (0.01 * np.random.default_rng(2).standard_normal(2 * RATE)).astype(np.float32)
    quiet, loud = encoder.tokens([clip, clip * np.float32(np.sqrt(10))])
    np.testing.assert_allclose(loud - quiet, 10, atol=1e-3)


def test_long_clips_are_taken_in_blocks_and_short_ones_repeated(encoder):
    clip = (0.1 * np.random.default_rng(3).standard_normal(40 * RATE)).astype(np.float32)
    (whole,) = encoder.tokens([clip])
    (late,) = encoder.tokens([clip[70 * HOP :]])
    np.testing.assert_allclose(whole[70:], late, atol=1e-4)
    (short,) = encoder.tokens([clip[:4000]])
    assert np.array_equal(short, encoder.tokens([np.tile(clip[:4000], 4)])[0])


def test_what_cannot_be_heard_is_refused(encoder):
    for bad in (np.zeros(0, np.float32), np.full(RATE, np.nan, np.float32)):
        with pytest.raises(AudioError):
            encoder.tokens([bad])
    with pytest.raises(ConfigError, match="layer 1 only"):
        encoder.tokens([np.zeros(RATE, np.float32)], layer=2)
    assert not isinstance(encoder, SpectrogramEncoder)


def test_the_coarse_spectrum_has_96_bands_and_hears_the_same_power():
    coarse, fine = load_encoder("spectrum_96"), load_encoder("spectrum")
    edges = spectrum_edges_hz("spectrum_96")
    assert len(edges) == 97 and (edges[0], edges[-1]) == (pytest.approx(10), pytest.approx(4000))
    np.testing.assert_allclose(edges[1:] / edges[:-1], 400 ** (1 / 96))
    clip = (0.1 * np.random.default_rng(0).standard_normal(5 * RATE)).astype(np.float32)
    (tokens,), (many,) = coarse.tokens([clip]), fine.tokens([clip])
    assert tokens.shape == (len(many), 1, 96) and coarse.facts.dimension == 96
    wide = (density(tokens).mean(axis=0) * np.diff(edges))[edges[1:] > 50]
    narrow = density(many).mean(axis=0) * np.diff(spectrum_edges_hz())
    inside = spectrum_edges_hz()[1:] <= 4000
    assert wide.sum() == pytest.approx(narrow[inside].sum(), rel=0.03)
