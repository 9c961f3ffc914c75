import random

import pytest
from sqlalchemy import event, select

from echobank.errors import InputError
from echobank.machines.verdict import Verdict
from echobank.serve.reception import Parcel, settle, settled
from echobank.serve.schema import clips, events, machines, messages, receipts, windows
from echobank.watch.rule import Rule

NOW = 1_700_000_000_000


def parcel(name, key, scores, clip=None):
    verdicts = tuple(
        Verdict(f"{key}.wav", 2.0 * i, 2.0, score, 0.5, 50.0, int(score > 2)) if score else Verdict(key, error="broken")
        for i, score in enumerate(scores)
    )
    row = {"id": clip, "machine": 1, "file": f"{clip}.flac", "kind": "flac", "bytes": 9, "seconds": 2.0, "made": NOW}
    return Parcel(
        name=name,
        key=key,
        digest=f"hash of {key}",
        heard="2026-01-01T00:00:00+00:00",
        verdicts=verdicts,
        nuisances=("",) * len(verdicts),
        rule=Rule(2, 3, 2.0, 1.5),
        revision=4,
        clip=row if clip else None,
    )


def day(seed):
    """Return a day of three machines whose events open and close, where some clients send again what they have sent."""
    rng = random.Random(seed)
    sent = []
    for number in range(60):
        scores = [rng.choice([0, 1.0, 1.0, 3.0, 4.0 + number]) for _ in range(rng.randint(1, 3))]
        sent.append(parcel(rng.choice(["pump", "fan", "mill"]), f"k{number}", scores, f"c{number}" * (number % 7 == 0)))
        if rng.random() < 0.2:
            sent.append(rng.choice(sent))
    return sent


def contents(connection):
    names = dict(connection.execute(select(machines.c.id, machines.c.name)).all())
    found = {}
    for table in (clips, events, machines, messages, receipts, windows):
        order = messages.c.sequence if table is messages else list(table.primary_key)[-1]
        rows = [dict(row) for row in connection.execute(select(table).order_by(order)).mappings()]
        for row in rows:
            row.pop("sequence", None)  # PostgreSQL gives no number twice
            row["machine"] = names[row.pop("id")] if table is machines else names[row["machine"]]
        found[table.name] = sorted(rows, key=lambda row: row["machine"])
    return found


@pytest.mark.parametrize("seed", range(3))
def test_parcels_together_leave_what_one_after_the_other_leaves(engine, monkeypatch, seed):
    for room in ("intake", "reception"):
        monkeypatch.setattr(f"echobank.serve.{room}.now_ms", lambda: NOW)
    sent, both = day(seed), []
    with engine.begin() as connection:
        settle(connection, [parcel("pump", "first", [1.0])])  # so that clips have a machine
    with engine.connect() as connection:
        for size in (1, 13):
            with connection.begin() as change:
                answers = [
                    answer for i in range(0, len(sent), size) for answer in settle(connection, sent[i : i + size])
                ]
                both.append((answers, contents(connection)))
                change.rollback()
    assert both[0] == both[1]
    answers, left = both[0]
    assert [answer["key"] for answer in answers] == [one.key for one in sent]
    stored = {one.key: len(one.verdicts) for one in sent}
    assert (len(left["receipts"]), len(left["windows"])) == (len(stored) + 1, sum(stored.values()) + 1)
    assert left["events"] and any(event["closed"] for event in left["events"])


def test_a_key_that_comes_again_with_something_else_is_refused_within_one_commit_too(engine):
    first, other = parcel("pump", "k", [1.0]), parcel("pump", "other", [1.0])
    clash = Parcel(**{**vars(first), "digest": "of something else"})
    with engine.begin() as connection, pytest.raises(InputError, match="something else"):
        settle(connection, [first, other, clash])
    with engine.begin() as connection:
        settle(connection, [parcel("pump", "last", [1.0])])
        assert settled(connection, "pump", "last", "hash of last")["anomalous"] == 0
        assert settled(connection, "fan", "last", "hash of last") is None


def test_many_parcels_of_many_machines_take_as_many_statements_as_one(engine):
    def sent(key, many):
        return [parcel(f"m{i}", f"{key}{i}", [1.0, 1.0]) for i in range(many)]

    counts = []
    with engine.begin() as connection:
        settle(connection, sent("first", 20))
        event.listen(connection, "before_cursor_execute", lambda *_: counts.append(counts.pop() + 1))
        totals = []
        for key, many in (("one", 1), ("twenty", 20)):
            counts[:] = [0]
            settle(connection, sent(key, many))
            totals += counts
    assert totals == [5, 5]


def test_a_key_is_of_one_machine(engine):
    with engine.begin() as connection:
        answers = settle(connection, [parcel("pump", "k", [1.0]), parcel("fan", "k", [3.0])])
        assert [answer["anomalous"] for answer in answers] == [0, 1]
        assert settle(connection, [parcel("fan", "k", [3.0]), parcel("pump", "k", [1.0])]) == answers[::-1]
