"""Log-mel against the official front end, and its properties."""

import math
import subprocess
import sys

import numpy as np
import pytest

from echobank.errors import AudioError
from echobank.models.logmel import FLOOR, band_edges_hz, logmel, logmel_torch, mel_filters
from tests.models.reference import WAVES, arrays
from tests.requirements import needs

# Nats below the loudest bin of a frame where a float32 spectrum is its own rounding noise; only a pure tone has such
# bins. On Intel processors logmel_torch rounds as the official code does and meets 2e-3 there too.
ROUNDING = 16.0


both_ways = pytest.mark.parametrize("way", [logmel, pytest.param(logmel_torch, marks=needs("torch"))])


@both_ways
@pytest.mark.parametrize("wave", WAVES)
def test_official_numbers(wave, way):
    expected = arrays("logmel")[wave]
    found = way(arrays("waves")[wave])
    assert found.shape == expected.shape and found.dtype == np.float32
    heard = expected > -10
    if wave == "chirp_0p5s":
        heard &= expected > expected.max(axis=1, keepdims=True) - ROUNDING
    assert heard.any() or wave == "silence_2s"
    assert np.abs(found - expected)[heard].max(initial=0) < 2e-3


@both_ways
def test_what_rounding_leaves_of_a_pure_tone_is_far_below_it(way):
    expected = np.exp(arrays("logmel")["chirp_0p5s"].astype(np.float64) / 2)
    found = np.exp(way(arrays("waves")["chirp_0p5s"]).astype(np.float64) / 2)
    assert (np.abs(found - expected) <= 1e-5 * expected.max(axis=1, keepdims=True)).all()


@needs("torch")
def test_means_and_deviations_by_numpy_and_by_torch_agree():
    ours, theirs = logmel(arrays("waves")["noise_1s"]), logmel_torch(arrays("waves")["noise_1s"])
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=1e-5)


def test_numpy_does_the_work_whether_torch_is_installed_or_not():
    code = "import sys, numpy; from echobank.models.logmel import logmel; logmel(numpy.ones(16000)); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_one_filter_covers_no_line_and_is_kept():
    assert mel_filters().shape == (257, 128)
    assert np.flatnonzero(mel_filters().sum(axis=0) == 0).tolist() == [3]
    noise = np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1
    assert np.allclose(logmel(noise)[:, 3], math.log(FLOOR))


@pytest.mark.parametrize(("samples", "frames"), [(1, 16), (399, 16), (2799, 16), (2800, 16), (2959, 16), (160000, 998)])
def test_only_whole_frames_and_one_patch_at_least(samples, frames):
    assert logmel(np.ones(samples, np.float32)).shape == (frames, 128)


def test_a_short_clip_is_repeated():
    clip = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert np.array_equal(logmel(clip), logmel(np.tile(clip, 3)[:2800]))


@both_ways
def test_a_long_clip_is_its_frames_whatever_the_block(way):
    noise = np.random.default_rng(0).standard_normal(16000 * 40).astype(np.float32) * 0.1
    np.testing.assert_allclose(way(noise)[1000:1100], way(noise[1000 * 160 :])[:100], atol=1e-4)


def test_a_constant_offset_is_not_heard():
    noise = (np.random.default_rng(0).standard_normal(16000) * 0.05).astype(np.float32)
    np.testing.assert_allclose(logmel(noise + np.float32(0.5)), logmel(noise), atol=5e-3)


@pytest.mark.parametrize(
    "bad", [[], [0.0, math.nan], [math.inf], [[0.0, 1.0]]], ids=["no samples", "NaN", "infinite", "two channels"]
)
def test_what_cannot_be_heard_is_refused(bad):
    with pytest.raises(AudioError):
        logmel(np.array(bad, np.float32))


@pytest.mark.parametrize("bands", [1, 8])
def test_bands_cover_the_range_in_order(bands):
    edges = band_edges_hz(bands)
    assert edges.shape == (bands, 2) and (np.diff(edges, axis=1) > 0).all()
    assert np.array_equal(edges[1:, 0], edges[:-1, 1])
    np.testing.assert_allclose([edges[0, 0], edges[-1, 1]], [20, 8000])
