import asyncio
import threading

import pytest
from sqlalchemy import event, func, select, text

from echobank.errors import InputError
from echobank.serve.intake import enrol
from echobank.serve.schema import machines
from echobank.serve.writer import BusyError, FullError, Writer
from tests.serve.conftest import database_of


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


def test_the_witness_sees_each_commit_and_tells_of_it_afterwards(engine):
    seen = []

    def look(connection):
        number = connection.execute(select(func.count()).select_from(machines)).scalar()
        return lambda: seen.append((number, count(engine)))

    def fail(connection):
        enrol(connection, "half")
        raise InputError("no")

    writer = Writer(engine, witness=look)
    writer.run(lambda connection: enrol(connection, "a"))
    with pytest.raises(InputError):
        writer.run(fail)
    writer.run(lambda connection: enrol(connection, "b"))
    writer.close()
    assert seen == [(1, 1), (2, 2)]


def test_items_that_wait_for_the_same_function_are_stored_by_one_call_and_coroutines_get_their_results(writer):
    calls = []

    def store(connection, names):
        calls.append(list(names))
        if "bad" in names:
            raise InputError("no", value="bad")
        return [enrol(connection, name) for name in names]

    async def main():
        go = hold(writer)
        wanted = [asyncio.create_task(writer.stored(store, name)) for name in ("a", "bad", "b", "gone")]
        await asyncio.sleep(0)
        wanted[3].cancel()  # its client is gone; it is stored all the same
        go.set()
        return await asyncio.gather(*wanted, return_exceptions=True)

    a, bad, b, gone = asyncio.run(main())
    writer.run(lambda _: None)
    assert calls == [["a", "bad", "b", "gone"], ["a"], ["bad"], ["b"], ["gone"]]
    assert isinstance(bad, InputError) and isinstance(gone, asyncio.CancelledError)
    assert writer.submit_item(store, "a").result(30) == a != b
    assert writer.run(lambda connection: enrol(connection, "gone")) == b + 1


def test_a_connection_that_is_lost_costs_no_change(request):
    from echobank.serve.database import open_database

    engine = open_database(database_of(request))
    writer, others = Writer(engine), open_database(database_of(request))
    lose = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
    for name in ("a", "b", "c"):  # each tries the connection of the one before
        assert writer.submit(lambda connection, name=name: enrol(connection, name)).result(30)
        with others.begin() as connection:
            assert connection.execute(lose, {"name": engine.url.database}).scalar()
    assert writer.submit(lambda connection: enrol(connection, "d")).result(30) == 4
    writer.close()
    engine.dispose()
    others.dispose()


def test_no_plan_of_an_empty_database_is_kept(request):
    from echobank.serve.database import open_database

    engine = open_database(database_of(request))
    for i in range(20):
        with engine.begin() as connection:
            enrol(connection, f"m{i}")
            assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar() == 0
    engine.dispose()


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
