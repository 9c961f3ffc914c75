import threading

import pytest
from sqlalchemy import event, func, select

from echobank.errors import InputError
from echobank.serve.intake import enrol
from echobank.serve.schema import machines
from echobank.serve.writer import BusyError, FullError, Writer


def count(engine):
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(machines)).scalar()


def hold(writer):
    """Keep the writer busy until the event that is returned is set."""
    begun, go = threading.Event(), threading.Event()

    def wait(_):
        begun.set()
        assert go.wait(30)

    writer.submit(wait)
    assert begun.wait(30)
    return go


def test_an_answer_comes_after_the_commit(engine, writer):
    assert writer.run(lambda connection: enrol(connection, "pump")) == 1
    assert count(engine) == 1


def test_changes_that_wait_are_committed_together(engine, writer):
    commits = []
    event.listen(engine, "commit", commits.append)
    go = hold(writer)
    futures = [writer.submit(lambda connection, i=i: enrol(connection, f"m{i}")) for i in range(100)]
    go.set()
    assert len({future.result(30) for future in futures}) == 100
    assert count(engine) == 100
    assert len(commits) == 2  # the one that was held, and the hundred


def test_a_change_that_fails_spoils_no_other(engine, writer):
    def fail(connection):
        enrol(connection, "half")
        raise InputError("no")

    go = hold(writer)
    futures = [
        writer.submit(change)
        for change in (lambda connection: enrol(connection, "a"), fail, lambda connection: enrol(connection, "b"))
    ]
    go.set()
    with pytest.raises(InputError):
        futures[1].result(30)
    assert futures[0].result(30) and futures[2].result(30)
    with engine.connect() as connection:
        assert set(connection.execute(select(machines.c.name)).scalars()) == {"a", "b"}


def test_a_full_queue_refuses_and_recovers(engine):
    writer = Writer(engine, depth=2)
    go = hold(writer)
    futures = [writer.submit(lambda connection, i=i: enrol(connection, f"m{i}")) for i in range(2)]
    with pytest.raises(BusyError, match="too many changes wait"):
        writer.submit(lambda connection: enrol(connection, "one too many"))
    go.set()
    assert [future.result(30) for future in futures]
    assert writer.run(lambda connection: enrol(connection, "later"))
    writer.close()
    assert count(engine) == 3


def test_closing_makes_what_waits_and_refuses_what_comes(engine):
    writer = Writer(engine)
    go = hold(writer)
    futures = [writer.submit(lambda connection, i=i: enrol(connection, f"m{i}")) for i in range(20)]
    go.set()
    writer.close()
    assert all(future.done() for future in futures) and count(engine) == 20
    with pytest.raises(BusyError, match="stopping"):
        writer.run(lambda connection: enrol(connection, "too late"))


def test_listeners_are_called_after_each_commit(engine):
    seen = []

    def look(connection):
        seen.append(connection.execute(select(func.count()).select_from(machines)).scalar())

    writer = Writer(engine, committed=look)
    writer.run(lambda connection: enrol(connection, "a"))
    writer.run(lambda connection: enrol(connection, "b"))
    writer.close()
    assert seen == [1, 2]


def test_a_database_that_may_not_grow_says_so_and_recovers(tmp_path):
    from echobank.serve.database import open_database

    engine = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    pages = []
    event.listen(engine, "begin", lambda connection: pages and connection.exec_driver_sql(pages[0]))
    writer = Writer(engine)
    writer.run(lambda connection: enrol(connection, "a"))
    pages.append("PRAGMA max_page_count = 1")  # SQLite takes the present size as the least
    with pytest.raises(FullError, match="its disk is full"):
        writer.run(lambda connection: enrol(connection, "b", {"bank": "x" * 100_000}))
    assert count(engine) == 1
    pages[0] = "PRAGMA max_page_count = 100000"
    assert writer.run(lambda connection: enrol(connection, "b", {"bank": "x" * 100_000}))
    writer.close()
    engine.dispose()
