"""The encoder without weights."""

import numpy as np
import pytest

from echobank import load_encoder
from echobank.errors import AudioError, ConfigError


@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.0, 3.21])
def test_the_mean_token_is_mean_and_deviation_over_all_frames(seconds):
    encoder = load_encoder("logmel_stats")
    clip = np.random.default_rng(0).standard_normal(int(16000 * seconds)).astype(np.float32) * 0.1
    (tokens,) = encoder.tokens([clip])
    frames = encoder.logmel(clip).astype(np.float64)
    assert tokens.shape == (max(1, len(frames) // 16), 1, 256) and tokens.dtype == np.float32
    expected = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
    np.testing.assert_allclose(tokens.mean(axis=(0, 1), dtype=np.float64), expected, rtol=1e-6, atol=1e-6)
    assert np.array_equal(encoder.tokens_from_logmel([encoder.logmel(clip)])[0], tokens)


def test_silence_has_no_deviation_and_is_finite():
    (tokens,) = load_encoder("logmel_stats").tokens([np.zeros(16000, np.float32)])
    assert np.isfinite(tokens).all() and not tokens[..., 128:].any()


def test_nothing_to_hear_and_a_second_layer_are_refused():
    encoder = load_encoder("logmel_stats")
    with pytest.raises(AudioError):
        encoder.tokens([np.zeros(0, np.float32)])
    with pytest.raises(AudioError):
        encoder.tokens_from_logmel([np.full((20, 128), np.nan, np.float32)])
    with pytest.raises(ConfigError, match="layer 1 only"):
        encoder.tokens([np.zeros(16000, np.float32)], layer=2)
