import json
import threading
import time

from prometheus_client.parser import text_string_to_metric_families

from echobank.serve.intake import enrol
from tests.serve.serving import sound

VERDICTS = {"threshold": 9.0, "verdicts": [{"file": "a.wav", "score": 1.0, "p_value": 0.5, "decision": 0}]}


def post(client, number):
    answer = client.post("/api/machines/mill/verdicts", json=VERDICTS, headers={"Idempotency-Key": f"k{number}"})
    assert answer.status_code == 200


def read(client, wanted, headers=None, ready=None, params=None):
    """Return (number, message) of the first messages of the stream."""
    found, number = [], None
    with client.stream("GET", "/api/stream", headers=headers, params=params) as answer:
        for line in answer.iter_lines():
            if line.startswith("retry:") and ready:
                ready.set()
            if line.startswith("id: "):
                number = int(line[4:])
            if line.startswith("data: "):
                found.append((number, json.loads(line[6:])))
                if len(found) == wanted:
                    break
    return found


def test_what_was_missed_is_replayed_exactly(service):
    client, _ = service
    for number in range(20):
        post(client, number)
    everything = read(client, 20, {"Last-Event-ID": "0"})
    assert [number for number, _ in everything] == sorted({number for number, _ in everything})
    assert read(client, 12, {"Last-Event-ID": str(everything[7][0])}) == everything[8:]
    assert read(client, 12, params={"after": everything[7][0]}) == everything[8:]


def test_the_replay_reaches_back_before_a_restart(settings):
    from tests.serve.serving import served

    with served(settings) as (client, _):
        post(client, 1)
    with served(settings) as (client, _):
        post(client, 2)
        assert [message["kind"] for _, message in read(client, 2, {"Last-Event-ID": "0"})] == ["score", "score"]


def test_listeners_get_every_message_as_it_comes(service):
    client, running = service
    found, ready = [], [threading.Event() for _ in range(10)]
    listeners = [
        threading.Thread(target=lambda event=event: found.append(read(client, 50, ready=event))) for event in ready
    ]
    [listener.start() for listener in listeners]
    assert all(event.wait(20) for event in ready)
    while running.broadcast.listeners < 10:
        time.sleep(0.01)
    for number in range(50):
        post(client, number)
    [listener.join(30) for listener in listeners]
    assert len(found) == 10 and all(one == found[0] for one in found) and len(found[0]) == 50


def test_metrics_are_read_by_prometheus_own_parser(service):
    client, _ = service
    client.post("/api/machines/pump/recordings", content=sound(odd=True))
    answer = client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    values = {(s.name, s.labels.get("machine")): s.value for f in families.values() for s in f.samples}
    assert values["echobank_open_events", "pump"] == 1
    assert values["echobank_score", "pump"] > values["echobank_threshold", "pump"]
    assert values["echobank_upload_seconds_count", None] == 1
    assert values["echobank_disk_free_bytes", None] > 0
    assert client.get("/readyz").json()["ready"] is True


def test_metrics_name_200_machines_and_count_the_others(service):
    client, running = service

    def many(connection):
        for number in range(230):
            enrol(connection, f"m{number}")

    running.writer.run(many)
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    named = {sample.labels["machine"] for sample in families["echobank_open_events"].samples}
    assert len(named) == 200 and "pump" in named
    assert families["echobank_machines"].samples[0].value == 231
    assert families["echobank_machines_left_out"].samples[0].value == 31
