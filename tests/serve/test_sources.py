"""Sources that the service listens to and watches by itself."""

import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from echobank.cli import main
from echobank.serve import running_source
from echobank.serve.schema import sources, windows
from tests.machines.sounds import hum, with_tone, write
from tests.requirements import needs
from tests.serve.serving import free_port, process, served, sound
from tests.serve.sources import declare, radio, source, wait_for

FOLDER = {"machine": "pump", "settle": 0.2}


def fill(folder, count, *, odd=False, first=0):
    for i in range(first, first + count):
        samples = hum(4.0, seed=200 + i)
        write(folder / f"{i:03d}.wav", with_tone(samples, 0, 4.0, level=0.2) if odd else samples)


def counted(engine, table, *which):
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table).where(*which)).scalar()


@pytest.fixture
def landing(settings, tmp_path):
    """Return a folder that the service watches."""
    folder = tmp_path / "landing"
    folder.mkdir()
    declare(settings.folder, line={**FOLDER, "watch": str(folder)})
    return folder


def test_a_watched_folder_gives_what_uploads_give(settings, landing):
    fill(landing, 2)
    with served(settings) as (client, running):
        wait_for(lambda: counted(running.engine, windows) >= 6)
        sent = client.post("/api/machines/pump/recordings", content=(landing / "000.wav").read_bytes()).json()
        rows = client.get("/api/machines/pump/scores").json()
        heard = sorted((row for row in rows if row["file"] == "000.wav"), key=lambda row: row["start"])
        assert [row["score"] for row in heard] == [verdict["score"] for verdict in sent["verdicts"]]
        assert {row["revision"] for row in rows} == {1}
        fill(landing, 2, odd=True, first=2)
        (event,) = wait_for(lambda: client.get("/api/events").json())
        clip = client.get(f"/api/clips/{event['clip']}")
        assert clip.content == (landing / event["file"]).read_bytes()
        assert client.post(f"/api/events/{event['id']}/mute", json={}).status_code == 200
        learned = client.post(f"/api/events/{event['id']}/no-fault", json={})
        assert learned.status_code == 200 and learned.json()["opinion_revision"] == 2
        wait_for(lambda: source(client, "line")["pieces"] == 4)
        told = source(client, "line")
        assert told["state"] == "running" and told["place"] == str(landing)
        assert client.get("/api/machines").json()[0]["sources"][0]["name"] == "line"


@needs("ffmpeg")
def test_a_stream_is_heard_and_the_sound_of_its_event_kept(settings):
    with radio() as address:
        declare(settings.folder, hall={"machine": "pump", "listen": address})
        with served(settings) as (client, _):
            (event,) = wait_for(lambda: client.get("/api/events").json(), 60)
            told = source(client, "hall")
            assert told["place"] == address.partition("?")[0] and "secret" not in client.get("/api/sources").text
            assert told["pieces"] > 0 and told["silence"] < 5
            names = {row["file"] for row in client.get("/api/machines/pump/scores").json()}
            assert names == {"hall"}
        with served(settings) as (client, _running):  # the clip was finished when the service ended
            clip = client.get(f"/api/clips/{event['clip']}")
            assert clip.status_code == 200, clip.text
            path = settings.folder / "clip.flac"
            path.write_bytes(clip.content)
            samples, rate = soundfile.read(path)
            spectrum = np.abs(np.fft.rfft(samples[-rate:]))
            assert abs(np.argmax(spectrum[100:]) + 100 - 3000) <= 1


def test_one_bad_source_stops_no_other(settings, landing, tmp_path, monkeypatch):
    monkeypatch.setattr(running_source, "_FIRST_WAIT", 0.05)
    late = tmp_path / "late"
    declare(
        settings.folder,
        line={**FOLDER, "watch": str(landing)},
        gone={**FOLDER, "watch": str(late)},
        nobody={**FOLDER, "machine": "mill", "watch": str(landing)},
    )
    fill(landing, 1)
    with served(settings) as (client, running):
        wait_for(lambda: counted(running.engine, windows) == 3)
        wait_for(lambda: source(client, "gone")["starts"] >= 3)
        gone, nobody = source(client, "gone"), source(client, "nobody")
        assert gone["state"] == nobody["state"] == "failed" and 0 < gone["retry"] <= 60
        assert "no such folder" in gone["troubles"][0] and "no machine of this name" in nobody["troubles"][0]
        assert source(client, "line")["state"] == "running"
        troubles = wait_for(lambda: client.get("/api/machines/pump").json()["troubles"])
        assert [trouble["text"] for trouble in troubles] == [f"gone: {gone['troubles'][0]}"]
        with client.stream("GET", "/api/stream", headers={"Last-Event-ID": "0"}) as stream:
            assert "event: source" in iter(stream.iter_lines())
        families = text_string_to_metric_families(client.get("/metrics").text)
        up = {s.labels["source"]: s.value for f in families for s in f.samples if s.name == "echobank_source_up"}
        assert up == {"line": 1.0, "gone": 0.0, "nobody": 0.0}
        fill(late, 1)
        wait_for(lambda: source(client, "gone")["state"] == "running")
        wait_for(lambda: counted(running.engine, windows) == 6)
        wait_for(lambda: not client.get("/api/machines/pump").json()["troubles"])


def test_a_source_that_fails_is_started_ever_less_often(monkeypatch):
    waits = []
    monkeypatch.setattr(running_source, "_LONGEST_WAIT", 8.0)

    def build(_):
        raise ValueError("driver")

    declared = running_source.DeclaredSource("x", "pump", listen="mic")
    it = running_source.RunningSource(declared, build, lambda it: waits.append(it.status.retry))
    it._ended.wait = lambda seconds: len(waits) > 40 and it.stop()
    it._run()
    pauses = [wait for wait in waits if wait]
    assert 0.5 <= pauses[0] <= 1.0 and all(4.0 <= wait <= 8.0 for wait in pauses[6:]) and len(set(pauses)) > 8
    assert it.status.state == "stopped"


def test_sources_come_and_go_through_the_api(settings, tmp_path):
    folder = tmp_path / "landing"
    fill(folder, 1)
    body = {"name": "line", "machine": "pump", "watch": str(folder), "settle": 0.2}
    with served(settings) as (client, running):
        added = client.post("/api/sources", json=body)
        assert added.status_code == 201 and added.json()["name"] == "line"
        assert client.post("/api/sources", json=body).status_code == 400
        wait_for(lambda: counted(running.engine, windows) == 3)
        assert counted(running.engine, sources) == 1
    assert (settings.folder / "serve.yaml").stat().st_mode & 0o777 == 0o600
    with served(settings) as (client, running):
        wait_for(lambda: source(client, "line")["state"] == "running")
        assert client.delete("/api/sources/line").status_code == 200
        assert client.delete("/api/sources/line").status_code == 404
        assert client.get("/api/sources").json() == [] and counted(running.engine, sources) == 0
        assert counted(running.engine, windows) == 3
        assert yaml.safe_load((settings.folder / "serve.yaml").read_text()) == {"sources": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"},
        {"name": ""},
        {"machine": "nobody"},
        {"watch": "", "listen": "-"},
        {"watch": "", "listen": "file:///etc/passwd"},
        {"listen": "mic"},
        {"settle": -1},
        {"settle": 1e300},
        {"schedule": "always"},
    ],
)
def test_an_impossible_source_is_refused_and_not_written_down(service, change):
    client, running = service
    body = {"name": "line", "machine": "pump", "watch": "/tmp", **change}
    answer = client.post("/api/sources", json=body)
    assert answer.status_code in (400, 422), answer.text
    assert not (running.settings.folder / "serve.yaml").exists() and client.get("/api/sources").json() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sources: [", "not YAML"),
        ("source: {}", "not a mapping with the key sources alone: 'source'"),
        ("sources: {a: {machine: pump, listen: mic}, a: {machine: pump, listen: mic}}", "the key a comes twice"),
        ("sources: {a: {machine: pump, listen: mic, wach: x}}", "no such key: 'wach'"),
        ("sources: {a: {machine: pump, listen: mic, rate: fast}}", "rate is no int: 'fast'"),
        ("sources: {a: {machine: pump, listen: 'ftp://user:word@host/x'}}", "no such source: 'host/x'"),
        ("sources: {a: {machine: pump, listen: '-'}}", "no such source: '-'"),
        ("sources: {a: {machine: pump}}", "a source either listens or watches"),
        ("sources: {a: {listen: mic}}", "a source needs a machine"),
        ("sources: {'a b': {machine: pump, listen: mic}}", "not a name of a source: 'a b'"),
        ("sources: {a: {machine: pump, listen: mic, schedule: later}}", "not a schedule: 'later'"),
        ("sources: {a: !!python/object/apply:os.system [true]}", "not YAML"),
    ],
)
def test_a_wrong_file_is_one_line(bank, tmp_path, capsys, text, said):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "serve.yaml").write_text(text)
    assert main(["serve", str(bank.parent), "--data", str(tmp_path / "data")]) == 2
    error = capsys.readouterr().err
    assert said in error and "serve.yaml" in error and error.count("\n") == 1


def test_a_pause_of_the_machine_holds_for_its_sources(settings, landing):
    with served(settings) as (client, running):
        wait_for(lambda: source(client, "line")["state"] == "running")
        assert client.post("/api/machines/pump/pause", json={"seconds": 600}).status_code == 200
        fill(landing, 2, odd=True)
        wait_for(lambda: counted(running.engine, windows, windows.c.quiet == "paused") == 6)
        assert client.get("/api/events").json() == []


@needs("posix")
def test_kills_lose_and_double_nothing_of_a_folder(bank, tmp_path, url):
    from echobank.serve.database import open_database

    landing, data, port = tmp_path / "landing", tmp_path / "data", free_port()
    fill(landing, 30)
    declare(data, line={**FOLDER, "watch": str(landing)})
    arguments = (bank.parent, "--data", data, "--database", url)
    engine = open_database(url)
    for kill in range(4):
        with process(*arguments, port=port) as (child, client):
            aim = 90 if kill == 3 else min(90, counted(engine, windows) + 12)
            wait_for(lambda aim=aim: counted(engine, windows) >= aim, 60)
            child.kill()
    with process(*arguments, port=port) as (_, client):
        wait_for(lambda: source(client, "line")["state"] == "running")
        fill(landing, 1, first=30)
        wait_for(lambda: counted(engine, windows) >= 93)
    with engine.connect() as connection:
        found = connection.execute(select(windows.c.file, windows.c.start)).all()
    engine.dispose()
    assert len(found) == len(set(found)) == 93


def test_uploads_and_sources_share_the_encoder(settings, landing):
    """An upload is answered while a folder of many recordings is read."""
    fill(landing, 100)
    with served(settings) as (client, _):
        client.post("/api/machines/pump/recordings", content=sound())  # the decoder is there
        wait_for(lambda: source(client, "line")["pieces"] >= 1)
        assert client.post("/api/machines/pump/recordings", content=sound(seed=3)).status_code == 200
        assert source(client, "line")["pieces"] < 100


def test_a_stop_does_not_wait_for_what_hangs(settings, landing, monkeypatch):
    from echobank.serve import listening

    monkeypatch.setattr(listening, "_STOP_SECONDS", 0.5)
    running_source_step = listening.Watch.step

    def hang(watch, stop):
        time.sleep(5)
        return running_source_step(watch, stop)

    monkeypatch.setattr(listening.Watch, "step", hang)
    with served(replace(settings)) as (client, _):
        wait_for(lambda: source(client, "line")["starts"] == 1)
        begun = time.monotonic()
    assert time.monotonic() - begun < 4
