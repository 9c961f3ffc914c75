"""Watch: settled files only, nothing lost or repeated by restarts, clocks that go back, folders that go away."""

import argparse
import csv
import json
import os
import shutil

import pytest

from echobank.cli import main
from echobank.cli.own import seconds, seconds_from_zero
from echobank.errors import InputError
from echobank.machines.machine import open_machine
from echobank.watch.engine import Watch, WatchSettings
from echobank.watch.feeds.folder_feed import FolderFeed
from echobank.watch.sinks.csv_file import CsvSink
from echobank.watch.sinks.lines import LineSink
from tests.machines.sounds import hum, with_tone, write
from tests.watch.watching import SETTINGS, SETTLE, names, settle


def test_only_settled_files_are_read(place):
    start, clock, receiver, folder = place
    watch = start()
    write(folder / "a.wav", hum(2.0))
    assert watch.step() == 0
    clock.now += 4
    assert watch.step() == 0
    write(folder / "a.wav", hum(3.0))
    clock.now += 4
    assert watch.step() == 0
    clock.now += 6
    assert watch.step() == 1
    clock.now += 6
    assert watch.step() == 0
    assert names(receiver) == ["a.wav"]


def test_a_restart_at_any_point_loses_and_repeats_nothing(place, tmp_path):
    start, clock, receiver, folder = place
    for i in range(6):
        write(folder / f"{i}.wav", with_tone(hum(4.0, seed=300 + i), 0.0, 4.0) if i in (2, 3) else hum(4.0, seed=i))
    for _ in range(12):
        watch = start()
        watch.step()
        clock.now += 6
        receiver.broken = not receiver.broken
        watch.step()
        clock.now += 100
    receiver.broken = False
    settle(start(), clock)
    kinds = [m["kind"] for m in receiver.taken]
    ids = [m["id"] for m in receiver.taken]
    assert len(ids) == len(set(ids))
    assert kinds.count("score") == 18 and kinds.count("open") == 1 and kinds.count("close") == 1


def test_the_same_name_with_new_content_is_a_new_recording(place):
    start, clock, receiver, folder = place
    watch = start()
    for seed in (0, 1):
        path = write(folder / "latest.wav", hum(2.0, seed=seed))
        os.utime(path, (1e9 - seed, 1e9 - seed))  # the wall clock went back
        assert settle(watch, clock) == 1
    assert names(receiver) == ["latest.wav", "latest.wav"]
    assert len({m["id"] for m in receiver.taken}) == len(receiver.taken)


def test_a_file_that_grows_while_it_is_read_waits_again(place, monkeypatch):
    start, clock, receiver, folder = place
    watch = start()
    path = write(folder / "a.wav", hum(2.0))
    listener = type(watch._judge.machine.listener)
    embed = listener.embed

    def growing(self, samples, **settings):
        write(path, hum(3.0))
        monkeypatch.undo()
        return embed(self, samples, **settings)

    monkeypatch.setattr(listener, "embed", growing)
    assert settle(watch, clock) == 0
    assert receiver.taken == []
    assert settle(watch, clock) == 1


def test_a_folder_that_goes_and_comes_back(place):
    start, clock, receiver, folder = place
    watch = start()
    write(folder / "a.wav", hum(2.0))
    settle(watch, clock)
    away = folder.with_name("away")
    folder.rename(away)
    assert settle(watch, clock) == 0
    assert "the folder is gone" in watch.troubles[0]
    away.rename(folder)
    write(folder / "b.wav", hum(2.0, seed=1))
    assert settle(watch, clock) == 1
    assert watch.troubles == ()
    assert names(receiver) == ["a.wav", "b.wav"]


def test_a_bad_file_is_told_once(place):
    start, clock, receiver, folder = place
    (folder / "a.wav").write_text("no sound")
    settle(start(), clock)
    settle(start(), clock)
    assert [m["kind"] for m in receiver.taken] == ["error"]
    assert receiver.taken[0]["error"]


def test_csv_rows_are_there_exactly_once_even_when_killed_before_the_cursor_moved(place, tmp_path):
    start, clock, _, folder = place
    table = tmp_path / "rows.csv"
    write(folder / "a.wav", hum(4.0))
    settle(start(CsvSink(table)), clock)
    whole = table.read_bytes()
    (cursor,) = (tmp_path / "state").glob("csv-rows.csv-*.cursor.json")
    facts = json.loads(cursor.read_text())
    cursor.write_text(json.dumps({**facts, "offset": 0, "mark": 0}))  # as if killed between row and cursor
    with table.open("ab") as stream:
        stream.write(b"torn")
    settle(start(CsvSink(table)), clock)
    assert table.read_bytes() == whole
    with table.open(newline="") as stream:
        assert [row["kind"] for row in csv.DictReader(stream)] == ["score"] * 3


def test_a_long_journal_is_started_over_and_nothing_is_forgotten(place, monkeypatch):
    start, clock, receiver, folder = place
    monkeypatch.setattr("echobank.watch.state._LONG_JOURNAL", 10)
    for i in range(3):
        write(folder / f"{i}.wav", hum(2.0, seed=i))
        settle(start(), clock)
    (folder / "0.wav").unlink()
    settle(start(), clock)
    settle(start(), clock)
    assert names(receiver) == ["0.wav", "1.wav", "2.wav"]


def test_a_bank_that_is_changed_is_taken_up(fitted, bank, place):
    start, clock, receiver, folder = place
    watch = start(bank=bank)
    strange = with_tone(hum(2.0, seed=101), 0.0, 2.0)
    write(folder / "a.wav", strange)
    settle(watch, clock)
    assert main(["bank", "add", str(bank), str(folder / "a.wav")]) == 0
    shutil.copy(folder / "a.wav", folder / "b.wav")
    settle(watch, clock)
    assert [m["decision"] for m in receiver.taken if m["kind"] == "score"] == [1, 0]


def test_heartbeats_tell_troubles_and_are_not_kept(place):
    start, clock, receiver, folder = place
    watch = start(settings=WatchSettings(heartbeat=10.0))
    watch.step()
    clock.now += 5
    watch.step()
    folder.rmdir()
    clock.now += 6
    watch.step()
    beats = [m for m in receiver.taken if m["kind"] == "heartbeat"]
    assert [len(m["troubles"]) for m in beats] == [0, 1]


def test_one_watch_a_state_and_one_folder(place, fitted, tmp_path):
    start, clock, _, folder = place
    start()
    feed = lambda folder: FolderFeed(folder, SETTLE, clock)  # noqa: E731
    machine = open_machine(fitted / "banks" / "pump")
    with pytest.raises(InputError, match="another watch is running"):
        Watch(machine, fitted / "banks" / "pump", feed(folder), tmp_path / "state", [], SETTINGS, clock)
    start().close()
    with pytest.raises(InputError, match="belongs to another watch"):
        Watch(machine, fitted / "banks" / "pump", feed(fitted / "new"), tmp_path / "state", [], SETTINGS, clock)
    with pytest.raises(InputError, match="no such folder"):
        feed(tmp_path / "none")


def test_only_new_leaves_out_what_lies_there(place):
    start, clock, receiver, folder = place
    write(folder / "old.wav", hum(2.0))
    watch = start(settings=WatchSettings(heartbeat=0, only_new=True))
    write(folder / "new.wav", hum(2.0))
    settle(watch, clock)
    assert names(receiver) == ["new.wav"]


def test_lines_are_json(place, capsys):
    start, clock, _, folder = place
    write(folder / "a.wav", hum(2.0))
    settle(start(LineSink()), clock)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["score"]


def test_messages_tell_when_the_recording_was_made_and_when_it_was_heard(place):
    start, clock, receiver, folder = place
    path = write(folder / "a.wav", hum(2.0))
    os.utime(path, (1_600_000_000.25, 1_600_000_000.25))
    settle(start(), clock)
    assert receiver.taken[0]["file_time"] == "2020-09-13T12:26:40.250+00:00" < receiver.taken[0]["time"]


def test_the_command_says_what_it_watches_and_what_came_of_it(fitted, tmp_path, capsys):
    words = ["watch", str(fitted / "banks" / "pump"), str(fitted / "new"), "--state", str(tmp_path / "state")]
    assert main([*words, "--once", "--settle", "1ms", "--poll", "5ms", "--k-of-n", "2/3"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["kind"] for line in out.splitlines()].count("open") == 1
    first, last = err.splitlines()
    assert "0 recordings done" in first and "2 of 3 windows above" in first
    assert last.startswith("stopped; pump in") and "2 recordings done, an event is open" in last


@pytest.mark.parametrize(
    ("text", "expected"), [("10", 10.0), ("500ms", 0.5), ("2 min", 120.0), ("1.5h", 5400.0), ("0", 0.0)]
)
def test_lengths_of_time(text, expected):
    assert seconds_from_zero(text) == expected


@pytest.mark.parametrize("text", ["", "-1s", "ten", "1d", "0.0ms"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="not a length of time"):
        seconds(text)
