"""Encoders side by side."""

from dataclasses import asdict

import numpy as np
import pytest

from echobank import load_encoder
from echobank.errors import ConfigError, WeightsError
from echobank.models.encoders.joined import JoinedEncoder
from echobank.models.feeding import embed_features
from echobank.models.pooling import POOLINGS, Pooling, pool
from echobank.models.registry import front_end_of, joined_names

CLIPS = [(0.1 * np.random.default_rng(i).standard_normal(n)).astype(np.float32) for i, n in enumerate((40000, 9000))]


class At:
    """An encoder that hears at another rate, with bands."""

    def __init__(self, rate, bands=3):
        self.facts = load_encoder("spectrum").facts.__class__("at", f"{rate}", rate, "", 4, bands, 1)
        self.band_edges_hz = np.zeros((bands, 2))

    def tokens(self, waveforms, layer=None):
        size = 4 * self.facts.bands
        return [np.resize(x, (len(x) // size, self.facts.bands, 4)).astype(np.float32) for x in waveforms]


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("bands", [False, True])
def test_each_part_is_pooled_as_if_it_were_alone(name, bands):
    pooling = Pooling(name, bands)
    parts = [load_encoder("logmel_stats"), At(16000), load_encoder("spectrum")]
    vectors = embed_features(CLIPS, JoinedEncoder(parts), [Pooling("mean"), pooling])
    for i, clip in enumerate(CLIPS):
        alone = [pool(part.tokens([clip])[0], pooling).ravel() for part in parts]
        assert np.array_equal(vectors[i][1], np.concatenate(alone)[None])


def test_each_part_hears_at_its_own_rate():
    joined = JoinedEncoder([At(32000), load_encoder("spectrum")])
    assert joined.facts.sample_rate == 32000
    tone = (0.1 * np.sin(2 * np.pi * 1010 * np.arange(64000) / 32000)).astype(np.float32)
    vector = joined.embed([tone], [Pooling("mean")])[0][0][0]
    expected = pool(load_encoder("spectrum").tokens([tone[::2]])[0], Pooling("mean"))[0]
    audible = expected > 40  # below, the resampler's own noise
    np.testing.assert_allclose(vector[4:][audible], expected[audible], atol=0.1)
    assert np.array_equal(joined.tokens([tone])[0], At(32000).tokens([tone])[0])


def test_facts_tell_every_part_apart():
    joined = load_encoder("logmel_stats+spectrum")
    assert joined.facts.name == "logmel_stats+spectrum" and joined.facts.weights_sha256 == ""
    assert asdict(joined.facts)["parts"]["spectrum"] == asdict(load_encoder("spectrum").facts)
    assert front_end_of("logmel_stats+spectrum") == (joined.facts.sample_rate, joined.facts.front_end) == (16000, "")
    one, other = (JoinedEncoder([At(rate), load_encoder("spectrum")]).facts for rate in (8000, 16000))
    assert len({one.weights_sha256, other.weights_sha256, ""}) == 3


def test_a_plus_in_a_file_name_joins_nothing(tmp_path):
    path = tmp_path / "a+b.onnx"
    path.write_bytes(b"")
    assert joined_names(path) == joined_names(f"onnx:{path}") == []
    assert joined_names("soundnet+spectrum") == ["soundnet", "spectrum"]


def test_what_cannot_be_joined_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="names of their own"):
        load_encoder("spectrum+spectrum")
    with pytest.raises(WeightsError, match="did you mean spectrum"):
        load_encoder("logmel_stats+spectrm")
    with pytest.raises(WeightsError, match="in its name"):
        load_encoder("logmel_stats+spectrum", weights=tmp_path)
    with pytest.raises(ConfigError, match="last layers"):
        load_encoder("logmel_stats+spectrum").embed(CLIPS, [Pooling()], 2)
