"""A disk that is full, a quota, and clips that are too old: uploads are refused in time, everything else goes on."""

import os
import time

import pytest
from sqlalchemy import func, select

from echobank.cli import main
from echobank.serve.schema import clips
from tests.serve.serving import free_port, process, served, sound
from tests.serve.small_disk import small_disk
from tests.serve.sources import wait_for

UPLOAD = "/api/machines/pump/recordings"
VERDICTS = {"threshold": 9.0, "verdicts": [{"file": "a.wav", "score": 1.0, "p_value": 0.5, "decision": 0}]}


def upload_until_refused(client):
    """Upload anomalous recordings of 384 kB, and return the answers and how one was refused."""
    answers = []
    for number in range(80):
        answer = client.post(UPLOAD, content=sound(seed=number, odd=True, seconds=12.0))
        if answer.status_code != 200:
            return answers, answer
        answers.append(answer.json())
    raise AssertionError("no upload was refused")


def everything_is_read(client, answers):
    for path in ("/api/machines", "/api/machines/pump", "/api/machines/pump/scores", "/api/sources", "/api/events"):
        assert client.get(path).status_code == 200, path
    clip = f"/api/clips/{answers[0]['clip']}"
    for path in ("/", "/api/overview", "/metrics", "/healthz", "/readyz", "/openapi.json", clip):
        assert client.get(path).status_code == 200, path
    with client.stream("GET", "/api/stream", headers={"Last-Event-ID": "0"}) as stream:
        assert any(line.startswith("data: ") for line in stream.iter_lines())
    again = client.post(UPLOAD, content=sound(seed=0, odd=True, seconds=12.0))
    assert again.status_code in (200, 507)  # known already, but there may be no room to take it in


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_disk_of_20_megabytes(bank, tmp_path, kind, request):
    port = free_port()
    with small_disk(tmp_path / "small") as disk:
        arguments = [bank.parent, "--data", disk.folder / "data"]
        if kind == "postgresql":
            from tests.serve.conftest import database_of

            arguments += ["--database", database_of(request)]
        with process(*arguments, port=port, prefix=disk.prefix) as (child, client):
            answers, refused = upload_until_refused(client)
            assert len(answers) > 20 and refused.status_code == 507
            assert "disk of the service is full" in refused.json()["error"]
            status = os.statvfs(disk.seen)
            assert status.f_bavail * status.f_frsize > 500_000  # refused before the disk was full
            everything_is_read(client, answers)
            filler = disk.fill()
            everything_is_read(client, answers)
            assert client.post("/api/machines/pump/verdicts", json=VERDICTS).status_code == 507
            child.kill()
        with process(*arguments, port=port, prefix=disk.prefix) as (child, client):  # it starts where nothing is free
            everything_is_read(client, answers)
            filler.unlink()
            for clip in sorted((disk.seen / "data" / "clips").iterdir())[:8]:
                clip.unlink()
            wait_for(lambda: client.post(UPLOAD, content=sound(seed=99)).status_code == 200)
            assert client.post("/api/machines/pump/verdicts", json=VERDICTS).status_code == 200
            child.terminate()
            assert child.wait(10) == 0


def test_a_quota_lets_the_oldest_clips_go_first(settings):
    with served(settings, quota=2_000_000) as (client, running):
        kept = [client.post(UPLOAD, content=sound(seed=i, odd=True)).json()["clip"] for i in range(20)]
        left = [clip for clip in kept if client.get(f"/api/clips/{clip}").status_code == 200]
        assert 2 < len(left) < 20 and kept[-1] in left
        assert running.store.taken <= 2_000_000
        with running.engine.connect() as connection:
            assert connection.execute(select(func.count()).select_from(clips)).scalar() == len(left)
        event = client.get("/api/events").json()[0]
        assert event["closed"] is None and event["clip"] in left  # that of an open event goes last
        gone = next(clip for clip in kept if clip not in left)
        assert client.get(f"/api/clips/{gone}").status_code == 404


def test_a_quota_that_clips_cannot_satisfy_answers_507(settings):
    with served(settings, quota=1000) as (client, _):
        refused = client.post(UPLOAD, content=sound())
        assert refused.status_code == 507 and "quota" in refused.json()["error"]
        assert client.get("/api/machines").status_code == 200


def test_clips_end_after_the_days_that_are_asked_for(settings):
    with served(settings, clip_days=2.0) as (client, running):
        clips_of = [client.post(UPLOAD, content=sound(seed=i, odd=True)).json()["clip"] for i in range(2)]
        old = running.clip_file(clips_of[0])
        os.utime(old, (time.time() - 3 * 86_400,) * 2)
        running.store.tidy()
        assert [client.get(f"/api/clips/{clip}").status_code for clip in clips_of] == [404, 200]
        assert not old.exists()


def test_days_are_a_number(bank, tmp_path, capsys):
    assert main(["serve", str(bank.parent), "--data", str(tmp_path), "--keep-clips", "-1"]) == 2
    assert "days are a number from 0" in capsys.readouterr().err
