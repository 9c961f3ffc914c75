"""What the page reads: all machines, the course of one, and what shows an event."""

import base64
import io
import time

import numpy as np
import pytest
import soundfile

from echobank.machines.explain import explain
from echobank.machines.machine import open_machine
from echobank.machines.trend.summaries import HOUR
from echobank.serve.course import course
from echobank.serve.intake import enrol, now_ms, take_messages
from echobank.serve.schema import clips
from echobank.serve.thinning import thin
from tests.machines.sounds import hum, with_tone
from tests.serve.serving import served, sound
from tests.serve.stored_messages import scored

UPLOAD = "/api/machines/pump/recordings"
DAY = 24 * HOUR


def test_the_overview_has_the_worst_machine_first(service):
    client, _ = service
    odd = {"file": "a.wav", "score": 5.0, "p_value": 0.2, "decision": 0}
    client.post("/api/machines/b/verdicts", json={"threshold": 9.0, "verdicts": [odd, {**odd, "score": 6.0}]})
    client.post("/api/machines/c/verdicts", json={"threshold": 9.0, "verdicts": [{**odd, "p_value": 0.01}]})
    client.post(UPLOAD, content=sound(odd=True))
    told = client.get("/api/overview").json()
    assert [machine["name"] for machine in told["machines"]] == ["pump", "c", "b"]
    pump, _, other = told["machines"]
    assert pump["open_events"] == 1 and pump["open_since"] and pump["last"]["decision"] == 1 and pump["has_bank"]
    assert other["recent"] == [5.0, 6.0] and other["last"]["score"] == 6.0 and not other["has_bank"]


def test_who_asks(service):
    client, _ = service
    client.post(UPLOAD, content=sound(seed=5))
    assert client.get("/api/me").json()["login"] is False
    end = time.monotonic() + 10
    while client.get("/api/me").json()["sequence"] != 3:
        assert time.monotonic() < end
    token = client.post("/api/tokens", json={"name": "gate", "scopes": ["read"]}).json()["token"]
    told = client.get("/api/me", headers={"Authorization": f"Bearer {token}"}).json()
    assert (told["name"], told["scopes"], told["login"]) == ("gate", ["read"], True)


def test_the_course_joins_windows_minutes_and_hours(writer, engine):
    now = now_ms() // HOUR * HOUR
    number = writer.run(lambda connection: enrol(connection, "pump"))
    times = [now - 40 * DAY, now - 40 * DAY + 1000, now - 10 * DAY, now - 3000, now - 2000]
    scores = [1.0, 3.0, 5.0, 7.0, 9.0]
    told = [
        scored(i, ms, score=score, decision=int(score > 4))
        for i, (ms, score) in enumerate(zip(times, scores, strict=True))
    ]
    for message, old in zip(told, (True, True, True, False, False), strict=True):
        writer.run(lambda connection, it=message: take_messages(connection, [it], number, revision=2))
        if old:
            writer.run(lambda connection: thin(connection, now_ms() + 49 * HOUR) and None)
    with engine.connect() as connection:
        year = course(connection, number, now - 365 * DAY, now, 400, now)
        assert [(it["windows"], it["low"], it["mean"], it["high"], it["anomalous"]) for it in year["points"]] == [
            (2, 1.0, 2.0, 3.0, 0),
            (1, 5.0, 5.0, 5.0, 1),
            (2, 7.0, 8.0, 9.0, 2),
        ]
        minute = course(connection, number, now - 2 * HOUR, now, 7200, now)
        assert [(it["at"], it["high"]) for it in minute["points"]] == [(now - 3000, 7.0), (now - 2000, 9.0)]
        assert course(connection, number, now - 11 * DAY, now - DAY, 1000, now)["points"][0]["p_value"] == 0.5
        assert course(connection, number, now - 9 * DAY, now - 5 * DAY, 100, now)["points"] == []


def test_the_course_of_a_machine_over_http(service):
    client, _ = service
    client.post(UPLOAD, content=sound(odd=True))
    path = "/api/machines/pump/course"
    told = client.get(path, params={"since": now_ms() - HOUR, "points": 5000}).json()
    assert sum(point["windows"] for point in told["points"]) == 3 and told["thresholds"][0]["revision"] == 1
    for odd in ({"since": -1}, {"since": "x"}, {"since": 0, "points": 1}, {"since": 1 << 60}):
        assert client.get(path, params=odd).status_code == 422
    assert client.get("/api/machines/none/course", params={"since": 0}).status_code == 404
    assert client.get(path, params={"since": 0, "until": 0}).json()["points"] == []


@pytest.fixture
def event(service):
    client, _ = service
    return client.post(UPLOAD, content=sound(odd=True)).json()["event"]


def test_an_event_is_explained_as_the_command_explains_it(service, settings, event, tmp_path):
    client, _ = service
    (tmp_path / "odd.wav").write_bytes(sound(odd=True))
    expected = explain(open_machine(settings.banks / "pump"), tmp_path / "odd.wav")
    told = client.get(f"/api/events/{event}/explanation").json()
    assert told["sentences"] == list(expected.sentences) and told["window"]["score"] == expected.verdict.score
    assert [region["low_hz"] for region in told["regions"]] == [it.region.low_hz for it in expected.findings]
    shown = client.get(f"/api/events/{event}/spectrograms").json()
    pixels = np.frombuffer(base64.b64decode(shown["odd"]["pixels"]), np.uint8).reshape(shown["odd"]["columns"], -1)
    loud = int(np.argmax(pixels.mean(axis=0)))
    assert pixels.shape == (shown["odd"]["columns"], 128) and shown["low_hz"][loud] < 3000 < shown["high_hz"][loud]
    heard, rate = soundfile.read(io.BytesIO(client.get(f"/api/events/{event}/sounds/odd").content))
    near, _ = soundfile.read(io.BytesIO(client.get(f"/api/events/{event}/sounds/healthy").content))
    ratio = heard.std() / near.std()
    assert rate == 16000 and np.isclose(np.abs(heard).max(), 0.9, atol=1e-3)
    assert np.isclose(ratio, expected.sound.samples.std() / expected.nearest.samples.std(), rtol=1e-3)


def test_an_open_event_shows_its_oddest_recording_until_there_is_an_opinion(service, event):
    client, _ = service
    first = client.get(f"/api/events/{event}").json()
    odder = client.post(UPLOAD, content=odd_sound(0.6), params={"file": "odder.wav"}).json()
    now = client.get(f"/api/events/{event}").json()
    assert odder["event"] == event and now["peak"] == max(it["score"] for it in odder["verdicts"]) > first["peak"]
    assert now["clip"] == odder["clip"] != first["clip"] and now["file"] == "odder.wav"
    assert client.get(f"/api/events/{event}/explanation").json()["clip"] == odder["clip"]
    seen = client.get(f"/api/events/{event}/explanation", params={"clip": first["clip"]}).json()
    assert seen["clip"] == first["clip"] and seen["window"]["score"] < now["peak"]
    client.post(UPLOAD, content=sound(seed=100, odd=True), headers={"Idempotency-Key": "less"})
    assert client.get(f"/api/events/{event}").json()["clip"] == odder["clip"]
    taken = client.post(f"/api/events/{event}/no-fault", json={"clip": first["clip"]}).json()
    assert taken["clip"] == first["clip"]
    client.post(UPLOAD, content=odd_sound(0.8))
    assert client.get(f"/api/events/{event}").json()["clip"] == first["clip"]


def test_a_clip_of_another_machine_is_not_shown(service, event):
    client, running = service
    with running.engine.begin() as connection:
        other = enrol(connection, "other")
        facts = {"file": "x.wav", "kind": "wav", "bytes": 1, "made": 0}
        connection.execute(clips.insert().values(id="theirs", machine=other, **facts))
    for answer in (
        client.get(f"/api/events/{event}/explanation?clip=theirs"),
        client.get(f"/api/events/{event}/sounds/odd?clip=none"),
        client.post(f"/api/events/{event}/no-fault", json={"clip": "theirs"}),
    ):
        assert answer.status_code == 404, answer.text


def test_a_sound_without_its_band_of_speech_is_shown_and_not_explained(settings):
    with served(settings, keeps_speech=False) as (client, _):
        event = client.post(UPLOAD, content=sound(odd=True)).json()["event"]
        told = client.get(f"/api/events/{event}/explanation").json()
        assert len(told["sentences"]) == 1 and "speech" in told["sentences"][0] and told["regions"] == []
        assert client.get(f"/api/events/{event}/sounds/odd").status_code == 200


def odd_sound(level):
    file = io.BytesIO()
    soundfile.write(file, with_tone(hum(4.0, seed=100), 0, 4, level=level), 16_000, format="WAV")
    return file.getvalue()


def test_what_cannot_be_shown_is_said(service, settings, event):
    client, _ = service
    assert client.get(f"/api/events/{event}/sounds/other").status_code == 422
    for what in ("explanation", "spectrograms", "sounds/odd"):
        assert client.get(f"/api/events/none/{what}").status_code == 404
    for clip in (settings.folder / "clips").iterdir():
        clip.unlink()
    assert "no sound" in client.get(f"/api/events/{event}/explanation").json()["error"]


def test_an_explanation_follows_the_bank(service, event):
    client, _ = service
    before = client.get(f"/api/events/{event}/explanation").json()
    client.post(f"/api/events/{event}/no-fault", json={})
    after = client.get(f"/api/events/{event}/explanation").json()
    assert "in_bank" in after["flags"] and after["window"]["score"] < 1e-6 < before["window"]["score"]
    client.post(f"/api/events/{event}/undo")
    assert client.get(f"/api/events/{event}/explanation").json() == before


def test_a_test_alarm_goes_the_way_of_alarms_and_opens_nothing(service):
    client, running = service
    before = running.broadcast.last
    number = client.post("/api/machines/pump/test-alarm").json()["id"]
    (told,) = running.broadcast._held(before)
    assert told.kind == "test" and told.body["id"] == number and told.body["machine"] == "pump"
    assert client.get("/api/events").json() == []
    assert client.get("/api/machines/pump").json()["notes"][0]["action"] == "test alarm"
    assert client.post("/api/machines/none/test-alarm").status_code == 404
