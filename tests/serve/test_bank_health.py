"""What the service says of its banks after months."""

import json

import numpy as np
import pytest

from echobank.machines.trend.summaries import HOUR, summary_of
from echobank.serve.bank_health import WEEK, BankHealth
from echobank.serve.intake import now_ms
from echobank.serve.schema import events, hours
from echobank.watch.events import message_from
from tests.machines.trend.heardlike import windows

DAY = 24 * HOUR


def fill_hours(service, *, rise=0.0, days=120):
    """Store hours of a machine up to now, with scores that rise by a step twenty days ago."""
    import dataclasses

    number, rng = service.numbers["pump"], np.random.default_rng(0)
    begin = (now_ms() // DAY - days) * DAY
    rows = []
    for i in range(days * 24):
        taken = windows(4, begin=begin + i * HOUR, every=HOUR // 4, seed=i)
        shift = float(np.exp(0.05 * rng.standard_normal() + rise * (i >= (days - 20) * 24)))
        scores = [
            dataclasses.replace(w, score=0.0001 * shift * (1 + 0.05 * rng.standard_normal()), decision=0) for w in taken
        ]
        rows.append({"machine": number, "begins": begin + i * HOUR, "revision": 1, **summary_of(scores)})
    service.writer.run(lambda connection: connection.execute(hours.insert(), rows) and None)


def messages_of(client):
    from sqlalchemy import select

    from echobank.serve.schema import messages

    _, service = client
    with service.engine.connect() as connection:
        rows = connection.execute(select(messages).order_by(messages.c.sequence)).all()
    return [row.body for row in rows if row.kind == "bank_health"]


def test_with_little_heard_it_says_so(service):
    client, _ = service
    told = client.get("/api/machines/pump/checkup").json()
    assert told["verdict"] == "too little" and told["findings"][0]["kind"] == "too_little"
    assert client.get("/api/machines/other/checkup").status_code == 404


def test_a_change_is_in_the_checkup_and_a_message_once_a_week(service):
    client, inside = service
    fill_hours(inside, rise=0.7)
    told = client.get("/api/machines/pump/checkup").json()
    assert told["verdict"] == "look" and told["findings"][0]["about"] == "scores"
    assert told["findings"][0]["values"]["score_ratio"] == pytest.approx(np.exp(0.7), rel=0.1)
    (message,) = messages_of(service)
    assert message["sentence"] == told["findings"][0]["sentence"] and message["verdict"] == "look"
    assert message_from(message).to_values() == message
    health: BankHealth = inside_health(service)
    for days in (1, 3, 6):
        health.look(now_ms() + days * DAY)
    assert len(messages_of(service)) == 1
    health.look(now_ms() + WEEK + DAY)
    assert len(messages_of(service)) == 2


def test_a_steady_machine_raises_no_message_and_its_heartbeat_says_good(service):
    client, inside = service
    fill_hours(inside)
    assert client.get("/api/machines/pump/checkup").json()["verdict"] == "good"
    assert messages_of(service) == [] and inside.health_of("pump") == "good"


def test_a_checkup_is_kept_for_an_hour_and_over_a_restart(service):
    client, inside = service
    first = client.get("/api/machines/pump/checkup").json()
    assert client.get("/api/machines/pump/checkup").json() == first
    health = inside_health(service)
    later = health.checkup("pump", first["made"] + 2 * HOUR)
    assert later["made"] == first["made"] + 2 * HOUR
    file = inside.settings.folder / "health" / "pump.json"
    file.write_text("{")
    assert health.verdict("pump") == "" and client.get("/api/machines/pump/checkup").status_code == 200
    assert json.loads(file.read_text())["checkup"]["verdict"] == "too little"


def test_what_users_said_of_events_is_part_of_it(service):
    client, inside = service
    fill_hours(inside)
    begin = now_ms() - 30 * DAY
    rows = [
        {"id": f"e{i}", "machine": inside.numbers["pump"], "kind": "sound", "opened": begin + i * DAY, "peak": 1.0}
        | {"opinion": "no_fault" if i < 5 else "fault", "revision": 1, "file": "", "nearest": "", "note": ""}
        for i in range(6)
    ]
    inside.writer.run(lambda connection: connection.execute(events.insert(), rows) and None)
    findings = client.get("/api/machines/pump/checkup").json()["findings"]
    (feedback,) = [it for it in findings if it["about"] == "feedback"]
    assert feedback["values"]["no_fault"] == 5 and feedback["values"]["confirmed"] == 1
    assert feedback["level"] == "warning" and "5 were marked as no fault" in feedback["evidence"][0]


def test_the_trend_that_lies_with_the_bank_is_taken_where_there_is_one(service, settings):
    from echobank.machines.trend.trend_store import TrendStore

    client, _ = service
    store = TrendStore(settings.banks / "pump" / "trend")
    store.take(windows(50, begin=now_ms() - DAY))
    store.close()
    assert client.get("/api/machines/pump/checkup").json()["windows"] == 50


def inside_health(service):
    _, inside = service
    health = inside.health_of.__self__
    assert isinstance(health, BankHealth)
    return health


def test_ntfy_and_mail_have_words_for_it():
    from echobank.watch.events import BankHealthChanged
    from echobank.watch.sinks.notice import NOTICES, notice_of

    message = BankHealthChanged(
        id="1", machine="pump", time="t", verdict="look", about="machine", finding="slow", sentence="it changed"
    )
    notice = notice_of(message)
    assert "bank_health" in NOTICES and notice.title.startswith("pump") and notice.text.startswith("It changed.")
