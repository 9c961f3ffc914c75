"""Bombs, lying headers, files that are two things, names that are paths, and clients that dawdle."""

import re
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from echobank.serve import guard
from echobank.serve.decoder import Limits
from echobank.serve.schema import clips, windows
from echobank.serve.service import ServiceSettings
from tests.requirements import needs
from tests.serve.hostile import hostile, plain
from tests.serve.serving import served, sound

UPLOAD = "/api/machines/pump/recordings"
TRICKS = [
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "..",
    ".",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "C:%5cwindows",
    "%00",
    "pump%00.wav",
    "%ff%fe",
    "%ed%a0%80",
    "%0d%0aSet-Cookie:%20a=b",
    "x" * 3000,
    "%F0%9F%92%A9",
    "'%20OR%20'1'='1",
    "-1",
    "99999999999999999999",
]


@pytest.fixture
def settings(bank, tmp_path):
    """Return the settings of a service on SQLite: nothing here depends on the database."""
    return ServiceSettings(banks=bank.parent, folder=tmp_path / "data", k=2, n=3)


@needs("linux")
def test_what_is_no_recording_costs_little_and_leaves_nothing(settings):
    with served(settings, limits=Limits(seconds=60)) as (client, running):
        assert client.post(UPLOAD, content=sound()).status_code == 200
        before = counts(running)
        for turn, (name, content) in enumerate(hostile().items()):
            sent = {"files": {"file": ("x.wav", content)}} if turn % 2 else {"content": content}
            answer = client.post(UPLOAD, **sent)
            assert 400 <= answer.status_code < 500, (name, answer.text)
            assert "error" in answer.json() and str(running.settings.folder) not in answer.text
            assert list((running.settings.folder / "incoming").iterdir()) == [], name
        assert counts(running) == before and list(running.clips.iterdir()) == []
        children = [decoder._child.pid for decoder in running.decoders if decoder._child]
        assert children and all(peak(child) < 200 << 20 for child in children)
        assert client.post(UPLOAD, content=sound(seed=3)).status_code == 200


def counts(service):
    with service.engine.connect() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar() for table in (windows, clips)]


def peak(process):
    """Return the most memory that a process has had, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def example(schema, document):
    """Return a value that a schema of the OpenAPI document takes."""
    if "$ref" in schema:
        return example(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "anyOf" in schema:
        return example(schema["anyOf"][0], document)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        known = schema.get("properties", {})
        return {name: example(known[name], document) for name in schema.get("required", [])}
    if kind == "array":
        return [example(schema["items"], document)]
    return {"string": "../../x", "number": 0.5, "integer": 1, "boolean": False}.get(kind)


def test_names_are_never_paths(settings, tmp_path):
    """Every route of the OpenAPI document with tricks for its names: no file is read, written or removed by them."""
    bait = tmp_path / "data" / "bait.wav"
    with served(settings) as (client, _):
        bait.write_bytes(plain())
        before = files(tmp_path)
        document = client.get("/openapi.json").json()
        walked = 0
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                for trick in (*TRICKS, "..%2fbait.wav", "bait.wav") if "{" in path else ():
                    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
                    sent = {"json": example(body["schema"], document)} if body else {"content": plain()}
                    where = re.sub(r"\{\w+\}", lambda _, trick=trick: trick, path)
                    answer = raw(client, method, where, sent if method != "get" else {})
                    named = "pump" in trick and answer.status_code < 300  # "pump%00.wav" is no machine either
                    assert not named and answer.status_code < 500, (method, where, answer.text)
                    assert b"RIFF" not in answer.content and b"root:" not in answer.content, (method, where)
                    walked += 1
        assert walked > 200
        assert files(tmp_path) - before <= {path for path in files(tmp_path) if path.name.startswith("echobank.db")}
        assert bait.read_bytes() == plain()


def raw(client, method, path, sent):
    """Send a request whose path stays as it is: httpx would tidy it."""
    import httpx

    url = client.base_url.copy_with(raw_path=path.encode())
    return client.send(httpx.Request(method.upper(), url, **sent))


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "trick", ["../../../bait.wav", "/etc/cron.d/x", "C:\\x\\y.wav", "a\r\nb", "\x00", "x" * 299, "💩"]
)
def test_names_of_recordings_are_words_in_a_table(service, tmp_path, trick):
    client, running = service
    before = files(tmp_path)
    called = client.post(UPLOAD, content=sound(odd=True), params={"file": trick})
    formed = client.post(UPLOAD, files={"file": (trick, sound(seed=7, odd=True))})
    assert called.status_code == formed.status_code == 200
    made = {path.relative_to(tmp_path) for path in files(tmp_path) - before if "echobank.db" not in path.name}
    assert {path.parent.as_posix() for path in made} <= {"data/clips", *mutes(running, tmp_path)}
    assert all(re.fullmatch(r"[0-9a-f]{32}\.wav", path.name) for path in made if path.parent.name == "clips")


def mutes(service, tmp_path):
    folder = (service.settings.folder / "mutes").relative_to(tmp_path)
    return {path.relative_to(tmp_path).as_posix() for path in (tmp_path / folder).rglob("*") if path.is_dir()}


def test_a_body_that_dawdles_is_ended(settings, monkeypatch):
    monkeypatch.setattr(guard, "_PATIENCE", 0.5)
    with served(settings, depth=1) as (client, running):
        where = client.base_url.host, client.base_url.port
        with closing(socket.create_connection(where, timeout=20)) as slow:
            slow.sendall(f"POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\nRIFF".encode())
            assert b" 408 " in slow.recv(1000)
        end = time.monotonic() + 10
        while client.post(UPLOAD, content=sound()).status_code != 200:  # its place is free again
            assert time.monotonic() < end
            time.sleep(0.05)
        assert list((running.settings.folder / "incoming").iterdir()) == []
