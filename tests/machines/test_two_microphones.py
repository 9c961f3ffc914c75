"""An own machine of two microphones: fit, score, explain, add and report with data.channel=w1."""

import csv

import numpy as np
import pytest

from echobank.cli import main
from echobank.detection.bank import load_bank
from echobank.errors import InputError
from echobank.machines.archive import bank_file
from echobank.machines.detector import Detector
from echobank.machines.machine import open_machine
from tests.machines.sounds import RATE, hum, with_tone, write

PATH = [0.0, 0.0, 0.5, 0.0, 0.2, -0.1]


def heard(near, seed, gain=0.05):
    """Return float32[T, 2]: a machine beside the near microphone, noise that both hear."""
    far = gain * np.random.default_rng(1000 + seed).standard_normal(len(near))
    return np.stack([near + np.convolve(far, PATH)[: len(near)], far], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Return a folder with healthy/ of two microphones, banks/pump (w1) and banks/near (channel 0)."""
    root = tmp_path_factory.mktemp("two")
    for i in range(12):
        write(root / "healthy" / f"{i:02d}.wav", heard(hum(4.0, seed=i), i))
    for name, channel in (("pump", "w1"), ("near", "0")):
        words = ["fit", str(root / "healthy"), "--machine", name, "--out", str(root / "banks"), "--window", "2s"]
        assert main([*words, "--far", "0.1", "--set", f"data.channel={channel}"]) == 0
    write(root / "new" / "good.wav", heard(hum(seed=100), 100))
    write(root / "new" / "odd.wav", heard(with_tone(hum(seed=101), 1.0, 2.5, level=0.01), 101))
    return root


def rows_of(text):
    return list(csv.DictReader(text.splitlines()))


def scored(bank, *paths, capsys):
    capsys.readouterr()
    code = main(["score", str(bank), *map(str, paths)])
    captured = capsys.readouterr()
    return code, rows_of(captured.out), captured.err


def test_the_bank_says_so_and_scores_what_the_far_microphone_does_not_predict(two, capsys):
    for name, identity in (("pump", "w1"), ("near", 0)):
        assert load_bank(bank_file(two / "banks" / name)).header.provenance.channel.identity == identity
        assert open_machine(two / "banks" / name).listener.channel == identity
    code, rows, _ = scored(two / "banks" / "pump", two / "new", capsys=capsys)
    worst = {name: max(float(row["score"]) for row in rows if name in row["file"]) for name in ("good", "odd")}
    assert code == 1 and worst["odd"] > 3 * worst["good"]


@pytest.mark.parametrize("gain", [0.025, 0.07])
def test_surroundings_that_change_alarm_one_microphone_and_not_both(two, tmp_path, capsys, gain):
    """Noise that is 6 dB quieter, or 3 dB louder, than the healthy recordings have; the machine is the same."""
    path = write(tmp_path / "other.wav", heard(hum(seed=100), 100, gain=gain))
    decisions = {}
    for name in ("pump", "near"):
        _, rows, _ = scored(two / "banks" / name, path, capsys=capsys)
        decisions[name] = {row["decision"] for row in rows}
    assert decisions == {"pump": {"0"}, "near": {"1"}}


def test_a_recording_of_one_microphone_is_an_error_row_and_the_others_are_scored(two, tmp_path, capsys):
    mono = write(tmp_path / "mono.wav", hum(seed=100))
    code, rows, err = scored(two / "banks" / "pump", mono, two / "new" / "good.wav", capsys=capsys)
    assert code == 3
    assert [bool(row["error"]) for row in rows if "mono" in row["file"]] == [True]
    assert all("w1 needs a near and a far microphone" in row["error"] for row in rows if "mono" in row["file"])
    assert not any(row["error"] for row in rows if "good" in row["file"]) and "mono.wav" in err
    words = ["fit", str(tmp_path), "--machine", "m", "--out", str(tmp_path), "--set", "data.channel=w1"]
    assert main(words) == 2
    assert "w1 needs a near and a far microphone" in capsys.readouterr().err


def test_explain_add_and_report_hear_the_same(two, tmp_path, capsys):
    bank = tmp_path / "banks" / "pump"
    bank.mkdir(parents=True)
    (bank / "bank.safetensors").write_bytes(bank_file(two / "banks" / "pump").read_bytes())
    assert main(["explain", str(bank), str(two / "new" / "odd.wav")]) == 0
    assert "kHz" in capsys.readouterr().out
    assert main(["bank", "add", str(bank), str(two / "new" / "good.wav")]) == 0
    assert len(load_bank(bank / "bank.safetensors")) > len(load_bank(bank_file(two / "banks" / "pump")))
    page = tmp_path / "r.html"
    assert main(["score", str(bank), str(two / "new"), "--report", str(page)]) in (0, 1)
    assert "w1" in page.read_text()


def test_samples_in_memory_are_those_of_the_file(two):
    detector = Detector.load(two / "banks" / "pump")
    expected = detector.score(two / "new" / "odd.wav")
    import soundfile

    samples, _ = soundfile.read(two / "new" / "odd.wav", dtype="int16")
    found = detector.score_samples(samples, RATE)
    assert [verdict.score for verdict in found] == [verdict.score for verdict in expected]
    for wrong in (samples[:, 0], np.zeros((RATE, 3)), np.zeros((0, 2)), np.float32(1)):
        with pytest.raises(InputError, match="near and a far"):
            detector.score_samples(wrong, RATE)
