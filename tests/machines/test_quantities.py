"""Quantities outside the healthy range, by name and unit."""

import json
import re

import numpy as np
import pytest

from echobank.cli import main
from echobank.machines.machine import open_machine
from echobank.machines.quantities import outside
from tests.machines.sounds import RATE, hum, with_tone, write

CARDS = ("level", "level_octaves", "level_percentiles", "level_crest", "level_kurtosis", "level_flatness")


@pytest.fixture(scope="module")
def machine(fitted, tmp_path_factory):
    root = tmp_path_factory.mktemp("levels")
    words = ["fit", str(fitted / "healthy"), "--machine", "pump", "--out", str(root), "--window", "2s"]
    members = "+".join(f"knn@{card}" for card in ("logmel_stats", *CARDS))
    settings = [f"model.embedding=logmel_stats+{'+'.join(CARDS)}", "scoring.backend=mean_fusion"]
    settings.append(f"scoring.params={{members: '{members}'}}")
    assert main([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
    return open_machine(root / "pump")


def said(machine, tmp_path, sound):
    (heard,) = machine.listener.hear([write(tmp_path / "x.wav", sound)])
    return outside(machine, heard.vectors[0])


def test_a_louder_machine_is_louder_in_every_band_and_no_more_impulsive(machine, tmp_path):
    found = said(machine, tmp_path, hum(2.0, seed=100, gain=4.0))
    by_name = {it.name: it for it in found}
    assert {"level", "L10", "L50", "L90"} <= set(by_name)
    assert not {"crest factor", "kurtosis", "spectral flatness"} & set(by_name)
    assert by_name["level"].excess == pytest.approx(12.0, abs=1.5)
    assert all(it.excess > 3 and it.unit == "dBFS" for it in found)
    octaves = [it for it in found if it.name.startswith("octave")]
    assert len(octaves) == 3 and octaves[-1].more == 5
    sentence = r"It is 1\d dB louder than any healthy recording \(level -2\S+ dBFS, healthy -3\S+ to -3\S+ dBFS\)\."
    assert re.fullmatch(sentence, str(by_name["level"]))
    assert "and 5 more like it" in str(octaves[-1])


def test_a_tone_is_named_by_its_octave(machine, tmp_path):
    sound = with_tone(hum(2.0, seed=100), 0, 2, hz=2000.0, level=0.02)
    found = said(machine, tmp_path, sound)
    first = next(it for it in found if it.name.startswith("octave"))
    assert first.name == "octave of 2 kHz" and first.excess > 10
    assert str(first).startswith("Its octave of 2 kHz is ") and "dBFS, healthy" in str(first)


def test_a_click_is_named_by_crest_factor_and_kurtosis(machine, tmp_path):
    sound = hum(2.0, seed=100)
    sound[RATE] += 0.9
    by_name = {it.name: it for it in said(machine, tmp_path, sound)}
    assert by_name["crest factor"].unit == "dB" and by_name["crest factor"].excess > 6
    assert by_name["kurtosis"].excess > 3
    assert "dB above that of any healthy recording" in str(by_name["kurtosis"])


def test_quieter_is_said_too_and_healthy_sound_is_not(machine, fitted, tmp_path):
    by_name = {it.name: it for it in said(machine, tmp_path, hum(2.0, seed=100, gain=0.25))}
    assert by_name["level"].excess == pytest.approx(-12.0, abs=1.5)
    assert re.match(r"It is 1\d dB quieter than any healthy recording", str(by_name["level"]))
    (heard,) = machine.listener.hear([fitted / "healthy" / "03.wav"])
    assert all(outside(machine, vector) == () for vector in heard.vectors)


def test_a_bank_that_hears_no_level_has_none(fitted):
    machine = open_machine(fitted / "banks" / "pump")
    assert outside(machine, np.zeros(machine.bank.vectors.shape[1:], np.float32)) == ()


def test_explain_says_them(fitted, tmp_path, capsys):
    words = ["fit", str(fitted / "healthy"), "--machine", "pump", "--out", str(tmp_path), "--window", "2s"]
    words += ["--set", "model.embedding=level", "--set", "scoring.metric=euclidean", "--set", "scoring.backend=knn"]
    assert main([*words, "--set", "scoring.params={}"]) == 0
    loud = str(write(tmp_path / "loud.wav", hum(2.0, seed=100, gain=4.0)))
    capsys.readouterr()
    assert main(["explain", str(tmp_path / "pump"), loud]) == 0
    assert re.search(r"It is 1\d dB louder than any healthy recording", capsys.readouterr().out)
    assert main(["explain", str(tmp_path / "pump"), loud, "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["quantities"]
    assert (one["name"], one["unit"]) == ("level", "dBFS") and one["value"] > one["high"] + 10
