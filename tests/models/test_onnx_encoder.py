"""ONNX encoders: the two teachers, graphs made here, and sidecars that lie."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from echobank.errors import AudioError, ConfigError, WeightsError
from echobank.models.encoder import SpectrogramEncoder
from echobank.models.logmel import logmel
from echobank.models.registry import front_end_of, load_encoder
from tests.requirements import require

GOLDEN = Path(__file__).parents[1] / "golden"
FLOAT = onnx.TensorProto.FLOAT
HOP = 1600
GRID = {
    "name": "toy",
    "sample_rate": 16000,
    "input": {"name": "wave", "axes": "batch 1 time"},
    "layers": [
        {"output": "features", "axes": "batch dimension"},
        {"output": "grid", "axes": "batch dimension time", "token_seconds": 0.1},
    ],
    "shortest_seconds": 0.5,
}


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def save(path, nodes, inputs, outputs, constants=(), **metadata):
    graph = onnx.helper.make_graph(nodes, "toy", inputs, outputs, constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, str(path))


@pytest.fixture
def weight():
    return np.random.default_rng(1).normal(size=(3, 1, HOP)).astype(np.float32)


@pytest.fixture
def toy(tmp_path, weight):
    """One convolution of three channels with a token each 1,600 samples, and its mean over time."""

    def make(sidecar=GRID, shape=("b", 1, "t"), kind=FLOAT, **metadata):
        path = tmp_path / "toy.onnx"
        helper = onnx.helper
        nodes = [
            helper.make_node("Cast", ["wave"], ["x"], to=FLOAT),
            helper.make_node("Conv", ["x", "w"], ["grid"], kernel_shape=[HOP], strides=[HOP]),
            helper.make_node("ReduceMean", ["grid"], ["features"], axes=[2], keepdims=0),
        ]
        inputs = [helper.make_tensor_value_info("wave", kind, shape)]
        outputs = [
            helper.make_tensor_value_info("grid", FLOAT, ["b", 3, "n"]),
            helper.make_tensor_value_info("features", FLOAT, ["b", 3]),
        ]
        save(path, nodes, inputs, outputs, [onnx.numpy_helper.from_array(weight, "w")], **metadata)
        if sidecar is not None:
            path.with_suffix(".json").write_text(json.dumps(sidecar))
        return f"onnx:{path}"

    return make


def test_tokens_features_and_facts(toy, weight):
    encoder = load_encoder(toy())
    clip = noise(20_000)
    expected = clip[: 12 * HOP].reshape(12, HOP) @ weight[:, 0].T
    (grid,), (mean,) = encoder.tokens([clip]), encoder.tokens([clip], 1)
    assert (grid.shape, mean.shape) == ((12, 1, 3), (1, 1, 3))
    np.testing.assert_allclose(grid[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(mean[0, 0], expected.mean(axis=0), atol=1e-4)
    facts = encoder.facts
    assert (facts.name, facts.dimension, facts.bands, facts.layers, facts.engine) == ("toy", 3, 1, 2, "onnxruntime")
    np.testing.assert_array_equal(encoder.band_edges_hz, [[0, 8000]])
    np.testing.assert_array_equal(encoder.tokens([noise(100)])[0], encoder.tokens([np.resize(noise(100), 8000)])[0])
    together = encoder.tokens([clip, noise(9000), clip])
    np.testing.assert_array_equal(together[2], grid)


def test_logmel_input_and_bands(tmp_path):
    """A graph that hears log-mel [batch, 1, mel, time] and gives 8 bands of 16 bins, as YAML says."""
    helper = onnx.helper
    shape = onnx.numpy_helper.from_array(np.array([0, 8, 16, -1]), "shape")
    save(
        tmp_path / "bands.onnx",
        [helper.make_node("Reshape", ["mel", "shape"], ["tokens"])],
        [helper.make_tensor_value_info("mel", FLOAT, ["b", 1, 128, "t"])],
        [helper.make_tensor_value_info("tokens", FLOAT, ["b", 8, 16, "t"])],
        [shape],
    )
    (tmp_path / "bands.yaml").write_text(
        "name: bands\nsample_rate: 16000\ninput: {name: mel, kind: logmel, axes: batch 1 mel time}\n"
        "layers: [{output: tokens, axes: batch band dimension time, token_seconds: 0.01}]\n"
    )
    name = f"onnx:{tmp_path / 'bands.onnx'}"
    encoder, clip = load_encoder(name), noise(16000)
    frames = logmel(clip)
    np.testing.assert_allclose(encoder.tokens([clip])[0], frames.reshape(-1, 8, 16), atol=1e-5)
    np.testing.assert_array_equal(encoder.tokens([clip])[0], encoder.tokens_from_logmel([encoder.logmel(clip)])[0])
    assert front_end_of(name) == (16000, encoder.facts.front_end) and encoder.facts.front_end


def change(**values):
    return {**GRID, **values}


LIES = [
    (change(sample_rate=32000), "sample_rate or token_seconds is wrong"),
    (change(sample_rate=22050), "sample_rate or token_seconds is wrong"),
    (change(layers=[{**GRID["layers"][1], "token_seconds": 0.16}]), "sample_rate or token_seconds is wrong"),
    (change(input={"name": "audio", "axes": "batch 1 time"}), "input is audio, the graph has wave"),
    (change(input={"name": "wave", "axes": "batch time"}), r"float \[batch time\], the graph has"),
    (change(input={"name": "wave", "kind": "logmel", "axes": "batch time mel"}), "the graph has"),
    (change(layers=[{"output": "tokens", "axes": "batch dimension"}]), "the graph has grid, features"),
    (change(layers=[{"output": "grid", "axes": "batch dimension"}]), "the graph gives"),
    (change(layers=[{**GRID["layers"][1], "band_edges_hz": [[0, 1], [1, 2]]}]), "2 bands, the graph gives 1"),
]
UNUSABLE = [
    ([], "must be a mapping"),
    (change(rate=1), "unknown key 'rate'"),
    (change(sample_rate="16k"), "cannot be '16k'"),
    (change(sample_rate=5), "not a rate"),
    ({"name": "toy"}, "is missing"),
    (change(layers=[]), "layers is empty"),
    (change(layers=[{"output": "grid", "axes": "batch dimension time"}]), "token_seconds"),
    (change(layers=[{"output": "grid", "axes": "dimension time", "token_seconds": 1.0}]), "axes"),
    (change(layers=[{**GRID["layers"][1], "band_edges_hz": [1, 2]}]), "cannot be used"),
    (change(input={"name": "wave", "kind": "spectrum"}), "neither waveform nor logmel"),
]


@pytest.mark.parametrize(("sidecar", "why"), LIES + UNUSABLE)
def test_a_sidecar_that_lies_or_cannot_be_used(toy, sidecar, why):
    with pytest.raises(WeightsError, match=why) as caught:
        load_encoder(toy(sidecar))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"shape": ("b", 1, 16000)}, "the graph has tensor.float. .*16000"),
        ({"shape": (4, 1, "t")}, "the graph has"),
        ({"shape": ("b", 2, "t")}, "the graph has|cannot open"),
        ({"kind": onnx.TensorProto.DOUBLE}, r"tensor\(double\)"),
        ({"sample_rate": "44100"}, "the graph states 44100"),
        ({"sidecar": None}, "no sidecar"),
    ],
)
def test_another_graph(toy, made, why):
    with pytest.raises(WeightsError, match=why) as caught:
        load_encoder(toy(**made))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_encoders(tmp_path, toy):
    good = Path(toy().removeprefix("onnx:"))
    for content in (b"", b"not onnx", good.read_bytes()[:-4000]):
        good.write_bytes(content)
        with pytest.raises(WeightsError, match=r"toy\.onnx") as caught:
            load_encoder(good)
        assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_encoder(f"onnx:{tmp_path / 'absent.onnx'}")


def test_a_graph_that_reads_another_file_is_refused(toy, tmp_path):
    path = Path(toy().removeprefix("onnx:"))
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="beside.bin", size_threshold=0)
    with pytest.raises(WeightsError, match=r"toy\.onnx"):
        load_encoder(path)


def test_the_sidecar_may_lie_elsewhere(toy, tmp_path):
    name = toy(sidecar=None)
    (tmp_path / "other.json").write_text(json.dumps(GRID))
    assert load_encoder(f"{name}?sidecar={tmp_path / 'other.json'}").facts.name == "toy"
    with pytest.raises(WeightsError, match="cannot be read"):
        load_encoder(f"{name}?sidecar={tmp_path / 'absent.json'}")


def test_without_onnxruntime(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(WeightsError, match=r"pip install 'echobank\[onnx\]'"):
        load_encoder(toy())


def test_clips_and_layers_that_cannot_be(toy):
    encoder = load_encoder(toy())
    with pytest.raises(AudioError):
        encoder.tokens([np.zeros(0, np.float32)])
    with pytest.raises(AudioError):
        encoder.tokens([np.full(9, np.nan, np.float32)])
    with pytest.raises(ConfigError):
        encoder.tokens([noise(9)], 3)
    assert not isinstance(encoder, SpectrogramEncoder)


@pytest.mark.parametrize(
    ("stem", "rate", "shapes", "name"),
    [
        ("mn04", 32000, [(32, 8, 32), (1, 1, 704)], "mn04"),
        ("soundnet", 22050, [(1, 1, 384), (35, 1, 256)], "soundnet_onnx"),
    ],
)
def test_published_graphs_need_no_sidecar_and_give_what_their_runtime_gives(stem, rate, shapes, name):
    oracle, clip = np.load(GOLDEN / "onnx" / f"{stem}.npz"), np.load(GOLDEN / "beats" / "waves.npz")["motor_10s"]
    features, tokens = oracle["160000/features"], oracle["160000/tokens"]
    path = require("weights", f"{stem}_features.onnx")
    encoder = load_encoder(f"onnx:{path}")
    grids = [encoder.tokens([clip], layer)[0] for layer in (1, 2)]
    assert [grid.shape for grid in grids] == shapes
    if stem == "mn04":
        grids.reverse()
    np.testing.assert_allclose(grids[0][0, 0], features, rtol=1e-4, atol=1e-4)
    heard = grids[1].transpose(2, 1, 0)
    np.testing.assert_allclose(heard.reshape(tokens.shape), tokens, rtol=1e-4, atol=1e-4)
    assert front_end_of(f"onnx:{path}") == (rate, "")
    assert load_encoder(name, weights=path).facts == encoder.facts


def test_a_known_file_is_not_talked_over(tmp_path):
    lie = {**GRID, "input": {"name": "waveform_32k"}, "layers": [{"output": "features", "axes": "batch dimension"}]}
    (tmp_path / "lie.json").write_text(json.dumps(lie))
    mn04, soundnet = (require("weights", f"{stem}_features.onnx") for stem in ("mn04", "soundnet"))
    with pytest.raises(WeightsError, match="says 16000 Hz, this file is mn04, which hears waveform at 32000 Hz"):
        load_encoder(f"onnx:{mn04}?sidecar={tmp_path / 'lie.json'}")
    with pytest.raises(WeightsError, match="not the file of mn04"):
        load_encoder("mn04", weights=soundnet)


def test_no_torch_on_the_way(toy):
    code = (
        "import sys, numpy, echobank\n"
        "encoder = echobank.load_encoder(sys.argv[1])\n"
        "encoder.tokens([numpy.zeros(16000, numpy.float32)])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, toy()], check=True, timeout=60)
