"""Resampling as a convolution gives what the resampler gives, from the first sample to the last."""

import numpy as np
import pytest
import soxr

from echobank.edge.nodes import Graph
from echobank.edge.polyphase import resample_whole

RATES = ((16_000, 22_050), (22_050, 16_000), (44_100, 22_050), (48_000, 22_050), (44_100, 16_000), (8_000, 16_000))


@pytest.mark.parametrize(("rate", "wanted"), RATES)
@pytest.mark.parametrize("seconds", (0.3, 1.2345, 1.01, 0.85 / 3))  # with lengths that end on half a sample
def test_the_whole_clip_with_both_ends(rate, wanted, seconds, tmp_path):
    import onnxruntime

    graph = Graph()
    graph.inputs.append(("samples", "float32", ["n"]))
    graph.result("out", resample_whole(graph, "samples", rate, wanted))
    graph.outputs.append(("out", "float32", ["m"]))
    graph.save(tmp_path / "resampler.onnx", {}, "a resampler")
    samples = np.random.default_rng(0).normal(0, 0.2, round(seconds * rate)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "resampler.onnx")
    (found,) = session.run(None, {"samples": samples})
    expected = soxr.resample(samples, rate, wanted, quality="HQ")
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() < 1e-6
