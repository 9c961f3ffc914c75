"""Sources for the service to listen to: folders, and a web server that streams sound at the pace of the clock."""

import http.server
import threading
import time
from contextlib import contextmanager

import numpy as np
import yaml

from echobank.watch.feeds.samples import SampleFormat, wav_header
from tests.machines.sounds import RATE, hum, with_tone


def declare(folder, **sources):
    """Write serve.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "serve.yaml").write_text(yaml.safe_dump({"sources": sources}))


def wait_for(probe, seconds=30.0):
    """Return what a function returns as soon as that is true."""
    end = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)
    return found


def source(client, name):
    return next(it for it in client.get("/api/sources").json() if it["name"] == name)


@contextmanager
def radio(odd_after=4.0):
    """Yield the address of an endless stream that each listener hears from its start: healthy, then with a tone."""
    healthy = hum(20.0, seed=100)
    samples = (32767 * with_tone(healthy, odd_after, 20.0, level=0.2)).astype("<i2")

    class Station(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "audio/wav")
            self.end_headers()
            begun, sent = time.monotonic(), 0
            try:
                self.wfile.write(wav_header(SampleFormat(RATE, 1)))
                while not closing.is_set():
                    block = np.take(samples, np.arange(sent, sent + RATE // 10), mode="wrap")
                    self.wfile.write(block.tobytes())
                    sent += len(block)
                    closing.wait(max(0.0, begun + sent / RATE - time.monotonic()))
            except OSError:
                pass

        def log_message(self, *_):
            pass

    closing = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Station)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/sound.wav?key=secret"
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
