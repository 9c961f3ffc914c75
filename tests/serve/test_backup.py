"""Backup while clients upload, and the way back."""

import concurrent.futures
import hashlib
import shutil
import tarfile
import threading
from pathlib import Path

import pytest
from sqlalchemy import func, select

from echobank.cli import main
from echobank.serve.database import open_database
from echobank.serve.schema import clips, receipts, windows
from tests.serve.conftest import database_of
from tests.serve.serving import served, sound
from tests.serve.sources import declare, wait_for

UPLOAD = "/api/machines/pump/recordings"
READ = ("/api/machines", "/api/machines/pump", "/api/machines/pump/scores", "/api/events", "/api/sources")


@pytest.fixture
def places(url, tmp_path, request):
    """Return the options of a second service: banks, folder and database, all not there yet."""
    other = "" if url.startswith("sqlite") else database_of(request)
    return tmp_path / "back" / "banks", tmp_path / "back" / "data", other


def options(settings):
    database = [] if settings.database.startswith("sqlite") else ["--database", settings.database]
    return [str(settings.banks), "--data", str(settings.folder), *database]


@pytest.fixture
def kept(settings):
    """Return the settings of a service whose SQLite database lies in its folder, as it does by default."""
    from dataclasses import replace

    return replace(settings, database="") if settings.database.startswith("sqlite") else settings


def restored(kept, places, file):
    from dataclasses import replace

    banks, folder, database = places
    words = ["serve", str(banks), "--data", str(folder), *(["--database", database] if database else [])]
    assert main([*words, "--restore", str(file)]) == 0
    return replace(kept, banks=banks, folder=folder, database=database)


def test_a_backup_under_load_holds_whole_answers(kept, places, tmp_path):
    file, stop, done = tmp_path / "monday.tar", threading.Event(), {}
    with served(kept) as (client, _), concurrent.futures.ThreadPoolExecutor(4) as clients:

        def work(worker):
            number = 0
            while not stop.is_set():
                key, content = f"{worker}-{number}", sound(seed=10 * number + worker, odd=number % 2 == 0, seconds=2.0)
                answer = client.post(UPLOAD, content=content, headers={"Idempotency-Key": key})
                assert answer.status_code == 200, answer.text
                done[key] = content, answer.json()
                number += 1

        waiting = [clients.submit(work, worker) for worker in range(4)]
        while len(done) < 12:
            stop.wait(0.01)
        before = dict(done)
        assert main(["serve", *options(kept), "--backup", str(file)]) == 0
        stop.set()
        [future.result() for future in waiting]
    assert file.stat().st_mode & 0o777 == 0o600
    again = restored(kept, places, file)
    with served(again) as (client, running):
        with running.engine.connect() as connection:
            keys = set(connection.execute(select(receipts.c.key)).scalars())
            files = connection.execute(select(clips.c.id, clips.c.file)).all()
            count = connection.execute(select(func.count()).select_from(windows)).scalar()
            if connection.dialect.name == "sqlite":
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert before.keys() <= keys <= done.keys() and count == sum(len(done[key][1]["verdicts"]) for key in keys)
        odd = {done[key][1]["clip"]: done[key][0] for key in keys if done[key][1]["anomalous"]}
        assert {clip for clip, _ in files} == set(odd) and len(odd) >= 4
        assert {path.name for path in running.store.folder.iterdir()} == {name for _, name in files}
        for clip, content in odd.items():
            assert client.get(f"/api/clips/{clip}").content == content
        for key in keys:  # a client that repeats its request after the restoration gets its answer
            answer = client.post(UPLOAD, content=done[key][0], headers={"Idempotency-Key": key})
            assert answer.json() == done[key][1]
        fresh = client.post(UPLOAD, content=sound(seed=999))  # numbers of rows continue
        assert fresh.status_code == 200


def test_a_restored_service_answers_as_the_old_one(kept, places, tmp_path):
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "x.wav").write_bytes(sound(odd=True))
    declare(kept.folder, line={"machine": "pump", "watch": str(landing), "settle": 0.1})
    file = tmp_path / "monday.tar"
    with served(kept) as (client, _running):
        events = [client.post(UPLOAD, content=sound(seed=i, odd=True)).json()["event"] for i in range(2)]
        assert client.post(f"/api/events/{events[0]}/mute", json={}).status_code == 200
        assert client.post(f"/api/events/{events[0]}/no-fault", json={"text": "a squeak"}).status_code == 200
        wait_for(lambda: client.get("/api/sources").json()[0]["pieces"])
    assert main(["serve", *options(kept), "--backup", str(file)]) == 0
    old = pictures(kept)
    again = restored(kept, places, file)
    shutil.rmtree(kept.folder)
    assert pictures(again) == old
    with served(again) as (client, _):
        assert client.post(f"/api/events/{events[0]}/undo").status_code == 200  # the history of the bank came along
        assert client.post(f"/api/events/{events[1]}/mute", json={}).status_code == 200  # and what events sound like


def pictures(settings):
    """Return what a service answers, without what differs from start to start."""
    with served(settings) as (client, running):
        wait_for(lambda: running.listening.sources[0].status.state == "running")
        found = {}
        for path in READ:
            answer = client.get(path).json()
            for it in answer if isinstance(answer, list) else [answer]:
                for told in [it, *it.get("sources", [])]:
                    for name in ("since", "silence", "pieces", "sources"):
                        told.pop(name, None)
            found[path] = answer
        for event in found["/api/events"]:
            found[event["id"]] = hashlib.sha256(client.get(f"/api/clips/{event['clip']}").content).hexdigest()
        return found


def test_a_clip_that_goes_while_the_backup_is_made_is_not_promised(kept, places, tmp_path, monkeypatch):
    from echobank.serve import backup

    file, copied = tmp_path / "monday.tar", backup.copy_database
    with served(kept) as (client, running):
        two = [client.post(UPLOAD, content=sound(seed=i, odd=True)).json()["clip"] for i in range(2)]

        def copy(*arguments):
            found = copied(*arguments)
            running.clip_file(two[0]).unlink()
            return found

        monkeypatch.setattr(backup, "copy_database", copy)
        assert main(["serve", *options(kept), "--backup", str(file)]) == 0
    with served(restored(kept, places, file)) as (client, running):
        with running.engine.connect() as connection:
            assert list(connection.execute(select(clips.c.id)).scalars()) == [two[1]]
        assert client.get(f"/api/clips/{two[1]}").status_code == 200


def test_what_is_in_the_way_is_left_alone(kept, places, tmp_path, capsys):
    file = tmp_path / "monday.tar"
    with served(kept) as (client, _):
        client.post(UPLOAD, content=sound(odd=True))
        assert main(["serve", *options(kept), "--backup", str(file)]) == 0
    assert main(["serve", *options(kept), "--restore", str(file)]) == 2
    assert "the folder already exists" in capsys.readouterr().err
    banks, folder, _ = places
    if not kept.database:
        return
    assert main(["serve", str(banks), "--data", str(folder), "--database", kept.database, "--restore", str(file)]) == 2
    assert "the database is not empty" in capsys.readouterr().err and not folder.exists() and not banks.exists()
    assert main(["serve", str(banks), "--data", str(folder), "--restore", str(file)]) == 2
    assert "another kind of database: 'postgresql'" in capsys.readouterr().err


def strange(name, kind=tarfile.REGTYPE):
    def write(path):
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: None, "no such backup"),
        (lambda path: path.write_bytes(b"x" * 5000), "not a backup"),
        (strange("../../evil"), "does not belong there"),
        (strange("data/../../evil"), "does not belong there"),
        (strange("/etc/cron.d/evil"), "does not belong there"),
        (strange("data/link", tarfile.SYMTYPE), "does not belong there"),
        (strange("data/x"), "no such backup, or one that is cut off"),
    ],
)
def test_what_is_no_backup_leaves_nothing(tmp_path, capsys, write, said):
    file, place = tmp_path / "x.tar", tmp_path / "back"
    write(file)
    assert main(["serve", str(place / "banks"), "--data", str(place / "data"), "--restore", str(file)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == (["x.tar"] if file.exists() else [])


def test_a_folder_without_a_service_has_no_backup(bank, tmp_path, capsys):
    words = ["serve", str(bank.parent), "--data", str(tmp_path / "nothing"), "--backup", str(tmp_path / "x.tar")]
    assert main(words) == 2
    assert "this is not the folder of a service" in capsys.readouterr().err and not (tmp_path / "x.tar").exists()


def test_a_backup_is_read_by_a_newer_schema(tmp_path):
    """A database of the first schema in a backup is brought up to date by whoever opens it."""
    from sqlalchemy import create_engine

    from echobank.serve.database import migrate
    from echobank.serve.database_copy import copy_database

    engine = create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    with engine.begin() as connection:
        migrate(connection, "old", "0001")
    engine.dispose()
    (tmp_path / "scratch").mkdir()
    copy = copy_database(f"sqlite:///{tmp_path / 'old.db'}", tmp_path / "scratch")
    assert copy.schema == "0001" and copy.files == [Path(tmp_path / "scratch" / "echobank.db")]
    open_database(f"sqlite:///{copy.files[0]}").dispose()
