"""Score: the table, the journal, the exit codes, and that nothing depends on order or interruption."""

import csv
import json
import shutil

import numpy as np
import pyarrow.parquet
import pytest

from echobank.cli import main
from echobank.data.windows import read_windows
from echobank.detection.calibration import calibrate
from echobank.journal import Journal
from echobank.machines import score as scoring
from echobank.machines.machine import Machine, open_machine
from echobank.machines.score import journal_file, score_to_table
from echobank.machines.verdict import COLUMNS
from echobank.machines.window_sources import WindowSource
from tests.machines.sounds import hum, write


def score(*words):
    return main(["score", *map(str, words)])


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_fault_is_found_and_the_healthy_is_not(fitted, tmp_path):
    assert score(fitted / "banks" / "pump", fitted / "new", "--out", tmp_path / "t.csv") == 1
    rows = rows_of(tmp_path / "t.csv")
    assert tuple(rows[0]) == COLUMNS
    odd = {(row["file"].rpartition("/")[2], row["start"]) for row in rows if row["decision"] == "1"}
    assert odd == {("bad.wav", "0.0"), ("bad.wav", "1.0"), ("bad.wav", "2.0")}
    for row in rows:
        assert 0 < float(row["p_value"]) <= 1 and row["nearest"].endswith(".wav")
    assert not journal_file(tmp_path / "t.csv").exists()


def test_exit_codes(fitted, tmp_path, capsys):
    bank, good = fitted / "banks" / "pump", fitted / "new" / "good.wav"
    (tmp_path / "text.wav").write_text("no sound")
    assert score(bank, good) == 0
    assert capsys.readouterr().out.startswith(",".join(COLUMNS))
    assert score(bank, good, tmp_path / "text.wav", tmp_path / "gone.wav") == 3
    assert score(bank, fitted / "new", tmp_path / "text.wav") == 1
    assert score(bank, good, "--out", tmp_path / "t.xls") == 2
    assert score(tmp_path / "none", good) == 2
    assert score(bank, good, "--far", "0.001") == 2


def test_the_three_kinds_of_table_say_the_same(fitted, tmp_path):
    bank = fitted / "banks" / "pump"
    for kind in ("csv", "jsonl", "parquet"):
        score(bank, fitted / "new", tmp_path / "gone.wav", "--out", tmp_path / f"t.{kind}")
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    parquet = pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert parquet == [{name: value for name, value in line.items() if name != "findings"} for line in lines]
    assert [float(row["score"]) for row in rows_of(tmp_path / "t.csv")[:-1]] == [row["score"] for row in lines[:-1]]
    assert "cannot be read" in lines[-1]["error"] and lines[-1]["score"] is None


def test_an_interrupted_run_goes_on_and_gives_the_same_table(fitted, tmp_path, monkeypatch):
    machine, bank = open_machine(fitted / "banks" / "pump"), fitted / "banks" / "pump"
    paths = sorted((fitted / "healthy").glob("*.wav"))
    score_to_table(machine, bank, paths, tmp_path / "whole.csv")
    heard, judge = [], Machine.judge_all

    def counted(self, recordings):
        heard.extend(recording.path for recording in recordings)
        if len(heard) == 6:
            raise KeyboardInterrupt
        return judge(self, recordings)

    object.__setattr__(machine.listener, "batch_size", 3)
    monkeypatch.setattr(Machine, "judge_all", counted)
    with pytest.raises(KeyboardInterrupt):
        score_to_table(machine, bank, paths, tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()
    with journal_file(tmp_path / "t.csv").open("ab") as stream:
        stream.write(b'{"file": "torn')
    result = score_to_table(machine, bank, paths, tmp_path / "t.csv")
    assert result.resumed == 5
    assert heard == [*paths[:6], *paths[5:]]
    assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_recording_that_changed_meanwhile_is_scored_again_once(fitted, tmp_path, monkeypatch):
    machine, bank = open_machine(fitted / "banks" / "pump"), fitted / "banks" / "pump"
    paths = [write(tmp_path / f"{i}.wav", hum(2.0, seed=i)) for i in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            score_to_table(machine, bank, paths, tmp_path / "t.csv")
    write(paths[1], hum(3.0, seed=9))
    result = score_to_table(machine, bank, paths, tmp_path / "t.csv")
    assert (result.resumed, result.files) == (2, 3)
    assert [row["file"][-5] for row in rows_of(tmp_path / "t.csv")] == ["0", "2", "1", "1"]


def test_a_journal_of_another_bank_is_refused(fitted, bank, tmp_path, capsys):
    machine = open_machine(bank)
    out = tmp_path / "t.csv"
    journal_file(out).write_text('{"bank": "other", "threshold": 1}\n')
    assert score(bank, fitted / "new", "--out", out) == 2
    assert "another bank" in capsys.readouterr().err
    assert machine.threshold


def test_a_file_that_grows_while_it_is_read_is_an_error_row(fitted, tmp_path, monkeypatch):
    machine = open_machine(fitted / "banks" / "pump")
    path = write(tmp_path / "a.wav", hum(2.0))

    def growing(*args, **settings):
        shutil.copy(fitted / "new" / "bad.wav", path)
        return read_windows(*args, **settings)

    monkeypatch.setattr("echobank.machines.window_sources.read_windows", growing)
    (verdicts,) = scoring.score_stream(machine, [path])
    assert "changed while it was read" in verdicts[0].error


def test_scores_do_not_depend_on_order_or_batches(fitted):
    machine = open_machine(fitted / "banks" / "pump")
    paths = sorted((fitted / "new").glob("*.wav"))
    one = {v.file + str(v.start): v.score for rows in scoring.score_stream(machine, paths) for v in rows}
    object.__setattr__(machine.listener, "batch_size", 1)
    two = {v.file + str(v.start): v.score for rows in scoring.score_stream(machine, paths[::-1]) for v in rows}
    assert one == pytest.approx(two, abs=1e-6)


def test_a_report_beside_a_table_hears_every_recording_once(fitted, tmp_path, monkeypatch):
    heard = []
    real = WindowSource.pieces
    monkeypatch.setattr(WindowSource, "pieces", lambda self: heard.append(self.path.name) or real(self))
    good = [write(tmp_path / "g" / f"{i}.wav", hum(2.0, seed=200 + i)) for i in range(4)]
    words = [fitted / "banks" / "pump", tmp_path / "g", "--report", tmp_path / "r.html"]
    for more in (["--out", tmp_path / "t.csv"], []):
        heard.clear()
        assert score(*words, *more, "--far", "5%") == 0
        assert sorted(heard[:4]) == [path.name for path in good] and len(heard) == 5  # and the oddest to explain it


def test_two_runs_that_write_the_same_table_do_not_mix(fitted, tmp_path, capsys):
    out = tmp_path / "t.csv"
    with Journal(journal_file(out)):
        assert score(fitted / "banks" / "pump", fitted / "new", "--out", out) == 2
    assert "another program is writing" in capsys.readouterr().err
    assert score(fitted / "banks" / "pump", fitted / "new", "--out", out) == 1


def test_a_recording_that_the_bank_has_is_said_to_be_compared_with_itself(fitted, capsys):
    bank = fitted / "banks" / "pump"
    assert score(bank, fitted / "healthy" / "00.wav", fitted / "new" / "good.wav") == 0
    flags = {row["file"][-6:]: row["flags"] for row in csv.DictReader(capsys.readouterr().out.splitlines())}
    assert flags == {"00.wav": "in_bank", "od.wav": ""}
    assert main(["explain", str(bank), str(fitted / "healthy" / "00.wav")]) == 0
    assert "remembers this very recording" in capsys.readouterr().out


def test_p_values_are_whole_where_they_should_be():
    calibration = calibrate(np.arange(660.0), [str(i // 11) for i in range(660)])
    assert calibration.p_values(np.array([-1.0, 0.0, 660.0])).tolist() == [1.0, 1.0, 1 / 61]
