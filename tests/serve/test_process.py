"""The command in a process of its own: signals, kills, refusals."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, func, select

from echobank.cli import main
from echobank.errors import ConfigError
from echobank.serve.database import open_database
from echobank.serve.schema import receipts, windows
from tests.requirements import needs
from tests.serve.serving import SOURCE, free_port, process, sound
from tests.serve.sources import declare, wait_for

pytestmark = needs("posix")
VERDICTS = {"threshold": 9.0, "verdicts": [{"file": "a.wav", "score": 1.0, "p_value": 0.5, "decision": 0}]}


def test_sigterm_with_20_open_streams_ends_in_under_5_seconds(bank, tmp_path):
    port = free_port()
    with process(bank.parent, "--data", tmp_path / "data", port=port) as (child, client):
        opened, ended = threading.Semaphore(0), []

        def listen():
            with client.stream("GET", "/api/stream") as answer:
                for _ in answer.iter_lines():
                    opened.release()
            ended.append(True)

        threads = [threading.Thread(target=listen) for _ in range(20)]
        [thread.start() for thread in threads]
        [opened.acquire(timeout=20) for _ in range(20)]
        assert client.post("/api/machines/mill/verdicts", json=VERDICTS).status_code == 200
        begun = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
        assert time.monotonic() - begun < 5
        [thread.join(10) for thread in threads]
        assert len(ended) == 20  # no stream was torn
    engine = open_database(f"sqlite:///{tmp_path / 'data' / 'echobank.db'}")
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(windows)).scalar() == 1
    engine.dispose()


def test_sigterm_in_the_middle_of_uploads_and_a_folder_loses_nothing(bank, tmp_path):
    """What was answered is there once; the rest of the folder is heard after the next start, and nothing twice."""
    landing, data, port, answered = tmp_path / "landing", tmp_path / "data", free_port(), {}
    landing.mkdir()
    for number in range(40):
        (landing / f"{number:02d}.wav").write_bytes(sound(seed=200 + number))
    declare(data, line={"machine": "pump", "watch": str(landing), "settle": 0.2})
    engine = open_database(f"sqlite:///{data / 'echobank.db'}")

    def upload(number):
        for turn in range(1000):
            key = f"{number}-{turn}"
            try:
                headers = {"Idempotency-Key": key}
                address = f"http://127.0.0.1:{port}/api/machines/pump/recordings"
                answer = httpx.post(address, content=sound(seed=turn), headers=headers, timeout=20)
            except httpx.TransportError:
                return
            if answer.status_code != 200:
                assert answer.status_code == 503, answer.text
                return
            answered[key] = answer.json()

    with process(bank.parent, "--data", data, port=port) as (child, _):
        clients = [threading.Thread(target=upload, args=(number,)) for number in range(4)]
        [thread.start() for thread in clients]
        wait_for(lambda: len(answered) >= 8 and heard(engine) > 3 * len(answered))
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == 0
        [thread.join(20) for thread in clients]
    with process(bank.parent, "--data", data, port=port):
        wait_for(lambda: from_landing(engine) >= 120, 60)
    with engine.connect() as connection:
        found = connection.execute(select(receipts.c.key, receipts.c.answer)).all()
    stored = {row.key: row.answer for row in found}
    assert all(stored[key] == answer for key, answer in answered.items())
    assert from_landing(engine) == 120 and heard(engine) == 120 + 3 * len(stored)
    engine.dispose()


def heard(engine):
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(windows)).scalar()


def from_landing(engine):
    with engine.connect() as connection:
        return connection.execute(select(func.count()).where(windows.c.file.like("%.wav"))).scalar()


def test_every_answer_outlives_kills(url):
    """The benchmark with 1,000 uploads and five kills, in small."""
    script = Path(__file__).parents[2] / "benchmarks" / "kill_serve.py"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    small = ["--uploads", "48", "--kills", "2", *(["--database", url] if url.startswith("postgresql") else [])]
    done = subprocess.run([sys.executable, script, *small], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "48 of 48 uploads answered, 2 kills" in done.stdout and "wrong: 0" in done.stdout


def test_beyond_loopback_a_token_is_demanded(bank, tmp_path, capsys):
    arguments = ["serve", str(bank.parent), "--data", str(tmp_path / "data"), "--bind", "0.0.0.0:0"]
    assert main(arguments) == 2
    assert "an address beyond loopback needs a token: '0.0.0.0'" in capsys.readouterr().err


def test_a_token_is_printed_once_and_kept_as_a_hash(tmp_path, capsys):
    arguments = ["serve", "unused", "--data", str(tmp_path / "data"), "--new-token", "gate", "--scopes", "read,upload"]
    assert main(arguments) == 0
    token = capsys.readouterr().out.strip()
    engine = create_engine(f"sqlite:///{tmp_path / 'data' / 'echobank.db'}")
    with engine.connect() as connection:
        (row,) = connection.exec_driver_sql("SELECT name, scopes, sha256 FROM tokens").all()
    engine.dispose()
    assert row[:2] == ("gate", "read upload") and token not in row
    assert main([*arguments[:-1], "root"]) == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--database", "mysql://x/y"], "not a database of this service"),
        (["--tls-cert", "x.pem"], "a certificate needs its key"),
        (["--queue", "0"], "a queue holds one recording or more"),
    ],
)
def test_impossible_options_are_one_line(bank, tmp_path, capsys, more, said):
    assert main(["serve", str(bank.parent), "--data", str(tmp_path / "data"), *more]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_an_address_that_is_taken_is_one_line(bank, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        assert main(["serve", str(bank.parent), "--data", str(tmp_path / "data"), "--bind", taken]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"cannot listen (Address already in use): '{taken}'" in error


def test_answers_are_not_held_back_to_be_sent_together(bank, tmp_path):
    from echobank.serve.doorway import take_address

    with take_address("127.0.0.1", 0) as door, socket.create_connection(door.getsockname()):
        accepted, _ = door.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP  # asyncio asks this before it sets TCP_NODELAY
    with pytest.raises(ConfigError, match="cannot listen"):
        take_address("no-such-host.invalid", 0)


def test_port_0_is_a_free_one_and_its_number_is_said(bank, tmp_path):
    command = [sys.executable, "-m", "echobank", "serve", bank.parent, "--data", tmp_path / "data"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    words = [*map(str, command), "--bind", "127.0.0.1:0"]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as child:
        said = child.stderr.readline().split()[-1]
        assert said.startswith("http://127.0.0.1:") and not said.endswith(":0")
        assert httpx.get(f"{said}/healthz", timeout=30).status_code == 200
        child.terminate()
        assert child.wait(20) == 0


def test_a_folder_without_banks_and_one_in_use_are_refused(bank, tmp_path, capsys):
    assert main(["serve", str(tmp_path), "--data", str(tmp_path / "data")]) == 2
    assert "no banks" in capsys.readouterr().err
    port = free_port()
    with process(bank.parent, "--data", tmp_path / "data", port=port):
        assert main(["serve", str(bank.parent), "--data", str(tmp_path / "data")]) == 2
        assert "another service is running with this folder" in capsys.readouterr().err
