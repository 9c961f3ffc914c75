"""An embedding depends on its clip alone, bit for bit: not on the batch, the number of workers or the neighbours."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from echobank.models.encoders import soundnet
from echobank.models.encoders.joined import JoinedEncoder
from echobank.models.feeding import Source, embed
from echobank.models.pooling import Pooling
from echobank.models.registry import load_encoder

LENGTHS = (22050, 17438, 22050, 30001, 9000, 22050, 22050, 400, 17438, 22050, 22050)


def random_soundnet(monkeypatch):
    rng = np.random.default_rng(0)
    tensors = {}
    for number, shape in enumerate(soundnet.SHAPES, start=1):
        for part in soundnet.PARTS:
            wide = (shape.kernel, 1, shape.channels_in, shape.channels_out)
            numbers = rng.uniform(0.1, 1, wide if part == "weights" else wide[-1:]) / (10 if part == "weights" else 1)
            tensors[f"conv{number}.{part}"] = (numbers - 0.05 if part == "weights" else numbers).astype(np.float32)
    monkeypatch.setattr(soundnet, "check_tensors", lambda _: None)
    return soundnet.SoundNet(tensors, "random")


def convolution(folder):
    """Write an ONNX encoder: one convolution of the waveform with random weights, frames of 64 numbers."""
    weight = numpy_helper.from_array(np.random.default_rng(1).standard_normal((64, 1, 400)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["wave", "w"], ["tokens"], strides=[160], kernel_shape=[400])],
        "encoder",
        [helper.make_tensor_value_info("wave", TensorProto.FLOAT, [1, 1, "t"])],
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, [1, 64, "f"])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "conv.onnx")
    (folder / "conv.yaml").write_text(
        "name: conv\nsample_rate: 16000\nshortest_seconds: 0.1\n"
        "input: {name: wave, kind: waveform, axes: batch 1 time}\n"
        "layers: [{output: tokens, axes: batch dimension time, token_seconds: 0.01}]\n"
    )
    return load_encoder(f"onnx:{folder / 'conv.onnx'}")


@pytest.fixture(params=["soundnet", "onnx", "logmel_stats", "spectrum", "joined"])
def encoder(request, tmp_path, monkeypatch):
    if request.param == "soundnet":
        return random_soundnet(monkeypatch)
    if request.param == "onnx":
        return convolution(tmp_path)
    if request.param == "joined":
        return JoinedEncoder([random_soundnet(monkeypatch), load_encoder("spectrum")])
    return load_encoder(request.param)


def sources(order):
    clips = {i: np.random.default_rng(i).normal(0, 0.1, size).astype(np.float32) for i, size in enumerate(LENGTHS)}
    return [Source(str(i), "", lambda i=i: (str(i), clips[i])) for i in order]


def test_an_embedding_depends_on_its_clip_alone(encoder):
    order = list(range(len(LENGTHS)))
    alone = {i: embed(sources([i]), encoder, Pooling()).vectors[0] for i in order}
    for settings in ({"batch_size": 1}, {"batch_size": 3, "workers": 5}, {"workers": 1}, {"batch_size": 64}):
        for numbers in (order, order[::-1]):
            done = embed(sources(numbers), encoder, Pooling(), **settings)
            for number, vector in zip(numbers, done.vectors, strict=True):
                np.testing.assert_array_equal(vector, alone[number])
