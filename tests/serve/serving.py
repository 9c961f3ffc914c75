"""A service on loopback: in this process for most tests, in one of its own for those that kill it."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import soundfile

from tests.machines.sounds import RATE, hum, with_tone

SOURCE = Path(__file__).parents[2] / "src"


def sound(seed=100, *, odd=False, seconds=4.0, kind="WAV"):
    """Return the bytes of a recording, healthy or with a tone throughout."""
    samples = hum(seconds, seed=seed)
    samples = with_tone(samples, 0, seconds, level=0.2) if odd else samples
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=kind)
    return file.getvalue()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(settings, **changes):
    """Yield (client, service) of a service in this process."""
    from echobank.serve.app import guarded, make_app, make_server
    from echobank.serve.service import Service

    service = Service(replace(settings, **changes))
    port = free_port()
    app = guarded(make_app(service), service, frozenset(), figures=False)
    server = make_server(app, service, host="127.0.0.1", port=port)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=False) as client:
            yield client, service
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(20)
        service.close()


@contextmanager
def process(*arguments, port, prefix=()):
    """Yield (process, client) of `echobank serve` in a process of its own, once it answers."""
    command = [*prefix, sys.executable, "-m", "echobank", "serve", *map(str, arguments), "--bind", f"127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=False) as client:
            end = time.monotonic() + 60
            while True:
                assert child.poll() is None, child.stderr.read()
                assert time.monotonic() < end
                try:
                    if client.get("/healthz").status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield child, client
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()
