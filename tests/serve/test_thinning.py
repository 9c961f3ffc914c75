import math
import random
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from echobank.machines.trend.summaries import HOUR, MINUTES_FOR, WINDOWS_FOR, cell, describe, join, lower_edge
from echobank.serve.intake import enrol, take_messages
from echobank.serve.schema import hours, messages, minutes, windows
from echobank.serve.thinning import thin
from tests.serve.stored_messages import scored

BEGIN = 472_222 * HOUR  # a whole hour in November 2023


def fill(writer, count, *, seed=0, begin=BEGIN, offset=0):
    """Store `count` windows within two hours, received when they were heard, and return their scores."""
    rng = random.Random(seed)
    machine = writer.run(partial(enrol, name="pump"))
    scores = [rng.lognormvariate(0, 1) for _ in range(count)]
    story = [
        scored(offset + i, begin + i * 2 * HOUR // count, score=score, decision=int(score > 2), nearest=f"{i % 7}.wav")
        for i, score in enumerate(scores)
    ]
    writer.run(partial(take_messages, taken=story, machine=machine))
    writer.run(lambda c: c.execute(update(windows).values(received=windows.c.heard)) and None)
    return scores


def every(engine, table):
    with engine.connect() as connection:
        return connection.execute(select(table).order_by(table.c.begins)).all()


def test_nothing_is_thinned_within_48_hours(engine, writer):
    fill(writer, 50)
    assert writer.run(partial(thin, now=BEGIN + WINDOWS_FOR)) == 0
    assert every(engine, hours) == [] and every(engine, minutes) == []


def test_summaries_hold_what_the_windows_held(engine, writer):
    scores = fill(writer, 240)
    assert writer.run(partial(thin, now=BEGIN + WINDOWS_FOR + 3 * HOUR)) == 240
    with engine.connect() as connection:
        assert connection.execute(select(windows)).all() == []
    for table, number in ((hours, 2), (minutes, 120)):
        rows = every(engine, table)
        assert len(rows) == number
        assert sum(row.windows for row in rows) == 240
        assert sum(row.anomalous for row in rows) == sum(score > 2 for score in scores)
        assert math.isclose(sum(row.score["sum"] for row in rows), math.fsum(scores))
        assert sum(sum(row.score["cells"].values()) for row in rows) == 240
    first = sorted(scores[:120])
    assert every(engine, hours)[0].score["quantiles"] == [
        first[math.ceil(q * 119)] for q in (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    ]
    assert every(engine, hours)[0].level == {"count": 120, "sum": -2400.0, "least": -20.0, "most": -20.0}
    assert len(every(engine, hours)[0].nearest) == 5


def test_windows_thinned_in_parts_come_to_the_same_counts(engine, writer):
    scores = fill(writer, 240)
    parts = []
    while (done := writer.run(partial(thin, now=BEGIN + WINDOWS_FOR + 3 * HOUR, at_once=50))) > 0:
        parts.append(done)
    assert parts == [50, 50, 50, 50, 40]
    rows = every(engine, hours)
    assert [row.windows for row in rows] == [120, 120]
    for row, part in zip(rows, (scores[:120], scores[120:]), strict=True):
        assert row.score["cells"] == describe(part)["cells"]
        exact = describe(part)["quantiles"]
        assert row.score["quantiles"][0] == exact[0] and row.score["quantiles"][-1] == exact[-1]
        assert row.score["quantiles"][3] == pytest.approx(exact[3], rel=0.05)


def test_a_late_window_is_added_to_its_own_hour(engine, writer):
    fill(writer, 100)
    writer.run(partial(thin, now=BEGIN + WINDOWS_FOR + 3 * HOUR))
    fill(writer, 10, seed=1, offset=1000)
    writer.run(partial(thin, now=BEGIN + WINDOWS_FOR + 3 * HOUR))
    assert sum(row.windows for row in every(engine, hours)) == 110


def test_minutes_end_after_30_days_and_hours_stay(engine, writer):
    fill(writer, 100)
    writer.run(partial(thin, now=BEGIN + WINDOWS_FOR + 3 * HOUR))
    writer.run(partial(thin, now=BEGIN + MINUTES_FOR + 3 * HOUR))
    assert every(engine, minutes) == []
    assert sum(row.windows for row in every(engine, hours)) == 100


@given(st.floats(1e-12, 1e12))
def test_a_cell_holds_its_values(value):
    number = cell(value)
    assert lower_edge(number) <= value * (1 + 1e-12) and value < lower_edge(number + 1) * (1 + 1e-12)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1), st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_joined_histograms_are_those_of_the_joined_values(one, two):
    joined, whole = join(describe(one), describe(two)), describe(one + two)
    assert joined["cells"] == whole["cells"] and joined["count"] == whole["count"]
    assert (joined["quantiles"][0], joined["quantiles"][-1]) == (whole["quantiles"][0], whole["quantiles"][-1])
    assert joined["quantiles"] == sorted(joined["quantiles"])


def test_an_hour_of_zeros_and_an_empty_one():
    assert describe([0.0, 0.0])["cells"] == {"-1024": 2}
    assert describe([]) is None
    assert join(None, None) is None
    assert join(describe([0.0]), describe([0.0]))["quantiles"] == [0.0] * 7


def test_what_is_deleted_at_once_is_bounded(engine, writer):
    """A service that was away for months must not hold up everybody while it catches up."""
    fill(writer, 300)
    writer.run(lambda c: c.execute(update(messages).values(at=BEGIN + messages.c.sequence)) and None)
    late = BEGIN + MINUTES_FOR + 100 * HOUR
    rounds, left = [], [300]
    while (done := writer.run(partial(thin, now=late, at_once=100))) > 0:
        rounds.append(done)
        with engine.connect() as connection:
            left.append(connection.execute(select(func.count()).select_from(messages)).scalar())
    assert max(rounds) <= 100 and left[-1] == 0
    assert all(0 < before - after <= 100 for before, after in pairwise(left) if before)


def test_it_goes_on_while_the_service_runs(settings, monkeypatch):
    from echobank.serve import service as running_service
    from tests.serve.serving import served
    from tests.serve.sources import wait_for

    monkeypatch.setattr(running_service, "_THIN_EVERY", 0.1)
    body = {"threshold": 9.0, "verdicts": [{"file": "a.wav", "score": 1.0, "p_value": 0.5, "decision": 0}]}
    with served(settings) as (client, running):
        for number in range(5):
            key = {"Idempotency-Key": f"k{number}"}
            assert client.post("/api/machines/mill/verdicts", json=body, headers=key).status_code == 200
        old = {"received": windows.c.received - WINDOWS_FOR - HOUR}
        running.writer.run(lambda connection: connection.execute(update(windows).values(**old)) and None)
        rows = wait_for(lambda: client.get("/api/machines/mill/scores", params={"step": "hours"}).json())
        assert sum(row["windows"] for row in rows) == 5
        assert client.get("/api/machines/mill/scores").json() == []
