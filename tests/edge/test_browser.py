"""The page in a real browser whose network is blocked: a WAV file and a microphone score as the bank does."""

import base64
import contextlib
import functools
import http.server
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.edge import bundle
from echobank.machines.machine import open_machine
from tests.machines.sounds import hum, with_tone, write
from tests.requirements import require

RATE = 16_000  # of the encoder and the page alike
READ = "return window.echobank.verdicts()"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def page(bank, tmp_path_factory):
    """Serve a package on loopback; return its folder and address."""
    folder = tmp_path_factory.mktemp("page") / "pump.edge"
    assert main(["export", str(bank), "--out", str(folder), "--rate", str(RATE)]) == 0
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


@contextlib.contextmanager
def browser(heard):
    from selenium import webdriver

    program, driver = require("chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
        f"--use-file-for-fake-audio-capture={heard}%noloop",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        opened.set_script_timeout(30)
        yield opened
    finally:
        opened.quit()


def wait(found, seconds=20.0):
    end = time.monotonic() + seconds
    while not (result := found()) and time.monotonic() < end:
        time.sleep(0.1)
    assert result
    return result


def agree(verdicts, bank, path):
    machine = open_machine(bank)
    (heard,) = machine.listener.hear([path])
    expected = machine.judge(heard)
    assert len(verdicts) == len(expected)
    for found, verdict in zip(verdicts, expected, strict=True):
        assert found["score"] == pytest.approx(verdict.score, rel=1e-6)
        assert found["decision"] == verdict.decision and found["nearest"] == verdict.nearest


def test_a_file_and_the_microphone(page, bank, new, tmp_path):
    _, address = page
    sound = with_tone(hum(6.0, seed=900), 2.0, 4.0)
    heard = write(tmp_path / "heard.wav", sound, RATE)
    with browser(heard) as chrome:
        chrome.get(address)
        assert (
            chrome.execute_async_script("window.echobank.ready.then(arguments[0], e => arguments[0](String(e)))")
            is True
        )
        for path in new[RATE]:
            windows = len(open_machine(bank).judge(next(open_machine(bank).listener.hear([path]))))
            chrome.find_element("id", "file").send_keys(str(path))
            verdicts = wait(lambda n=windows: (v := chrome.execute_script(READ)) and len(v) == n and v)
            agree(verdicts, bank, path)
        chrome.find_element("id", "listen").click()
        wait(lambda: chrome.find_element("id", "listen").text == "Stop")
        wait(lambda: len(chrome.execute_script(READ)) >= 3)
        chrome.find_element("id", "listen").click()
        wait(lambda: chrome.find_element("id", "listen").text == "Listen")
        text = chrome.execute_async_script(
            "const r = new FileReader(); r.onload = () => arguments[0](r.result);r.readAsDataURL(window.echobank.wav())"
        )
        (tmp_path / "captured.wav").write_bytes(base64.b64decode(text.partition(",")[2]))
        samples, rate = soundfile.read(tmp_path / "captured.wav")
        assert rate == RATE and np.abs(samples).max() > 0.01
        agree(chrome.execute_script(READ), bank, tmp_path / "captured.wav")
        assert chrome.find_element("id", "name").text == "pump"
        assert [entry for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"] == []
        wait(lambda: chrome.execute_script("return navigator.serviceWorker.controller !== null"))
        chrome.save_screenshot(str(tmp_path / "page.png"))


def test_what_is_vendored_is_what_the_notice_lists():
    folder = Path(bundle.__file__).parent / "vendor"
    notice = (folder / "NOTICE.txt").read_text()
    for file in folder.iterdir():
        assert file.name == "NOTICE.txt" or f"{bundle.sha256_file(file)}  {file.name}" in notice
