"""Adding a machine over HTTP: recordings in, a fit with progress, what it found; cancelled, repeated, interrupted."""

import itertools
import time

import pytest

from echobank.machines.machine import open_machine
from echobank.serve.draft import read_draft
from tests.serve.serving import served, sound


def wait(client, draft, *states, seconds=60.0):
    end = time.monotonic() + seconds
    while (now := client.get(f"/api/fits/{draft}").json())["state"] not in states:
        assert time.monotonic() < end, now
        time.sleep(0.05)
    return now


@pytest.fixture
def lone(settings, tmp_path):
    """Return (client, service) on SQLite that begins without any bank."""
    (tmp_path / "none").mkdir()
    with served(settings, banks=tmp_path / "none", database="") as both:
        yield both


def begin(client, name="fan", count=12, **facts):
    draft = client.post("/api/fits", json={"machine": name, "window": 2, **facts}).json()["id"]
    for seed in range(count):
        answer = client.post(f"/api/fits/{draft}/recordings?file={seed:02d}.wav", content=sound(seed))
        assert answer.status_code == 200, answer.text
    return draft


def test_a_machine_is_added_and_scores_as_after_fit(lone):
    client, service = lone
    assert client.get("/api/machines").json() == []
    draft = begin(client, hop=1, rate=0.1)
    assert client.post(f"/api/fits/{draft}/start").json()["state"] == "waiting"
    done = wait(client, draft, "done", "failed")
    assert done["state"] == "done" and done["error"] == "" and (done["done"], done["total"]) == (12, 12)
    assert any("remembers 36 windows of 12 recordings" in line.lower() for line in done["report"]["health"])
    told = client.get("/api/machines/fan").json()
    assert told["has_bank"] and told["rate"] == 0.1 and [it["action"] for it in told["revisions"]] == ["opened"]
    answer = client.post("/api/machines/fan/recordings", content=sound(100, odd=True)).json()
    machine = open_machine(service.settings.banks / "fan")
    assert machine.listener.hop == 1 and answer["threshold"] == machine.threshold and answer["anomalous"] == 3
    near = client.get(f"/api/events/{answer['event']}/explanation").json()["nearest"]
    assert near["at_hand"] and near["file"].split("-")[0] in {f"{seed:02d}" for seed in range(12)}


def test_recordings_come_once_can_be_heard_and_go(lone):
    client, service = lone
    draft = begin(client, count=2)
    again = client.post(f"/api/fits/{draft}/recordings?file=copy.wav", content=sound(0)).json()
    assert [take["file"].split("-")[0] for take in again["takes"]] == ["00", "01"]
    path = f"/api/fits/{draft}/recordings/{again['takes'][0]['sha256']}"
    assert client.get(path).content == sound(0)
    assert len(client.delete(path).json()["takes"]) == 1
    assert client.get(path).status_code == 400 and client.delete(path).status_code == 400
    assert len(list((service.settings.folder / "training" / draft / "sound").iterdir())) == 1
    assert client.delete(f"/api/fits/{draft}").status_code == 200
    assert list((service.settings.folder / "training").iterdir()) == []
    assert client.get(f"/api/fits/{draft}").status_code == 404


@pytest.mark.parametrize(
    "file", ["../../../../tmp/x.wav", "..", "C:\\x\\y.wav", "/etc/passwd", "\x00", "a" * 300, "%2e%2e/x"]
)
def test_a_file_name_is_never_a_path(lone, file):
    client, service = lone
    draft = begin(client, count=0)
    client.post(f"/api/fits/{draft}/recordings", params={"file": file}, content=sound(0))
    (take,) = client.get(f"/api/fits/{draft}").json()["takes"]
    assert (service.settings.folder / "training" / draft / "sound" / take["file"]).is_file()
    assert "/" not in take["file"] and ".." not in take["file"] and "\\" not in take["file"]


@pytest.mark.parametrize("name", ["../x", "..", ".", "a/b", "a\\b", "-x", " ", "x" * 65, "nul\x00", "tr."])
def test_an_impossible_name_is_refused(lone, name):
    client, service = lone
    assert client.post("/api/fits", json={"machine": name}).status_code in (400, 422)
    assert not (service.settings.folder / "training").exists()


def test_what_is_no_recording_is_refused_and_too_little_is_said(lone):
    client, service = lone
    draft = begin(client, count=1)
    assert client.post(f"/api/fits/{draft}/recordings", content=b"RIFFnothing").status_code == 422
    assert client.post(f"/api/fits/{draft}/recordings", content=b"").status_code == 422
    client.post(f"/api/fits/{draft}/start")
    failed = wait(client, draft, "done", "failed")
    assert failed["state"] == "failed" and "too little healthy sound" in failed["error"]
    assert str(service.settings.folder) not in failed["error"]
    empty = begin(client, "pump", count=0)
    assert "no recordings" in client.post(f"/api/fits/{empty}/start").json()["error"]
    assert "windows" not in client.post("/api/fits", json={"machine": "w", "window": 2, "hop": 1}).text
    assert client.post("/api/fits", json={"machine": "v", "window": 2, "hop": 3}).status_code == 400


def test_a_name_is_taken_once(service):
    client, _ = service
    assert "there already" in client.post("/api/fits", json={"machine": "Pump"}).json()["error"]
    begin(client, "fan", count=0)
    assert "there already" in client.post("/api/fits", json={"machine": "fan"}).json()["error"]


def test_a_fit_that_is_cancelled_leaves_its_recordings_and_can_be_repeated(lone, monkeypatch):
    client, service = lone
    draft = begin(client)
    from echobank.serve import nursery

    fit = nursery.fit_heard

    def slow(*arguments):
        progress = arguments[-1]

        def waiting(items, *, total, label):
            for item in progress(items, total=total, label=label):
                time.sleep(0.1)
                yield item

        return fit(*arguments[:-1], waiting)

    monkeypatch.setattr(nursery, "fit_heard", slow)
    client.post(f"/api/fits/{draft}/start")
    end = time.monotonic() + 20
    while not (now := client.get(f"/api/fits/{draft}").json())["done"] and time.monotonic() < end:
        time.sleep(0.02)
    assert now["state"] == "fitting" and 0 < now["done"] < now["total"]
    for refused in (client.post(f"/api/fits/{draft}/start"), client.delete(f"/api/fits/{draft}")):
        assert refused.status_code == 400 and "being fitted" in refused.json()["error"]
    assert client.post(f"/api/fits/{draft}/cancel").json()["state"] == "collecting"
    assert not (service.settings.banks / "fan").exists()
    monkeypatch.setattr(nursery, "fit_heard", fit)
    client.post(f"/api/fits/{draft}/start")
    assert wait(client, draft, "done", "failed")["state"] == "done"


def test_a_fit_that_the_end_of_the_service_cut_off_goes_on_with_the_next(settings, tmp_path, monkeypatch):
    from echobank.serve import nursery

    fit = nursery.fit_heard
    facts = {"banks": tmp_path / "none", "database": ""}
    (tmp_path / "none").mkdir()
    with served(settings, **facts) as (client, _):
        draft = begin(client)

        def stopped(*arguments):
            for _ in arguments[-1](itertools.repeat(None), total=9, label=""):
                time.sleep(0.01)

        monkeypatch.setattr(nursery, "fit_heard", stopped)
        client.post(f"/api/fits/{draft}/start")
        wait(client, draft, "fitting")
    monkeypatch.setattr(nursery, "fit_heard", fit)
    assert read_draft(settings.folder / "training" / draft).state == "waiting"
    with served(settings, **facts) as (client, _):
        assert wait(client, draft, "done", "failed")["state"] == "done"
        assert client.get("/api/machines/fan").json()["has_bank"]


def test_a_second_fit_is_a_revision_and_a_restart_knows_the_machine(settings, tmp_path):
    facts = {"banks": tmp_path / "none", "database": ""}
    (tmp_path / "none").mkdir()
    with served(settings, **facts) as (client, _):
        draft = begin(client)
        client.post(f"/api/fits/{draft}/start")
        first = wait(client, draft, "done")["takes"][0]["sha256"]
        assert client.delete(f"/api/fits/{draft}/recordings/{first}").status_code == 200
        client.post(f"/api/fits/{draft}/start")
        assert wait(client, draft, "done")["report"]["health"][0].startswith("Remembers 33 windows of 11 recordings")
        assert client.get("/api/machines/fan").json()["revision"] == 2
        assert client.post("/api/machines/fan/undo").json()["rows"] == 36
    with served(settings, **facts) as (client, _):
        assert client.get("/api/fits").json()[0]["state"] == "done"
        assert client.get("/api/machines/fan").json()["has_bank"]


def test_a_damaged_draft_is_passed_over(settings, tmp_path):
    broken = settings.folder / "training" / "abc"
    broken.mkdir(parents=True)
    (broken / "draft.json").write_text('{"id": 3')
    with served(settings, database="") as (client, _):
        assert client.get("/api/fits").json() == []
