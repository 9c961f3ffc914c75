"""Fit: groups, tags, long recordings in bounded memory, and what bad input says."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from echobank.cli import main
from echobank.detection.bank import Row, load_bank
from echobank.errors import InputError
from echobank.machines.archive import bank_file
from echobank.machines.detector import Detector
from echobank.machines.groups import in_groups
from echobank.machines.tags import Tagging, parse_tags, read_tags, state_of
from tests.machines.sounds import RATE, healthy_folder, hum, write


def fit(*words):
    return main(["fit", *map(str, words)])


def test_fit_says_what_it_heard(fitted, capsys):
    assert fit(fitted / "healthy", "--machine", "pump", "--out", fitted / "again", "--window", "2s") == 0
    said = capsys.readouterr().out
    for words in ("heard 24 recordings", "16000 Hz", "dBFS", "support a false-alarm rate of 4 %", "wrote"):
        assert words in said
    first, second = (load_bank(bank_file(fitted / place / "pump")) for place in ("banks", "again"))
    assert np.array_equal(first.vectors, second.vectors)
    assert np.array_equal(first.own.scores, second.own.scores)


def test_copies_silence_and_odd_ones_are_named(tmp_path, capsys):
    folder = healthy_folder(tmp_path / "healthy", 22, 2.0)
    write(folder / "copy.wav", hum(2.0, seed=3))
    write(folder / "silent.wav", np.zeros(2 * RATE))
    write(folder / "other.wav", hum(2.0, seed=50, speed=333.0, gain=4))
    (folder / "text.wav").write_text("no sound")
    assert fit(folder, "--machine", "m", "--out", tmp_path / "b", "--window", "2s") == 3
    out, err = capsys.readouterr()
    assert "the same recording twice: copy.wav and 03.wav" in out
    assert "odd among the healthy: other.wav" in out
    assert "silent" in err and "text.wav" in err and "2 skipped" in err


def test_one_long_recording_is_cut_into_blocks_that_do_not_overlap():
    rows = [Row("long.wav", "m", sha256="x", start=float(s), seconds=10.0) for s in range(0, 171, 5)]
    grouped = in_groups(rows, 10.0)
    assert {row.group for row in grouped} == {"", "x block 0", "x block 1", "x block 2"}
    for first in grouped:
        for second in grouped:
            if first.group and second.group and first.group != second.group:
                assert abs(first.start - second.start) >= 10.0
    assert {row.group for row in in_groups(rows[:5], 10.0)} == {"x"}


def test_a_long_recording_is_heard_in_bounded_memory(tmp_path):
    write(tmp_path / "long.wav", np.tile(hum(20.0), 120), 48_000)  # 800 s of 48 kHz, 154 MB as float
    detector = Detector("m", seconds=4.0, hop=4.0)
    tracemalloc.start()
    detector.fit(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # blocks of the file are held as long as windows of them are under way
    assert len(detector.machine_.bank) > 150


def test_tags_come_from_folders_tables_and_words(tmp_path):
    healthy_folder(tmp_path / "high", 3, 2.0)
    healthy_folder(tmp_path / "low" / "deep", 3, 2.5)
    detector = Detector(seconds=2.0, hop=1.0).fit(tmp_path)
    assert set(detector.machine_.bank.domains) == {"high", "low/deep"}
    (tmp_path / "tags.csv").write_text("file,load\na.wav,1\nb.wav,\n")
    table = Tagging({"speed": "2"}, read_tags(tmp_path / "tags.csv"))
    assert state_of(table.of("a.wav")) == "load=1 speed=2"
    assert state_of(table.of("b.wav")) == "speed=2"
    assert state_of(Tagging(folders=False).of("x/a.wav")) == "normal"
    with pytest.raises(InputError, match="no line in the table"):
        table.of("c.wav")
    with pytest.raises(InputError, match="disagree"):
        Tagging({"load": "2"}, read_tags(tmp_path / "tags.csv")).of("a.wav")
    with pytest.raises(InputError, match="disagree"):
        parse_tags(["load=1,load=2"])
    (tmp_path / "tags.csv").write_text("file,load\na.wav,1\na.wav,2\n")
    with pytest.raises(InputError, match=r"tags\.csv:3"):
        read_tags(tmp_path / "tags.csv")


def test_one_recording_in_two_states_is_refused(tmp_path):
    for state in ("high", "low"):
        write(tmp_path / state / "a.wav", hum(2.0))
    with pytest.raises(InputError, match="two operating states"):
        Detector(seconds=2.0, hop=1.0).fit(tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no such file or folder"),
        (["empty"], "no recordings found"),
        (["one"], "too little healthy sound"),
        (["text"], "none of the 1 recordings can be used"),
        (["healthy", "--far", "0.01"], "support a false-alarm rate of"),
        (["healthy", "--hop", "3s"], "at most the window"),
        (["healthy", "--set", "decision.method=quantile"], "do not apply to own machines"),
        (["healthy", "--tags", "load"], "not of the form name=value"),
        (["healthy", "--set", "model.k=99"], "k = 99 neighbours"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    healthy_folder(tmp_path / "healthy", 4, 2.0)
    healthy_folder(tmp_path / "one", 1, 2.0)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.wav").write_text("no sound")
    assert fit(*words, "--machine", "m", "--window", "2s") == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not (tmp_path / "banks" / "m" / "bank.safetensors").exists()


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000, 192_000])
def test_any_rate_and_channel_count(tmp_path, rate):
    for i in range(3):
        sound = np.stack([hum(6.0, seed=i)] * 2, axis=1)
        write(tmp_path / f"{i}.wav", sound[: 2 * rate], rate)
    detector = Detector(seconds=0.4, hop=0.2).fit(tmp_path)
    assert detector.harvest_.heard[0].source_rate == rate


@pytest.mark.parametrize("command", ["fit", "score", "explain", "bank", "watch"])
def test_help_and_usage_errors_do_not_wait_for_torch(command):
    script = (
        "import sys; from echobank.cli import main\ntry: main(sys.argv[1:])\nfinally: assert 'torch' not in sys.modules"
    )
    for words, code in ((["--help"], 0), (["--nonsense"], 2)):
        done = subprocess.run([sys.executable, "-c", script, command, *words], capture_output=True, text=True)
        assert done.returncode == code and "AssertionError" not in done.stderr


def test_a_table_of_tags_with_semicolons_says_what_to_write(tmp_path):
    (tmp_path / "tags.csv").write_text("file;load\na.wav;0,53\n")
    with pytest.raises(InputError, match="commas between columns, not semicolons"):
        read_tags(tmp_path / "tags.csv")
