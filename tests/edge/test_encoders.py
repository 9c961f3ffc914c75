"""Encoders that come as files: BEATs, in fp32 and in 8 bits, and ONNX graphs."""

import json

import numpy as np
import onnx
import pytest

from echobank.cli import main
from echobank.edge.bundle import read_facts
from tests.edge.machines import compared, fit
from tests.requirements import require

BASE = {"embed_dim": 512, "encoder_layers": 12, "encoder_embed_dim": 768, "encoder_ffn_embed_dim": 3072}
BASE["encoder_attention_heads"] = 12


def tiny(name="tiny_ssl"):
    require("torch")
    from tests.models.reference import tiny_file

    return tiny_file(name)


@pytest.mark.parametrize("rate", (16_000, 48_000))
@pytest.mark.parametrize(("name", "bands"), (("tiny_ssl", "true"), ("tiny_finetuned", "false")))
def test_beats(name, bands, rate, healthy, new, tmp_path):
    weights = tiny(name)
    bank = fit(tmp_path / "banks", healthy, "beats_base", f"model.bands={bands}", weights=weights)
    result = compared(bank, tmp_path / "pump.edge", new[rate], rate, weights)
    assert result.windows == 7 and result.largest < 1e-4 and not result.decisions and not result.neighbours


def test_three_layers_of_beats_base_with_weights_by_rule(healthy, new, tmp_path):
    require("torch")
    import torch

    from echobank.models.beats.checkpoint import BeatsConfig, expected_shapes
    from tests.models.reference import model_facts, rule_weights

    state = rule_weights("base_rule", expected_shapes(BeatsConfig()))
    cfg = {**model_facts()["tiny_ssl"]["cfg"], **BASE}
    torch.save({"cfg": cfg, "model": {k: torch.from_numpy(v) for k, v in state.items()}}, tmp_path / "base.pt")
    bank = fit(tmp_path / "banks", healthy / "slow", "beats_base", "model.layer=3", weights=tmp_path / "base.pt")
    result = compared(bank, tmp_path / "pump.edge", new[16_000][:1], weights=tmp_path / "base.pt")
    assert result.windows == 1 and result.largest < 1e-4 and not result.decisions and not result.neighbours


def test_eight_bits_are_smaller_and_say_what_they_lose(healthy, new, tmp_path, capsys):
    weights = tiny()
    bank, checked = fit(tmp_path / "banks", healthy, "beats_base", weights=weights), str(new[16_000][0].parent)
    words = ["export", str(bank), "--weights", str(weights)]
    assert main([*words, "--out", str(tmp_path / "whole.edge")]) == 0
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "int8.edge"), "--int8", "--check", checked]) in (0, 2)
    assert "--int8: rank correlation of the scores" in capsys.readouterr().out
    small, whole = ((tmp_path / name / "machine.onnx").stat().st_size for name in ("int8.edge", "whole.edge"))
    assert small < whole - 600_000  # bytes: the products of the encoder, not what resamples and finds odd bands
    assert [read_facts(tmp_path / name).int8 for name in ("int8.edge", "whole.edge")] == [True, False]


def test_eight_bits_without_a_check_or_without_beats_are_refused(bank, new, tmp_path, capsys):
    words = ["export", str(bank), "--out", str(tmp_path / "pump.edge"), "--int8"]
    assert main(words) == 2
    assert "must be measured" in capsys.readouterr().err
    assert main([*words, "--check", str(new[16_000][0])]) == 2
    assert "--int8 is for BEATs: 'logmel_stats'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def toy(tmp_path):
    """A graph of one convolution, with its sidecar."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.random.default_rng(1).normal(size=(6, 1, 800)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["wave", "w"], ["c"], kernel_shape=[800], strides=[800]),
        helper.make_node("Relu", ["c"], ["grid"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, shape in (("wave", ["b", 1, "t"]), ("grid", ["b", 6, "n"]))
    ]
    graph = helper.make_graph(nodes, "toy", ends[:1], ends[1:], [weight])
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(tmp_path / "toy.onnx"))
    layer = {"output": "grid", "axes": "batch dimension time", "token_seconds": 0.05}
    facts = {"name": "toy", "sample_rate": 16000, "input": {"name": "wave", "axes": "batch 1 time"}, "layers": [layer]}
    (tmp_path / "toy.json").write_text(json.dumps(facts))
    return tmp_path / "toy.onnx"


@pytest.mark.parametrize("rate", (16_000, 44_100))
@pytest.mark.parametrize("beside", ("", "+level"))
def test_an_onnx_file(toy, beside, rate, healthy, new, tmp_path):
    bank = fit(tmp_path / "banks", healthy, f"onnx:{toy}{beside}")
    result = compared(bank, tmp_path / "pump.edge", new[rate], rate)
    assert result.windows == 7 and result.largest < 1e-5 and not result.decisions and not result.neighbours
    toy.write_bytes(toy.read_bytes() + b" ")
    assert main(["export", str(bank), "--out", str(tmp_path / "other.edge")]) == 2


def test_a_published_onnx_file(healthy, new, tmp_path):
    file = require("weights", "soundnet_features.onnx")
    bank = fit(tmp_path / "banks", healthy, f"onnx:{file}")
    result = compared(bank, tmp_path / "pump.edge", new[16_000], 16_000)
    assert result.windows == 7 and result.largest < 1e-4 and not result.decisions and not result.neighbours
