"""Checkpoints that do not fit, and files that are none, are refused and nothing of them runs."""

import pytest

pytest.importorskip("torch", reason="no torch")

import torch

from echobank import load_encoder
from echobank.errors import WeightsError
from tests.models.reference import tiny_file


def change(content, how):
    model, cfg = content["model"], content["cfg"]
    if how == "missing":
        del model["encoder.layers.1.fc1.bias"]
    elif how == "extra":
        model["encoder.layers.9.fc1.bias"] = torch.zeros(1)
    elif how == "shape":
        model["layer_norm.weight"] = torch.zeros(3)
    elif how == "nan":
        model["layer_norm.weight"][0] = float("nan")
    elif how == "tables":
        model["encoder.layers.1.self_attn.relative_attention_bias.weight"] += 1
    elif how == "activation":
        cfg["activation_fn"] = "glu"
    elif how == "size":
        cfg["encoder_layers"] = 0
    elif how == "no size":
        del cfg["encoder_layers"]
    elif how == "no cfg":
        del content["cfg"]
    return content


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "key encoder.layers.1.fc1.bias is missing"),
        ("extra", "key encoder.layers.9.fc1.bias is unknown"),
        ("shape", r"key layer_norm.weight has shape \(3,\), expected \(64,\)"),
        ("nan", "layer_norm.weight holds values that are not finite"),
        ("tables", "layers.1.self_attn.relative_attention_bias.weight differs"),
        ("activation", "unknown activation: 'glu'"),
        ("size", "cfg.encoder_layers must be a whole number above 0: 0"),
        ("no size", "cfg.encoder_layers must be a whole number"),
        ("no cfg", "holds no `cfg` and `model`"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_key(tmp_path, how, words):
    content = change(torch.load(tiny_file("tiny_ssl"), weights_only=True), how)
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(WeightsError, match=words) as error:
        load_encoder(tmp_path / "bad.pt")
    assert "bad.pt" in str(error.value) and "\n" not in str(error.value)


class Harmful:
    """Something that a pickle would run when it is loaded."""

    def __reduce__(self):
        return (open, ("harmed", "w"))


@pytest.mark.parametrize("content", ["html", "truncated", "empty", "pickle", "list"])
def test_a_file_that_is_no_checkpoint_is_refused_and_nothing_runs(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pt"
    whole = (tiny_file("tiny_ssl")).read_bytes()
    if content == "pickle":
        torch.save({"cfg": Harmful(), "model": {}}, path)
    elif content == "list":
        torch.save([1, 2], path)
    else:
        path.write_bytes({"html": b"<!DOCTYPE html>", "truncated": whole[: len(whole) // 2], "empty": b""}[content])
    with pytest.raises(WeightsError, match=r"bad\.pt: (not a checkpoint|this is a web page|the file holds no)"):
        load_encoder(path)
    assert not (tmp_path / "harmed").exists()


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(WeightsError, match="no such checkpoint file"):
        load_encoder("./nowhere/BEATs.pt")
