"""A change of gain is said, by score and by fit, and takes no alarm away."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from echobank.cli import main
from echobank.detection.bank import load_bank, save_bank
from echobank.machines.archive import bank_file
from echobank.machines.gain import LEVEL, describe_shift, levels_of
from tests.machines.sounds import hum, write


@pytest.mark.parametrize(
    ("bank", "today", "said"),
    [
        ([-30, -31, -30.5], [-22, -21.6, -22.4], "all of today's recordings are 8 to 9 dB louder"),
        ([-30, -31, -30.5], [-40, -41], "all of today's recordings are 10 dB quieter"),
        ([-30, -31, -30.5], [-30, -31.5], ""),
        ([-30, -31, -30.5], [-31, -20, -21], "today's recordings are 10 dB louder than the bank's, by their medians"),
        ([-30], [-20], "today's recordings are 10 dB louder"),
        ([], [-20], ""),
        ([-30], [], ""),
        ([-30, -30], [-200.0, -30], ""),
    ],
)
def test_sentences(bank, today, said):
    found = describe_shift(bank, today)
    assert found.startswith(said) and bool(found) == bool(said)


@pytest.mark.parametrize("gain", [-12.0, 7.0])
def test_a_gain_moves_all_of_them(gain):
    levels = np.random.default_rng(0).uniform(-40, -39.8, 20)
    word = "louder" if gain > 0 else "quieter"
    assert describe_shift(levels, levels + gain).startswith(f"all of today's recordings are {abs(gain):.0f} dB {word}")


def test_score_says_that_everything_is_louder_and_alarms_all_the_same(fitted, bank, tmp_path, capsys):
    levels = levels_of(load_bank(bank / "bank.safetensors"))
    assert len(levels) == len(set(load_bank(bank / "bank.safetensors").columns.words["sha256"].codes.tolist()))
    for number in range(3):
        write(tmp_path / "loud" / f"{number}.wav", hum(seed=200 + number, gain=4.0))
    first = main(["score", str(bank), str(tmp_path / "loud")])
    said = capsys.readouterr()
    assert "level: all of today's recordings are 12 dB louder" in said.err
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert first == (1 if any(row["decision"] == "1" for row in rows) else 0)
    for number in range(3):
        write(tmp_path / "usual" / f"{number}.wav", hum(seed=200 + number))
    main(["score", str(bank), str(tmp_path / "usual")])
    assert "louder" not in capsys.readouterr().err


def test_fit_says_how_the_new_recordings_differ_from_the_bank_that_lay_there(tmp_path, capsys):
    for folder, gain in (("first", 1.0), ("second", 0.25)):
        for number in range(4):
            write(tmp_path / folder / f"{number}.wav", hum(seconds=2.0, seed=number, gain=gain))
        fit = ["fit", str(tmp_path / folder), "--machine", "pump", "--out", str(tmp_path / "banks"), "--window", "2s"]
        assert main(fit) == 0
        assert ("12 dB quieter" in capsys.readouterr().out) == (folder == "second")
    path = tmp_path / "banks/pump/bank.safetensors"
    assert main(["bank", "add", str(path.parent), str(tmp_path / "first")]) == 0
    both = load_bank(path)
    assert len(both.extras[LEVEL]) == len(both) == 8
    assert np.ptp(levels_of(both)) == pytest.approx(12.04, abs=0.5)


def test_a_bank_of_an_older_version_has_no_levels_and_is_scored_without_a_sentence(bank, tmp_path, capsys):
    file = bank / "bank.safetensors"
    old = load_bank(file)
    save_bank(dataclasses.replace(old, extras={"profile": old.extras["profile"]}), file)
    write(tmp_path / "loud.wav", hum(gain=4.0))
    assert main(["score", str(bank), str(tmp_path / "loud.wav")]) in (0, 1)
    assert "level:" not in capsys.readouterr().err


LEVEL_WORDS = (
    *("--set", "model.embedding=logmel_stats+level", "--set", "scoring.backend=mean_fusion"),
    *("--set", "scoring.params={members: 'knn@logmel_stats+knn@level'}"),
)


def test_a_bank_that_hears_level_scores_without_it_where_that_is_asked_for(fitted, tmp_path, capsys):
    words = ["fit", str(fitted / "healthy"), "--machine", "pump", "--window", "2s"]
    assert main([*words, "--out", str(tmp_path / "both"), *LEVEL_WORDS]) == 0
    part = ["--set", "model.embedding=logmel_stats+level", "--set", "scoring.backend=knn@logmel_stats"]
    assert main([*words, "--out", str(tmp_path / "one"), *part]) == 0
    assert main([*words, "--out", str(tmp_path / "off"), *LEVEL_WORDS, "--set", "scoring.level=off"]) == 0
    write(tmp_path / "new" / "quiet.wav", hum(4.0, seed=50, gain=0.25))
    write(tmp_path / "new" / "quieter.wav", hum(4.0, seed=51, gain=0.2))

    def said(bank, *more):
        capsys.readouterr()
        code = main(["score", str(tmp_path / bank / "pump"), str(tmp_path / "new"), *more])
        return (code, *capsys.readouterr())

    before = bank_file(tmp_path / "both" / "pump").read_bytes()
    code, table, told = said("both")
    assert code == 1 and "all of today's recordings" in told and "--without-level leaves level out" in told
    without = said("both", "--without-level")
    assert without[1] != table and "all of today's recordings" in without[2] and "--without-level" not in without[2]
    assert without == said("one") == said("off") == said("one", "--without-level")
    assert bank_file(tmp_path / "both" / "pump").read_bytes() == before


def test_nothing_but_level_cannot_be_scored_without_it(fitted, tmp_path, capsys):
    words = ["fit", str(fitted / "healthy"), "--machine", "pump", "--window", "2s", "--out", str(tmp_path)]
    level = ["--set", "model.embedding=level", "--set", "scoring.metric=euclidean", "--set", "scoring.backend=knn"]
    assert main([*words, *level, "--set", "scoring.params={}"]) == 0
    assert main(["score", str(tmp_path / "pump"), str(fitted / "new"), "--without-level"]) == 2
    assert "without level nothing is left to score by" in capsys.readouterr().err


def test_a_compacted_bank_is_refused_without_level(fitted, tmp_path, capsys):
    words = ["fit", str(fitted / "healthy"), "--machine", "pump", "--window", "2s", "--out", str(tmp_path)]
    assert main([*words, *LEVEL_WORDS]) == 0
    assert main(["bank", "compact", str(tmp_path / "pump"), "--rows", "30"]) == 0
    assert main(["score", str(tmp_path / "pump"), str(fitted / "new"), "--without-level"]) == 2
    assert "compacted" in capsys.readouterr().err
