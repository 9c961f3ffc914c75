"""The demo of the service: machines that run, one that gets a fault, and an end without anything left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.requirements import needs
from tests.serve.serving import free_port

ROOT = Path(__file__).parents[2]


@needs("posix")
def test_a_fault_develops_while_one_looks(tmp_path):
    port = free_port()
    words = [
        "--out",
        str(tmp_path / "demo"),
        "--port",
        str(port),
        "--pause",
        "0.5",
        "--after",
        "2",
        "--machines",
        "Pump bearing B",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / "serve_demo.py"), *words]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        try:
            told = ""
            while "open http" not in told:
                line = demo.stdout.readline()
                assert line, told
                told += line
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                assert len(client.get("/api/machines").json()) == 1
                end = time.monotonic() + 60
                while not (events := client.get("/api/events", params={"machine": "Pump bearing B"}).json()):
                    assert time.monotonic() < end
                    time.sleep(0.2)
            assert events[0]["clip"] and not events[0]["closed"]
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.communicate(timeout=30)
    assert demo.returncode == 0
