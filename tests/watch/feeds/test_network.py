"""Network streams from a real RTSP server that freezes, dies and comes back, and from a web server."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from echobank.errors import ConfigError
from echobank.watch.feeds.capture import Capture, Cutting
from echobank.watch.feeds.network import Network
from echobank.watch.feeds.source import SourceError
from tests.machines.sounds import hum, write
from tests.requirements import require

CAMERA = Path(__file__).with_name("rtsp_server.py")
CUTTING = Cutting(1.0, 1.0, 16_000)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Camera:
    """GStreamer's RTSP server in a process of its own."""

    def __init__(self):
        self.port, self.setups = free_port(), []
        self.url = f"rtsp://127.0.0.1:{self.port}/live"
        self.start()

    def start(self):
        command = ["/usr/bin/python3", str(CAMERA), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout.readline() == "ready\n"
        threading.Thread(target=lambda out: self.setups.extend(out), args=(self.process.stdout,), daemon=True).start()

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def camera():
    require("gstreamer")
    require("ffmpeg")
    it = Camera()
    yield it
    it.stop()


def children():
    """Return the running ffmpeg children of this process."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, facts = place.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == "ffmpeg" and int(facts.split()[1]) == os.getpid():
            found.append(place.parent.name)
    return found


def until(condition, seconds):
    end, most = time.monotonic() + seconds, 0
    while not condition():
        most = max(most, len(children()))
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)
    return most


def drain(capture):
    """Forget windows as they come, as if they were scored."""
    while not capture.finished:
        capture.done(capture.take(100))
        time.sleep(0.05)


@pytest.mark.slow
def test_a_camera_that_freezes_and_dies_costs_stated_gaps_and_nothing_else(camera):
    capture = Capture(Network(camera.url), CUTTING)
    threading.Thread(target=drain, args=(capture,), daemon=True).start()
    capture.begin()
    reception = capture.reception
    most = until(lambda: capture.heard >= 3, 30)
    camera.process.send_signal(signal.SIGSTOP)
    time.sleep(8)
    assert "nothing came" in reception.trouble or "no sound" in reception.trouble
    camera.process.send_signal(signal.SIGCONT)
    heard = capture.heard
    most = max(most, until(lambda: capture.heard >= heard + 3, 40))
    camera.stop()
    time.sleep(2)
    camera.start()
    heard = capture.heard
    most = max(most, until(lambda: capture.heard >= heard + 3, 40))
    track, now = reception.track, time.monotonic()
    wall = now - track.timeline.begun
    gaps = {condition.kind: condition for condition in reception.conditions.snapshot()}
    pieces = track.ring.read(0, track.timeline.position)
    assert abs(track.timeline.position / track.form.rate - wall) < 0.5
    assert gaps["gap"].count >= 2 and 10 < gaps["gap"].total < wall
    assert gaps["lost"].count >= 2 and not gaps["lost"].now
    assert most == 1 and len(children()) == 1
    assert camera.setups and {line.strip() for line in camera.setups} == {"setup /live/stream=1"}
    assert all(pieces)
    capture.close()
    assert children() == []


def test_a_camera_that_is_not_there_costs_no_processor(tmp_path):
    require("ffmpeg")
    capture = Capture(Network(f"rtsp://user:s3cret@127.0.0.1:{free_port()}/live"), CUTTING)
    before = time.process_time()
    capture.begin()
    until(lambda: capture.reception.trouble, 20)
    assert "no sound" in capture.reception.trouble and "s3cret" not in capture.reception.trouble
    time.sleep(2)
    assert time.process_time() - before < 0.5
    capture.close()
    assert children() == [] and capture.heard == 0


def test_a_web_stream_is_heard(tmp_path):
    require("ffmpeg")
    write(tmp_path / "a.wav", hum(6.0))
    encode = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-c:a", "libopus", tmp_path / "a.ogg"]
    subprocess.run(encode, check=True)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    capture = Capture(Network(f"http://127.0.0.1:{port}/a.ogg"), CUTTING)
    capture.begin()
    until(lambda: capture.heard >= 5, 30)
    assert capture.take(1)[0].window.source_rate == 48_000
    capture.close()
    server.kill()
    server.wait()


def test_without_ffmpeg_it_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(ConfigError, match=r"need ffmpeg.*install"):
        Network("rtsp://127.0.0.1/live")


@pytest.mark.parametrize("wrong", ["rtsp://", "ftp://host/x", "http:/host"])
def test_addresses_are_checked(wrong):
    with pytest.raises(ConfigError):
        Network(wrong)


def test_a_program_that_is_not_there_is_a_trouble():
    from echobank.watch.feeds.child import run_child

    with pytest.raises(SourceError, match="cannot start"):
        run_child(["/no/such/program"], "here", lambda: False, 1.0, str)
