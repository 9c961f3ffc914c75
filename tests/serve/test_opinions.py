import pytest

from tests.serve.serving import sound

UPLOAD = "/api/machines/pump/recordings"


@pytest.fixture
def event(service):
    client, _ = service
    return client.post(UPLOAD, content=sound(odd=True)).json()["event"]


def test_no_fault_takes_the_sound_as_healthy_and_undo_brings_the_bank_back(service, settings, event):
    client, _ = service
    bank = settings.banks / "pump" / "bank.safetensors"
    before = bank.read_bytes()
    told = client.post(f"/api/events/{event}/no-fault", json={"text": "was the crane"})
    assert told.status_code == 200, told.text
    assert told.json()["opinion"] == "no_fault" and told.json()["note"] == "was the crane"
    assert bank.read_bytes() != before
    (verdict, *_) = client.post(UPLOAD, content=sound(odd=True), headers={"Idempotency-Key": "again"}).json()[
        "verdicts"
    ]
    assert verdict["decision"] == 0 and verdict["score"] < 1e-6 and "in_bank" in verdict["flags"]
    again = client.post(f"/api/events/{event}/no-fault", json={})
    assert again.json()["opinion_revision"] == told.json()["opinion_revision"]
    assert client.post(f"/api/events/{event}/undo").json()["opinion"] is None
    assert bank.read_bytes() == before
    (verdict, *_) = client.post(UPLOAD, content=sound(odd=True), headers={"Idempotency-Key": "third"}).json()[
        "verdicts"
    ]
    assert verdict["decision"] == 1
    actions = [note["action"] for note in client.get("/api/machines/pump").json()["notes"]]
    assert actions == ["undo", "no fault"]


def test_undo_of_an_opinion_refuses_when_the_bank_was_changed_since(service, event):
    client, _ = service
    client.post(f"/api/events/{event}/no-fault", json={})
    assert client.post("/api/machines/pump/rate", json={"rate": 0.2}).status_code == 200
    refused = client.post(f"/api/events/{event}/undo")
    assert refused.status_code == 400 and "changed after that" in refused.json()["error"]
    assert client.post("/api/machines/pump/undo").status_code == 200
    assert client.post(f"/api/events/{event}/undo").status_code == 200


def test_a_rate_changes_the_threshold_and_an_impossible_one_is_refused(service):
    client, _ = service
    before = client.get("/api/machines/pump").json()
    after = client.post("/api/machines/pump/rate", json={"rate": 0.3}).json()
    assert after["threshold"] < before["threshold"] and after["rate"] == 0.3
    assert client.post("/api/machines/pump/rate", json={"rate": 1e-6}).status_code == 400
    assert client.post("/api/machines/pump/rate", json={"rate": 2}).status_code == 422
    assert client.get("/api/machines/pump").json()["threshold"] == after["threshold"]


def test_a_muted_sound_opens_no_event_until_it_changes(service, event):
    client, _ = service
    assert client.post(f"/api/events/{event}/mute", json={}).json()["muted"]
    client.post(UPLOAD, content=sound(seed=5))
    client.post(UPLOAD, content=sound(seed=6))
    assert client.get("/api/events").json()[0]["closed"]


def test_a_paused_machine_is_heard_and_does_not_alarm(service):
    client, _ = service
    assert client.post("/api/machines/pump/pause", json={"seconds": 60}).json()["paused_until"]
    assert client.post(UPLOAD, content=sound(odd=True)).json()["event"] is None
    assert {row["quiet"] for row in client.get("/api/machines/pump/scores").json()} == {"paused"}
    client.post("/api/machines/pump/resume")
    assert client.post(UPLOAD, content=sound(seed=9, odd=True)).json()["event"]


def test_acknowledge_and_confirm_are_kept(service, event):
    client, _ = service
    assert client.post(f"/api/events/{event}/acknowledge", json={"text": "seen"}).json()["acknowledged"]
    assert client.post(f"/api/events/{event}/confirm", json={}).json()["opinion"] == "fault"
    assert client.get(f"/api/events/{event}").json()["note"] == "seen"
    assert client.post("/api/events/none/confirm", json={}).status_code == 404


def test_the_sound_of_an_event_is_what_was_sent_and_ranges_work(service, event):
    client, _ = service
    clip = client.get(f"/api/events/{event}").json()["clip"]
    whole = client.get(f"/api/clips/{clip}")
    assert whole.content == sound(odd=True) and whole.headers["content-type"] == "audio/wav"
    part = client.get(f"/api/clips/{clip}", headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == whole.content[10:20]
    for trick in ("..%2Fechobank.db", "%2Fetc%2Fpasswd", "..", f"{clip}.wav", "%00"):
        assert client.get(f"/api/clips/{trick}").status_code == 404


def test_machines_are_listed_worst_first(service):
    client, _ = service
    odd = {"file": "a.wav", "score": 5.0, "p_value": 0.2, "decision": 0}
    client.post("/api/machines/b/verdicts", json={"threshold": 9.0, "verdicts": [odd]})
    client.post("/api/machines/c/verdicts", json={"threshold": 9.0, "verdicts": [{**odd, "p_value": 0.01}]})
    client.post(UPLOAD, content=sound(odd=True))
    assert [machine["name"] for machine in client.get("/api/machines").json()] == ["pump", "c", "b"]
