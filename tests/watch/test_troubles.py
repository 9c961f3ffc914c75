"""Watch in trouble: full disks, long backlogs, huge folders, banks that no longer fit."""

import csv

import pytest

from echobank.cli import main
from echobank.watch.engine import WatchSettings
from echobank.watch.sinks.csv_file import CsvSink
from tests.machines.sounds import full_disk, hum, write
from tests.watch.watching import names, settle


def test_a_full_disk_is_a_trouble_and_nothing_is_lost_or_doubled(place, tmp_path):
    start, clock, receiver, folder = place
    watch = start(CsvSink(tmp_path / "rows.csv"))
    write(folder / "a.wav", hum(2.0))
    settle(watch, clock)
    write(folder / "b.wav", hum(2.0, seed=1))
    with full_disk((tmp_path / "state" / "journal.jsonl").stat().st_size + 20):
        assert settle(watch, clock) == 0
        assert "cannot write the journal" in watch.troubles[0] and "trying again" in watch.troubles[0]
        assert not watch.idle
    assert settle(watch, clock) == 1
    assert watch.troubles == () and watch.idle
    assert names(receiver) == ["a.wav", "b.wav"]
    with (tmp_path / "rows.csv").open(newline="") as stream:
        assert [row["file"] for row in csv.DictReader(stream)] == ["a.wav", "b.wav"]


def test_a_long_backlog_does_not_silence_the_heartbeat_nor_the_stop(place, monkeypatch):
    start, clock, receiver, folder = place
    for i in range(6):
        write(folder / f"{i}.wav", hum(2.0, seed=i))
    watch = start(settings=WatchSettings(heartbeat=10.0))
    real = type(watch._judge.machine.listener).hear

    def slow(self, paths, **settings):
        for heard in real(self, paths, **settings):
            clock.now += 4
            yield heard

    monkeypatch.setattr(type(watch._judge.machine.listener), "hear", slow)
    watch.step()
    clock.now += 6
    assert watch.step(lambda: len(names(receiver)) == 4) == 4
    assert [m["files"] for m in receiver.taken if m["kind"] == "heartbeat"] == [0, 1, 4]
    assert settle(watch, clock) == 2


def test_a_huge_folder_gets_rests_between_looks(place):
    start, _, _, folder = place
    watch = start()
    ticks = iter(range(1000))
    watch._feed.landing._clock = lambda: float(next(ticks))
    watch._feed.landing.look({})
    assert watch.rest == pytest.approx(9.0)
    assert folder.is_dir()


def test_what_lies_in_the_folder_may_be_more_than_a_journal_is_long(place, monkeypatch, tmp_path):
    start, clock, _, folder = place
    watch = start()
    monkeypatch.setattr("echobank.watch.state._LONG_JOURNAL", 2000)
    for i in range(60):
        write(folder / f"{i:040d}.wav", hum(0.2, seed=i))
    settle(watch, clock)
    journal = tmp_path / "state" / "journal.jsonl"
    assert journal.stat().st_size > 2000 and len(journal.read_text().splitlines()) == 1
    before = journal.read_bytes()
    for _ in range(3):
        settle(watch, clock)
    assert journal.read_bytes() == before  # started over it would have another name in its first line


def test_a_bank_that_no_longer_fits_is_a_trouble_and_is_read_once(fitted, bank, place, monkeypatch):
    start, clock, _, folder = place
    watch = start(bank=bank)
    fit = ["fit", str(fitted / "healthy"), "--machine", "pump", "--out", str(bank.parent)]
    assert main([*fit, "--window", "1s"]) == 0
    loads = []
    from echobank.watch import judge

    real = judge.load_bank
    monkeypatch.setattr(judge, "load_bank", lambda path: loads.append(path) or real(path))
    write(folder / "a.wav", hum(2.0))
    assert settle(watch, clock) == 1
    assert len(loads) == 1 and "restart the watch" in watch.troubles[0]
    assert main(["bank", "undo", str(bank)]) == 0
    watch.step()
    assert watch.troubles == ()
    (bank / "bank.safetensors").write_bytes(b"no bank")
    watch.step()
    assert "cannot be used" in watch.troubles[0]
