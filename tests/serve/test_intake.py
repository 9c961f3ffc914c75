from functools import partial

import pytest
from sqlalchemy import func, select

from echobank.serve.database_sink import DatabaseSink
from echobank.serve.intake import enrol, note_troubles, take_messages, to_ms
from echobank.serve.schema import events, machines, messages, troubles, windows
from echobank.watch.sinks.sink import SinkError
from tests.serve.stored_messages import closed, opened, scored


def rows(engine, table, *order):
    with engine.connect() as connection:
        return connection.execute(select(table).order_by(*order)).all()


def test_every_message_is_taken_once(engine, writer):
    machine = writer.run(partial(enrol, name="pump"))
    start = opened(2)
    story = [scored(1), scored(2, score=9.0, decision=1), start, closed(3, start.event)]
    for _ in range(3):
        writer.run(partial(take_messages, taken=story, machine=machine))
    assert writer.run(partial(take_messages, taken=[*story, scored(4)], machine=machine)) == 1
    assert len(rows(engine, windows)) == 3
    assert [row.kind for row in rows(engine, messages, messages.c.sequence)] == [
        *("score", "score", "open", "close", "score")
    ]
    (event,) = rows(engine, events)
    assert (event.peak, event.windows, event.threshold) == (9.5, 4, 2.0)
    assert (event.opened, event.closed) == (1_700_000_000_000, 1_700_000_060_000)


def test_enrolling_again_keeps_the_number(engine, writer):
    first = writer.run(partial(enrol, name="pump"))
    assert writer.run(partial(enrol, name="pump", facts={"threshold": 3.0})) == first
    assert writer.run(partial(enrol, name="pump")) == first
    assert rows(engine, machines)[0].threshold == 3.0


def test_the_sink_is_a_sink_of_the_outbox(engine, writer, place):
    from tests.machines.sounds import hum, with_tone, write

    start, clock, _, folder = place
    sink = DatabaseSink(writer, "pump")
    watch = start(sink)
    for i in range(3):
        write(folder / f"{i}.wav", with_tone(hum(seed=i), 0, 4, level=0.2))
    settle(watch, clock, sink, engine, 9)
    (event,) = rows(engine, events)
    assert event.closed is None and event.machine == 1
    watch.close()
    again = start(sink)  # delivers what is not marked; nothing comes twice
    settle(again, clock, sink, engine, 9)
    assert len(rows(engine, windows)) == 9


def settle(watch, clock, sink, engine, wanted):
    import time

    watch.step()
    clock.now += 6
    end = time.monotonic() + 30
    while time.monotonic() < end:
        watch.step()
        with engine.connect() as connection:
            if connection.execute(select(func.count()).select_from(windows)).scalar() >= wanted and watch.idle:
                return
        time.sleep(0.02)
    raise AssertionError("the messages did not arrive")


def test_a_service_that_stops_keeps_the_message_in_the_outbox(writer):
    writer.close()
    with pytest.raises(SinkError, match="stopping"):
        DatabaseSink(writer, "pump").send([scored(1)])


def test_troubles_begin_once_and_end(engine, writer):
    machine = writer.run(partial(enrol, name="pump"))
    for present, at in ((["a", "a"], 10), (["a", "b"], 20), (["b"], 30), ([], 40), (["a"], 50)):
        writer.run(partial(note_troubles, machine=machine, present=present, at=at))
    found = [(row.text, row.since, row.until) for row in rows(engine, troubles, troubles.c.id)]
    assert found == [("a", 10, 30), ("b", 20, 40), ("a", 50, None)]


def test_a_time_without_a_zone_is_not_guessed():
    assert to_ms("2026-01-01T00:00:00+00:00", 7) == 1_767_225_600_000
    assert to_ms("2026-01-01T00:00:00", 7) == 7
    assert to_ms("yesterday", 7) == 7
