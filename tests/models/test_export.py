"""BEATs as ONNX: the same tokens, without torch."""

import pytest

pytest.importorskip("torch", reason="no torch")

import subprocess
import sys

import numpy as np

from echobank import load_encoder
from echobank.cli import main
from echobank.errors import ConfigError
from echobank.models.beats.onnx_export import compare, export_onnx
from tests.models.reference import WAVES, arrays, official, tiny_file


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_onnx(load_encoder(tiny_file("tiny_ssl")), tmp_path_factory.mktemp("onnx"))


def test_tokens_are_those_of_torch_and_of_the_official_code(exported):
    encoder = load_encoder(f"onnx:{exported}")
    ours = load_encoder(tiny_file("tiny_ssl"))
    clips = [arrays("waves")[wave] for wave in WAVES if wave != "chirp_0p5s"]
    result = compare(ours, encoder, clips)
    assert result.clips == 4 and result.tokens < 2e-5 and result.cosine < 1e-9 and result.rank > 0.9999
    # a pure tone: its log-mel is made with numpy here, with torch there, and bins of rounding noise reach the tokens
    assert compare(ours, encoder, [arrays("waves")["chirp_0p5s"]]).tokens < 2e-2
    for wave in ("noise_1s", "motor_10s", "odd_3p217s"):
        expected = official("tiny_ssl", wave)
        found = encoder.tokens([arrays("waves")[wave]])[0]
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=2e-4)
    assert np.array_equal(encoder.band_edges_hz, ours.band_edges_hz)
    assert encoder.facts.front_end == ours.facts.front_end


def test_an_earlier_layer(tmp_path):
    ours = load_encoder(tiny_file("tiny_ssl"))
    encoder = load_encoder(f"onnx:{export_onnx(ours, tmp_path, layer=1)}")
    assert compare(ours, encoder, [arrays("waves")["noise_1s"]], layer=1).tokens < 2e-5


def test_int8_is_smaller_and_says_what_it_costs(exported, tmp_path, capsys):
    code = main(["export", str(tiny_file("tiny_ssl")), "--out", str(tmp_path), "--int8", "--check", str(wav(tmp_path))])
    assert code == 0
    assert "rank correlation" in capsys.readouterr().out
    assert (tmp_path / "tiny_ssl_int8.onnx").stat().st_size < 0.7 * exported.stat().st_size


def wav(folder):
    import soundfile

    for name in WAVES[:3]:
        soundfile.write(folder / f"{name}.wav", arrays("waves")[name], 16000)
    return folder


def test_it_runs_where_torch_is_not_installed(exported):
    code = (
        "import sys, numpy as np; sys.modules['torch'] = None; from echobank import load_encoder\n"
        f"e = load_encoder('onnx:{exported}'); print(e.tokens([np.ones(16000, np.float32)])[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(6, 8, 96)"


@pytest.mark.parametrize(("name", "settings"), [("logmel_stats", {}), ("", {"layer": 4})])
def test_what_cannot_be_exported_is_said(tmp_path, name, settings):
    with pytest.raises(ConfigError):
        export_onnx(load_encoder(name or tiny_file("tiny_ssl")), tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_bf16_is_not_exported(tmp_path):
    with pytest.raises(ConfigError, match="fp32"):
        export_onnx(load_encoder(tiny_file("tiny_ssl"), precision="bf16"), tmp_path)
