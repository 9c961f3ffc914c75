"""What `watch`, `listen` and `score` keep of months, and how it is read again."""

import csv
import io
import json

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.data.sound_facts import NAMES, OTHER, in_decibels
from echobank.machines.machine import open_machine
from echobank.machines.trend.reservoir import read_reservoir
from echobank.machines.trend.trend_reader import rows_in
from echobank.watch.engine import Watch, WatchSettings
from echobank.watch.feeds.folder_feed import FolderFeed
from tests.machines.sounds import hum, with_tone, write
from tests.watch.deliveries import Clock
from tests.watch.watching import SETTLE, Receiver, settle


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def ids_told(receiver):
    return [message["id"] for message in receiver.taken if message["kind"] in ("score", "error")]


@pytest.fixture
def watching(fitted, tmp_path):
    """Return a function that starts a watch with a trend; it watches tmp_path/landing."""
    folder = tmp_path / "landing"
    folder.mkdir()
    started = []

    def start(state="state", trend=tmp_path / "trend"):
        import dataclasses

        for old in started:
            old.close()
        machine = open_machine(fitted / "banks" / "pump")
        machine = dataclasses.replace(machine, listener=dataclasses.replace(machine.listener, facts=True))
        clock, receiver = Clock(), Receiver()
        feed = FolderFeed(folder, SETTLE, clock)
        bank, settings = fitted / "banks" / "pump", WatchSettings(heartbeat=0)
        watch = Watch(machine, bank, feed, tmp_path / state, [receiver], settings, clock, trend=trend)
        started[:] = [watch]
        return watch, clock, receiver

    yield start
    for old in started:
        old.close()


def test_a_watch_keeps_every_window_under_the_id_of_its_message(watching, tmp_path):
    watch, clock, receiver = watching()
    for i in range(3):
        write(tmp_path / "landing" / f"{i}.wav", hum(seed=50 + i))
    (tmp_path / "landing" / "bad.wav").write_bytes(b"RIFF")
    settle(watch, clock)
    watch.close()
    found = list(rows_in(tmp_path / "trend", "windows"))
    assert sorted(row["id"] for row in found) == sorted(ids_told(receiver)) and len(found) > 3
    assert [row["file"] for row in found if row["error"]] == ["bad.wav"]
    scored = [row for row in found if not row["error"]]
    told = {message["id"]: message for message in receiver.taken}
    assert all(row["score"] == told[row["id"]]["score"] and row["level_dbfs"] is not None for row in scored)
    levels = in_decibels(np.array([row["facts"] for row in scored]))
    assert levels.shape == (len(scored), len(NAMES)) and (levels[:, 0] < -20).all()
    assert len(read_reservoir(tmp_path / "trend" / "sample")) == len(scored)


def test_a_watch_that_starts_over_keeps_nothing_twice(watching, tmp_path):
    write(tmp_path / "landing" / "0.wav", hum(seed=50))
    watch, clock, _ = watching("one")
    settle(watch, clock)
    watch, clock, receiver = watching("two")
    settle(watch, clock)
    watch.close()
    assert sorted(row["id"] for row in rows_in(tmp_path / "trend", "windows")) == sorted(ids_told(receiver))


def test_a_trend_that_cannot_be_kept_is_a_trouble_and_stops_nothing(watching, tmp_path, monkeypatch):
    from echobank.errors import OutputError
    from echobank.machines.trend.trend_store import TrendStore

    watch, clock, receiver = watching()
    write(tmp_path / "landing" / "0.wav", hum(seed=50))

    def full(self, windows):
        raise OutputError("cannot write (no space left on device)")

    with monkeypatch.context() as patch:
        patch.setattr(TrendStore, "take", full)
        settle(watch, clock)
    assert ids_told(receiver) and any("the trend is not kept" in trouble for trouble in watch.troubles)
    write(tmp_path / "landing" / "1.wav", hum(seed=51))
    settle(watch, clock)
    assert not watch.troubles and [row["file"] for row in rows_in(tmp_path / "trend", "windows")]


def test_score_keeps_the_same_windows_once_however_often_it_runs(fitted, bank, tmp_path, capsys):
    trend = str(bank / "trend")
    for _ in range(2):
        assert main(["score", str(bank), str(fitted / "new"), "--trend", trend]) == 1
    table = rows(capsys.readouterr().out)
    assert main(["trend", str(bank), "--step", "windows"]) == 0
    told = rows(capsys.readouterr().out)
    assert len(told) == len({row["id"] for row in told}) == len(table) / 2 - 0.5  # two tables, one more header
    assert {row["score"] for row in told} == {row["score"] for row in table} - {"score"}
    assert all(len(json.loads(row["facts"])) == len(NAMES) for row in told)


def test_score_into_a_table_keeps_the_trend_too_and_other_results_stay(fitted, bank, tmp_path):
    new = str(fitted / "new")
    assert main(["score", str(bank), new, "--out", str(tmp_path / "a.csv")]) == 1
    assert main(["score", str(bank), new, "--out", str(tmp_path / "b.csv"), "--trend", str(tmp_path / "t")]) == 1
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert len(list(rows_in(tmp_path / "t", "windows"))) == len(rows((tmp_path / "a.csv").read_text()))


def test_another_revision_of_the_bank_is_another_window(fitted, bank, tmp_path):
    new, trend = str(fitted / "new" / "good.wav"), str(tmp_path / "t")
    assert main(["score", str(bank), new, "--trend", trend]) == 0
    assert main(["bank", "calibrate", str(bank), "--far", "10%"]) == 0
    main(["score", str(bank), new, "--trend", trend])
    assert sorted({row["revision"] for row in rows_in(tmp_path / "t", "windows")}) == [1, 2]


def test_recordings_of_the_bank_are_no_part_of_the_sample(fitted, bank, tmp_path):
    assert main(["score", str(bank), str(fitted / "healthy" / "00.wav"), "--trend", str(tmp_path / "t")]) == 0
    assert all("in_bank" in row["flags"] for row in rows_in(tmp_path / "t", "windows"))
    assert read_reservoir(tmp_path / "t" / "sample") == []


def test_a_swapped_channel_of_a_file_shows_in_the_facts(fitted, bank, tmp_path):
    near, far = hum(seed=60), 0.1 * hum(seed=61)
    for name, pair in (("as_it_was", (near, far)), ("swapped", (far, near))):
        soundfile.write(tmp_path / f"{name}.wav", np.stack(pair, axis=1), 16_000, subtype="FLOAT")
        main(["score", str(bank), str(tmp_path / f"{name}.wav"), "--trend", str(tmp_path / name)])
    facts = {
        name: in_decibels(np.array([row["facts"] for row in rows_in(tmp_path / name, "windows")])).mean(axis=0)
        for name in ("as_it_was", "swapped")
    }
    other = NAMES.index(OTHER)
    assert facts["as_it_was"][other] < facts["swapped"][other] - 15


def test_listen_keeps_two_channels_from_its_ring(fitted, bank, tmp_path, monkeypatch):
    """A program writes stereo to standard input; the second channel is ten times quieter."""
    import subprocess
    import sys

    near = hum(20.0, seed=70)
    both = np.stack([near, 0.1 * near], axis=1)
    data = (both * 32767).astype("<i2").tobytes()
    trend = tmp_path / "t"
    command = [sys.executable, "-m", "echobank", "listen", str(bank), "-", "--rate", "16000", "--channels", "2"]
    done = subprocess.run(
        [*command, "--trend", str(trend), "--quiet"], input=data, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    found = list(rows_in(trend, "windows"))
    facts = in_decibels(np.array([row["facts"] for row in found]))
    assert len(found) >= 15
    level = np.array([row["level_dbfs"] for row in found])
    assert np.abs(level - facts[:, NAMES.index(OTHER)] - 20).max() < 0.5


def test_trend_prints_what_the_service_has(fitted, bank, tmp_path, capsys):
    from functools import partial

    from echobank.serve.database import embedded, open_database
    from echobank.serve.intake import enrol, take_messages
    from echobank.serve.writer import Writer
    from tests.serve.stored_messages import scored

    data = tmp_path / "data"
    data.mkdir()
    engine = open_database(embedded(data))
    writer = Writer(engine)
    machine = writer.run(partial(enrol, name="pump"))
    writer.run(partial(take_messages, taken=[scored(i, score=float(i)) for i in range(5)], machine=machine))
    writer.close()
    engine.dispose()
    assert main(["trend", str(bank), "--data", str(data), "--step", "windows"]) == 0
    assert [float(row["score"]) for row in rows(capsys.readouterr().out)] == [0, 1, 2, 3, 4]
    assert main(["trend", str(bank), "--database", embedded(data), "--step", "windows", "--since", "2030-01-01"]) == 0
    assert rows(capsys.readouterr().out) == []
    assert main(["trend", str(bank), "--data", str(tmp_path / "none")]) == 2
    assert main(["trend", str(bank), "--database", "mysql://x/y"]) == 2


def test_trend_says_where_there_is_none(bank, tmp_path, capsys):
    assert main(["trend", str(bank)]) == 2
    assert "there is no trend here" in capsys.readouterr().err
    assert main(["trend", str(bank), "--trend", str(tmp_path)]) == 2


def test_trend_goes_to_a_file_or_to_json_lines(fitted, bank, tmp_path, capsys):
    main(["score", str(bank), str(fitted / "new" / "good.wav"), "--trend", str(bank / "trend")])
    capsys.readouterr()
    assert main(["trend", str(bank), "--step", "windows", "--out", str(tmp_path / "w.csv")]) == 0
    table = rows((tmp_path / "w.csv").read_text())
    capsys.readouterr()
    assert main(["trend", str(bank), "--step", "windows", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in table] == [row["id"] for row in lines]
    assert main(["trend", str(bank), "--out", str(tmp_path / "w.txt")]) == 2


def test_tones_of_an_anomaly_are_in_the_sample_for_their_score(fitted, bank, tmp_path):
    write(tmp_path / "bad.wav", with_tone(hum(seed=101), 1.0, 2.5))
    main(["score", str(bank), str(tmp_path / "bad.wav"), "--trend", str(tmp_path / "t")])
    sample = read_reservoir(tmp_path / "t" / "sample")
    assert any(one.window.decision for one in sample)
