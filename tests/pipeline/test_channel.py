"""A bank of one channel is not scored with clips of another."""

import dataclasses

import numpy as np
import pytest
import soundfile

from echobank.detection.bank import load_bank, save_bank
from tests.pipeline.dataset import write_wav


@pytest.fixture
def stereo(own_project):
    for path in (own_project.root / "dev_data/raw/fan").rglob("*.wav"):
        samples, _ = soundfile.read(path)
        write_wav(path, np.stack([samples, 0.5 * np.roll(samples, 7)], axis=1))
    return own_project


def test_a_bank_of_another_channel_is_refused_by_name(stereo, capsys):
    assert stereo.all("data.channel=1") == [0, 0, 0]
    assert load_bank(stereo.results / "banks/fan_section_00.safetensors").header.provenance.channel.index == 1
    capsys.readouterr()
    assert stereo.run("infer", "data.channel=0") == 2
    assert "channel is 1 in the bank and 0 here" in capsys.readouterr().err


def test_a_bank_that_does_not_say_its_channel_is_scored_with_a_notice(stereo, capsys):
    assert stereo.all() == [0, 0, 0]
    wanted = {name: text for name, text in stereo.outputs().items() if name.endswith(".csv")}
    path = stereo.results / "banks/fan_section_00.safetensors"
    bank = load_bank(path)
    old = dataclasses.replace(bank.header.provenance, unrecorded=frozenset({"channel"}))
    save_bank(dataclasses.replace(bank, header=dataclasses.replace(bank.header, provenance=old)), path)
    capsys.readouterr()
    assert stereo.run("infer") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "older version" in line]
    assert "did not record channel" in line and str(path) in line
    assert {name: text for name, text in stereo.outputs().items() if name.endswith(".csv")} == wanted
