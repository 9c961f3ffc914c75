"""Bad recordings among good ones: fit, score and watch name each, go on without it, and leave no trace of it."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.data.folder import recordings_in
from echobank.detection.bank import load_bank
from echobank.errors import InputError
from echobank.machines.archive import bank_file
from echobank.machines.window_sources import WindowSource
from tests.machines.sounds import RATE, full_disk, healthy_folder, hum, with_tone, write
from tests.requirements import needs


def text(path):
    path.write_text("no sound at all, though the name says so")


def truncated(path):
    write(path, hum(2.0))
    path.write_bytes(path.read_bytes()[:60])


def empty(path):
    path.write_bytes(b"")


def no_samples(path):
    write(path, np.zeros(0, np.float32))


def not_numbers(path):
    sound = hum(2.0)
    sound[1000:1010] = np.nan
    soundfile.write(path, sound, RATE, subtype="FLOAT")


def one_channel_too_few(path):
    write(path, hum(2.0))


BAD = (text, truncated, empty, no_samples, not_numbers)


@pytest.fixture
def landed(tmp_path):
    """Return a folder with one good recording and one of each bad kind."""
    folder = tmp_path / "landed"
    write(folder / "good.wav", hum(2.0, seed=100))
    for make in BAD:
        make(folder / f"{make.__name__}.wav")
    return folder


@pytest.mark.parametrize("make", BAD)
def test_fit_goes_on_without_a_bad_recording_and_names_it(tmp_path, capsys, make):
    folder = healthy_folder(tmp_path / "healthy", 3, 2.0)
    make(folder / "bad.wav")
    assert main(["fit", str(folder), "--machine", "m", "--out", str(tmp_path), "--window", "1s"]) == 3
    err = capsys.readouterr().err
    assert "bad.wav" in err and "1 skipped" in err and "Traceback" not in err
    assert {row.file for row in load_bank(bank_file(tmp_path / "m")).rows} == {"00.wav", "01.wav", "02.wav"}


def test_score_gives_each_a_row_with_its_reason(fitted, tmp_path, landed, capsys):
    words = ["score", str(fitted / "banks" / "pump"), str(landed), "--report", str(tmp_path / "r.html")]
    assert main([*words, "--out", str(tmp_path / "t.csv")]) == 3
    with (tmp_path / "t.csv").open(newline="") as stream:
        rows = {row["file"].rpartition("/")[2].removesuffix(".wav"): row for row in csv.DictReader(stream)}
    assert set(rows) == {"good", *(make.__name__ for make in BAD)}
    for name, row in rows.items():
        assert bool(row["error"]) == (name != "good") and bool(row["score"]) == (name == "good")
    assert capsys.readouterr().err.count("skipped:") == len(BAD)
    page = (tmp_path / "r.html").read_text()
    assert all(f"{make.__name__}.wav" in page for make in BAD)


def test_watch_tells_of_each_once(fitted, tmp_path, landed, capsys):
    words = ["watch", str(fitted / "banks" / "pump"), str(landed), "--state", str(tmp_path / "state")]
    for expected in ({*(f"{make.__name__}.wav" for make in BAD)}, set()):
        assert main([*words, "--once", "--settle", "1ms", "--poll", "5ms"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {line["file"] for line in lines if line["kind"] == "error"} == expected


def test_eight_channels_are_heard_one_at_a_time_and_a_missing_one_is_named(tmp_path, capsys):
    for i in range(3):
        sound = np.stack([hum(2.0, seed=10 * i + c) for c in range(8)], axis=1)
        write(tmp_path / "h" / f"{i}.wav", sound)
    words = ["fit", str(tmp_path / "h"), "--machine", "m", "--out", str(tmp_path), "--window", "1s"]
    assert main([*words, "--set", "data.channel=7"]) == 0
    one_channel_too_few(tmp_path / "mono.wav")
    assert main(["score", str(tmp_path / "m"), str(tmp_path / "mono.wav")]) == 3
    assert "channel" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", [0.1, 0.4])
def test_recordings_much_shorter_than_the_window_are_heard_whole(fitted, tmp_path, capsys, seconds):
    write(tmp_path / "short.wav", hum(seconds, seed=100))
    assert main(["score", str(fitted / "banks" / "pump"), str(tmp_path / "short.wav")]) in (0, 1)
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert float(row["seconds"]) == pytest.approx(seconds, abs=0.001)


def test_hidden_files_and_folders_named_as_recordings_are_none(fitted, tmp_path, capsys):
    write(tmp_path / "new" / "good.wav", hum(2.0, seed=100))
    for name in (".trash/a.wav", "._good.wav"):
        write(tmp_path / "new" / name, hum(2.0, seed=100))
    (tmp_path / "new" / "take.wav").mkdir()
    for words in (["score"], ["watch", "--once", "--settle", "1ms", "--poll", "5ms", "--state", str(tmp_path / "s")]):
        capsys.readouterr()
        assert main([words[0], str(fitted / "banks" / "pump"), str(tmp_path / "new"), *words[1:]]) == 0
        out, err = capsys.readouterr()
        assert out.count("good.wav") == 1 and "a.wav" not in out and "take.wav" not in out + err


@pytest.mark.parametrize("command", ["fit", "score", "add", "report"])
def test_a_full_disk_is_one_line_and_leaves_the_old(fitted, bank, tmp_path, capsys, command):
    file, new = bank_file(bank), str(fitted / "new")
    before = file.read_bytes()
    words = {
        "fit": ["fit", str(fitted / "healthy"), "--machine", "pump", "--out", str(bank.parent), "--window", "2s"],
        "score": ["score", str(bank), new, "--out", str(tmp_path / "t.csv")],
        "add": ["bank", "add", str(bank), new],
        "report": ["score", str(bank), new, "--report", str(tmp_path / "r.html")],
    }[command]
    with full_disk(100):
        assert main(words) == 2
    err = capsys.readouterr().err
    assert "disk is not full" in err and "Traceback" not in err and "bug" not in err
    assert file.read_bytes() == before
    assert not (tmp_path / "t.csv").exists() and not (tmp_path / "r.html").exists()
    assert main(words) in (0, 1)


@pytest.mark.parametrize("out", ["taken/deep", "taken"])
def test_a_place_that_cannot_be_written_is_one_line(fitted, tmp_path, capsys, out):
    (tmp_path / "taken").write_text("a file where a folder should be")
    healthy, place = str(fitted / "healthy"), tmp_path / out
    for words in (
        ["fit", healthy, "--machine", "m", "--out", str(place), "--window", "2s"],
        ["score", str(fitted / "banks" / "pump"), str(fitted / "new"), "--out", str(place / "t.csv")],
        ["watch", str(fitted / "banks" / "pump"), str(fitted / "new"), "--state", str(place)],
    ):
        assert main(words) == 2
        err = capsys.readouterr().err
        assert err.splitlines()[-1].startswith("echobank: ") and "bug" not in err


@pytest.mark.parametrize("command", ["fit", "score", "add", "explain"])
def test_an_interruption_is_one_line_and_leaves_the_old(fitted, bank, tmp_path, capsys, monkeypatch, command):
    file, new = bank_file(bank), str(fitted / "new")
    before = file.read_bytes()
    words = {
        "fit": ["fit", str(fitted / "healthy"), "--machine", "pump", "--out", str(bank.parent), "--window", "2s"],
        "score": ["score", str(bank), new, "--out", str(tmp_path / "t.csv")],
        "add": ["bank", "add", str(bank), new],
        "explain": ["explain", str(bank), f"{new}/bad.wav", "--report", str(tmp_path / "r.html")],
    }[command]
    real = "echobank.machines.listener.Listener.embed"
    monkeypatch.setattr(real, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(words) == 130
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "interrupted" in err
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("[tr].*ml")) and not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize("command", ["fit", "score"])
def test_a_folder_that_disappears_meanwhile_costs_only_what_was_not_heard(
    fitted, tmp_path, capsys, monkeypatch, command
):
    folder = healthy_folder(tmp_path / "healthy", 6, 2.0)
    words = {
        "fit": ["fit", str(folder), "--machine", "m", "--out", str(tmp_path), "--window", "1s"],
        "score": ["score", str(fitted / "banks" / "pump"), str(folder), "--report", str(tmp_path / "r.html")],
    }[command]
    heard = []
    real = WindowSource.pieces

    def vanishing(self):
        yield from real(self)  # one recording is read at a time: it is this one or another that takes the folder away
        heard.append(self.path)
        if len(heard) == 3:
            shutil.rmtree(folder)

    monkeypatch.setattr(WindowSource, "pieces", vanishing)
    monkeypatch.setattr("echobank.models.workers.core_count", lambda: 1)
    assert main(words) == 3
    err = capsys.readouterr().err
    assert [f"0{i}.wav" in err for i in range(6)] == [False] * 3 + [True] * 3
    assert "Traceback" not in err and "bug" not in err


def test_a_clock_that_goes_backwards_changes_no_decision(fitted, tmp_path, capsys, monkeypatch):
    for i in range(4):
        write(tmp_path / "in" / f"{i}.wav", with_tone(hum(4.0, seed=300 + i), 0.0, 4.0))
    said = {}
    for state, step in (("forth", 1), ("back", -1)):
        years = iter(range(2030, 2030 + 1000 * step, step))
        monkeypatch.setattr("echobank.watch.engine._now", lambda years=years: f"{next(years)}-01-01T00:00:00+00:00")
        words = ["watch", str(fitted / "banks" / "pump"), str(tmp_path / "in"), "--state", str(tmp_path / state)]
        assert main([*words, "--once", "--settle", "1ms", "--poll", "5ms", "--heartbeat", "1h"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        said[state] = [(m["kind"], m["id"], m["score"]) for m in lines if m["kind"] != "heartbeat"]
    assert said["forth"] == said["back"] and "open" in {kind for kind, _, _ in said["back"]}


@needs("posix")
def test_only_files_are_recordings(tmp_path):
    write(tmp_path / "deep" / "a.WAV", hum(0.2))
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "nowhere.wav").symlink_to(tmp_path / "none.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "deep" / "a.WAV")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert {name for name, _ in recordings_in(tmp_path)} == {"deep/a.WAV", "link.wav"}
    with pytest.raises(InputError, match="cannot be listed"):
        list(recordings_in(tmp_path / "gone", strict=True))
