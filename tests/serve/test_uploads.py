import io
import os
import signal
import socket
import threading

import numpy as np
import pytest
import soundfile
from sqlalchemy import func, select

from echobank.errors import AudioError
from echobank.machines.machine import open_machine
from echobank.machines.score import score_stream
from echobank.serve.schema import events, receipts, windows
from tests.requirements import needs
from tests.serve.serving import served, sound

UPLOAD = "/api/machines/pump/recordings"


def count(service, table):
    with service.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar()


def left(service):
    return sorted(path.name for path in (service.settings.folder / "incoming").iterdir())


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_an_upload_gets_the_scores_of_score(service, settings, tmp_path, kind):
    client, running = service
    content = sound(odd=True, kind=kind)
    path = tmp_path / f"x.{kind.lower()}"
    path.write_bytes(content)
    answer = client.post(UPLOAD, content=content)
    assert answer.status_code == 200, answer.text
    ((*expected,),) = score_stream(open_machine(settings.banks / "pump"), [path])
    told = answer.json()["verdicts"]
    assert [verdict["score"] for verdict in told] == [verdict.score for verdict in expected]
    assert [verdict["p_value"] for verdict in told] == [verdict.p_value for verdict in expected]
    assert answer.json()["anomalous"] == len(expected) == count(running, windows)
    assert left(running) == []


def test_a_repeated_upload_is_answered_alike_and_counted_once(service):
    client, running = service
    content, headers = sound(odd=True), {"Idempotency-Key": "pump-1"}
    answers = [client.post(UPLOAD, content=content, headers=headers).json() for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert count(running, windows) == len(answers[0]["verdicts"])
    assert count(running, events) == count(running, receipts) == 1
    other = client.post(UPLOAD, content=sound(seed=7), headers=headers)
    assert other.status_code == 400 and "was used for something else" in other.json()["error"]


def test_the_same_upload_at_once_is_counted_once(service):
    client, running = service
    content, answers = sound(odd=True), []
    threads = [
        threading.Thread(target=lambda: answers.append(client.post(UPLOAD, content=content).json())) for _ in range(6)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert [answer for answer in answers if answer != answers[0]] == [] and len(answers) == 6
    assert count(running, windows) == len(answers[0]["verdicts"])


def test_a_form_is_taken_and_its_name_is_no_path(service):
    client, running = service
    answer = client.post(UPLOAD, files={"file": ("../../../etc/cron.d/evil.wav", sound())}, data={"note": "x"})
    assert answer.status_code == 200
    assert {verdict["file"] for verdict in answer.json()["verdicts"]} == {"evil.wav"}
    assert left(running) == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 422),
        (b"not a recording" * 100, {}, 422),
        (b"RIFF\xff\xff\xff\x7fWAVEfmt " + bytes(40), {}, 422),
        (b"<html><script>alert(1)</script></html>", {}, 422),
        (b"x", {"Idempotency-Key": "two words"}, 400),
        (b"x", {"Content-Type": "multipart/form-data; boundary=x"}, 400),
    ],
)
def test_what_is_no_recording_is_refused(service, content, headers, status):
    client, running = service
    answer = client.post(UPLOAD, content=content, headers=headers)
    assert answer.status_code == status and "error" in answer.json(), answer.text
    assert left(running) == [] and count(running, windows) == 0


def test_an_unknown_machine_and_an_impossible_time(service):
    client, _ = service
    assert client.post("/api/machines/nobody/recordings", content=sound()).status_code == 404
    assert client.post("/api/machines/..%2F..%2Fetc/recordings", content=sound()).status_code == 404
    assert client.post(UPLOAD, content=sound(), params={"heard": "yesterday"}).status_code == 400


def test_events_open_and_close_by_the_rule(service):
    client, _ = service
    first = client.post(UPLOAD, content=sound(seed=1, odd=True)).json()
    assert first["opened"] == [first["event"]] and first["clip"]
    second = client.post(UPLOAD, content=sound(seed=2, odd=True)).json()
    assert second["event"] == first["event"] and second["opened"] == []
    last = client.post(UPLOAD, content=sound(seed=3)).json()
    assert last["event"] is None and last["clip"] is None
    (event,) = client.get("/api/events").json()
    assert event["id"] == first["event"] and event["closed"] and event["machine"] == "pump"


def test_posted_verdicts_open_events_and_make_machines(service):
    client, running = service
    odd = {"file": "a.wav", "start": 0.0, "seconds": 2.0, "score": 5.0, "p_value": 0.01, "decision": 1}
    body = {"threshold": 2.0, "heard": "2026-01-01T00:00:00Z", "verdicts": [odd, {**odd, "start": 2.0}]}
    url = "/api/machines/mill 3/verdicts"
    answers = [client.post(url, json=body, headers={"Idempotency-Key": "k"}).json() for _ in range(2)]
    assert answers[0] == answers[1] and answers[0]["opened"]
    assert count(running, windows) == 2
    rows = client.get("/api/machines/mill 3/scores").json()
    assert {row["heard"] for row in rows} == {1_767_225_600_000} and {row["score"] for row in rows} == {5.0}
    assert client.post("/api/machines/new/verdicts", json={"verdicts": [odd]}).status_code == 404
    assert client.post(url, json={"verdicts": []}).status_code == 422
    assert client.post(url, content=b'{"threshold": NaN}').status_code == 422


def test_too_large_too_long_and_too_dear_are_refused(settings):
    from echobank.serve.decoder import Limits

    with served(settings, most_bytes=200_000, limits=Limits(seconds=5.0)) as (client, running):
        large = client.post(UPLOAD, content=sound(seconds=20))
        assert large.status_code == 413
        chunked = client.post(UPLOAD, content=iter([bytes(100_000)] * 5))
        assert chunked.status_code == 413
        with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as raw:
            raw.sendall(f"POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10 << 30}\r\n\r\n".encode())
            assert b" 413 " in raw.recv(1000)
        bomb = silence(600)
        assert len(bomb) < 200_000
        long = client.post(UPLOAD, content=bomb)
        assert long.status_code == 422 and "longer than the 5 s" in long.json()["error"]
        assert client.post(UPLOAD, content=sound()).status_code == 200
        assert left(running) == [] and list(running.clips.iterdir()) == []


def silence(seconds):
    """Return FLAC that is small for its length."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(seconds * 16_000, np.int16), 16_000, format="FLAC")
    return file.getvalue()


@needs("posix")
def test_a_decoder_that_hangs_or_dies_is_replaced(tmp_path):
    from echobank.serve.decoder import Decoder, Limits

    (tmp_path / "x.wav").write_bytes(sound())
    decoder = Decoder(Limits(patience=1.0))
    decoder.decode(tmp_path / "x.wav", tmp_path / "y.wav", 0)
    os.kill(decoder._child.pid, signal.SIGSTOP)
    with pytest.raises(AudioError, match="takes too long"):
        decoder.decode(tmp_path / "x.wav", tmp_path / "z.wav", 0)
    assert not (tmp_path / "z.wav").exists()
    for _ in range(2):
        assert decoder.decode(tmp_path / "x.wav", tmp_path / "z.wav", 0).seconds == 4.0
        os.kill(decoder._child.pid, signal.SIGKILL)
        decoder._child.wait()
    decoder.close()


def test_without_clips_no_sound_is_kept(settings):
    with served(settings, keeps_clips=False) as (client, running):
        answer = client.post(UPLOAD, content=sound(odd=True)).json()
        assert answer["event"] and answer["clip"] is None
        assert list(running.clips.iterdir()) == []
        refused = client.post(f"/api/events/{answer['event']}/no-fault", json={})
        assert refused.status_code == 400 and "no sound of this event" in refused.json()["error"]


def test_a_full_queue_answers_503_and_recovers(settings):
    with served(settings, depth=1) as (client, running):
        with running.slot():  # as an upload that takes its time
            refused = client.post(UPLOAD, content=sound())
            assert refused.status_code == 503 and refused.headers["Retry-After"] == "1"
        assert client.post(UPLOAD, content=sound()).status_code == 200
        assert "echobank_dropped_total 1.0" in client.get("/metrics").text


def test_a_full_disk_answers_507_and_everything_else_goes_on(settings):
    with served(settings, least_free=1 << 60) as (client, running):
        refused = client.post(UPLOAD, content=sound())
        assert refused.status_code == 507 and "disk of the service is full" in refused.json()["error"]
        assert client.get("/api/machines").status_code == 200
        assert left(running) == []


def test_two_microphones_are_decoded_both_and_reduced_as_in_a_file(settings, tmp_path):
    from echobank.cli import main
    from tests.machines.sounds import RATE, hum

    def both(seed):
        far = 0.02 * np.random.default_rng(seed).standard_normal(4 * RATE)
        return np.stack([hum(4.0, seed=seed) + 0.5 * np.roll(far, 3), far], axis=1)

    for i in range(6):
        (tmp_path / "healthy").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "healthy" / f"{i}.wav", both(i), RATE)
    words = ["fit", str(tmp_path / "healthy"), "--machine", "pump", "--out", str(settings.banks), "--window", "2s"]
    assert main([*words, "--far", "0.2", "--set", "data.channel=w1"]) == 0
    path = tmp_path / "x.wav"
    soundfile.write(path, both(50), RATE)
    ((*expected,),) = score_stream(open_machine(settings.banks / "pump"), [path])
    with served(settings) as (client, _):
        answer = client.post(UPLOAD, content=path.read_bytes())
        assert answer.status_code == 200, answer.text
        assert [verdict["score"] for verdict in answer.json()["verdicts"]] == [verdict.score for verdict in expected]
        refused = client.post(UPLOAD, content=sound())
        assert refused.status_code == 422 and "w1 needs a near and a far microphone" in refused.json()["error"]
