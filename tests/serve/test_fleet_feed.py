"""Verdicts of a fleet in the service's database: every window once, events at the time of their recordings."""

import os
import shutil

import pytest
from sqlalchemy import func, select

from echobank.cli import main
from echobank.errors import EXIT_ANOMALIES, EXIT_BAD_INPUT
from echobank.serve.schema import events, machines, messages, windows
from tests.fleet.support import small_fleet
from tests.fleet.test_banks import HerePool
from tests.fleet.test_embed import embed
from tests.machines.sounds import hum, write

DAY = "2026-03-02"
MOMENT = 1_700_000_000  # seconds since 1970


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """Return a source, its dataset, and the command that scores its second day by banks of the first."""
    pytest.importorskip("pyarrow", reason="no Ray")
    monkeypatch.setattr("echobank.cli.fleet._pool_of", lambda make, args: HerePool(make()))
    source = small_fleet(tmp_path / "in", machines=2, days=2, clips=12)
    for number, path in enumerate(sorted((source / "pump1" / DAY).iterdir(), key=lambda path: int(path.stem))):
        os.utime(path, (MOMENT + 60 * number, MOMENT + 60 * number))
    dataset, banks, out = tmp_path / "dataset", tmp_path / "banks", tmp_path / "verdicts"
    embed(source, dataset)
    assert main(["fleet", "fit", str(dataset), "--out", str(banks), "--days", "2026-03-01"]) == 0
    score = ["fleet", "score", str(dataset), "--banks", str(banks), "--out", str(out), "--days", DAY, "--database"]
    return source, dataset, score


def test_every_window_arrives_once_and_an_event_opens_when_it_was_recorded(fleet, url, engine, tmp_path, capsys):
    source, dataset, score = fleet
    assert main([*score, url]) == EXIT_ANOMALIES
    assert "72 windows new in the database" in capsys.readouterr().err
    with engine.connect() as connection:
        counts = connection.execute(
            select(machines.c.name, func.count()).join(windows, windows.c.machine == machines.c.id).group_by("name")
        ).all()
        assert sorted(map(tuple, counts)) == [("pump0", 36), ("pump1", 36)]
        heard = connection.execute(
            select(func.max(windows.c.heard)).where(windows.c.file.endswith(f"pump1/{DAY}/11.wav"))
        ).scalar_one()
        assert heard == 1000 * (MOMENT + 60 * 11)
        (event,) = connection.execute(select(events).where(events.c.file.endswith(f"pump1/{DAY}/11.wav"))).all()
        assert event.opened == heard and event.closed is None
        state = connection.execute(select(machines.c.rule, machines.c.threshold).order_by(machines.c.id)).all()

    assert main([*score, url]) == EXIT_ANOMALIES
    shutil.rmtree(tmp_path / "verdicts" / "fed")  # as if the program had been killed before it noted what it did
    assert main([*score, url]) == EXIT_ANOMALIES
    assert capsys.readouterr().err.count("0 windows new in the database") == 2
    write(source / "pump1" / DAY / "late.wav", hum(4.0, seed=5, speed=45))
    embed(source, dataset)
    main([*score, url])
    assert "3 windows new in the database" in capsys.readouterr().err
    with engine.connect() as connection:
        after = connection.execute(select(machines.c.rule, machines.c.threshold).order_by(machines.c.id)).all()
        assert after[0] == state[0] and after[1] != state[1]
        ids = connection.execute(select(messages.c.id)).scalars().all()
        assert len(ids) == len(set(ids))
        assert connection.execute(select(func.count()).select_from(windows)).scalar_one() == 75


def test_a_paused_machine_opens_no_event(fleet, url, engine):
    from echobank.serve.intake import enrol, now_ms

    with engine.begin() as connection:
        enrol(connection, "pump1", {"paused_until": now_ms() + 10**7})
    main([*fleet[2], url])
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(events)).scalar_one() == 0
        quiet = select(func.count()).select_from(windows).where(windows.c.quiet == "paused")
        assert connection.execute(quiet).scalar_one() == 36


def test_a_database_that_cannot_be_used_is_one_line_before_any_work(fleet, tmp_path, capsys):
    assert main([*fleet[2], f"sqlite:///{tmp_path}/no/such/folder.db"]) == EXIT_BAD_INPUT
    said = capsys.readouterr().err.strip()
    assert "the database cannot be used" in said and "\n" not in said
    assert not (tmp_path / "verdicts").exists()
