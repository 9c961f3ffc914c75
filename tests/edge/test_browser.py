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
import soxr

from echobank.cli import main
from echobank.edge import bundle
from echobank.machines.machine import open_machine
from echobank.machines.verdict import ODD_BAND
from tests.machines.sounds import hum, with_tone, write
from tests.requirements import require

READ = "return window.echobank.verdicts()"
READY = "window.echobank.ready.then(arguments[0], e => arguments[0](String(e)))"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """Serve a package on loopback; yield the address of its page."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/index.html"
        finally:
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
        assert bool(found["odd"]) == any(odd.kind == ODD_BAND for odd in verdict.findings)


def score_file(chrome, bank, path):
    """Give the page a file and compare what it says."""
    windows = len(open_machine(bank).judge(next(open_machine(bank).listener.hear([path]))))
    chrome.find_element("id", "file").send_keys(str(path))
    agree(wait(lambda: (v := chrome.execute_script(READ)) and len(v) == windows and v), bank, path)


@pytest.mark.parametrize("rate", (16_000, 48_000))
def test_a_file_and_the_microphone(rate, bank, new, tmp_path):
    folder = tmp_path / "pump.edge"
    assert main(["export", str(bank), "--out", str(folder), "--rate", str(rate)]) == 0
    sound = soxr.resample(with_tone(hum(6.0, seed=900), 2.0, 4.0), 16_000, rate)
    with browser(write(tmp_path / "heard.wav", sound, rate)) as chrome:
        with served(folder) as address:
            chrome.get(address)
            assert chrome.execute_async_script(READY) is True
            for path in new[rate]:
                score_file(chrome, bank, path)
            wait(lambda: chrome.execute_script("return navigator.serviceWorker.controller !== null"))
            assert chrome.execute_cdp_cmd("Page.getInstallabilityErrors", {})["installabilityErrors"] == []
        chrome.get(address)  # the server is gone
        assert chrome.execute_async_script(READY) is True
        score_file(chrome, bank, new[rate][1])
        chrome.find_element("id", "listen").click()
        wait(lambda: chrome.find_element("id", "listen").text == "Stop")
        wait(lambda: len(chrome.execute_script(READ)) >= 3)
        chrome.find_element("id", "listen").click()
        wait(lambda: chrome.find_element("id", "listen").text == "Listen")
        text = chrome.execute_async_script(
            "const r = new FileReader(); r.onload = () => arguments[0](r.result);r.readAsDataURL(window.echobank.wav())"
        )
        (tmp_path / "captured.wav").write_bytes(base64.b64decode(text.partition(",")[2]))
        samples, found = soundfile.read(tmp_path / "captured.wav")
        assert found == rate and np.abs(samples).max() > 0.01 and samples[0] != 0
        agree(chrome.execute_script(READ), bank, tmp_path / "captured.wav")
        assert chrome.find_element("id", "name").text == "pump"
        errors = [entry for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
        assert all("ERR_CONNECTION_REFUSED" in entry["message"] for entry in errors)
        chrome.save_screenshot(str(tmp_path / "page.png"))


def test_a_microphone_that_the_browser_resamples_is_said(bank, tmp_path):
    """The track of a stand-in for the microphone runs at another rate than the package."""
    folder = tmp_path / "pump.edge"
    assert main(["export", str(bank), "--out", str(folder)]) == 0
    pretend = (
        "const real = MediaStreamTrack.prototype.getSettings; MediaStreamTrack.prototype.getSettings = function () "
    )
    with browser(write(tmp_path / "heard.wav", hum(3.0, seed=1))) as chrome, served(folder) as address:
        for settings, says in (
            ("{ sampleRate: 44100 }", "runs at 44100 Hz and the browser resamples it"),
            ("{ sampleRate: undefined }", "does not say at which rate the microphone runs"),
            ("{ noiseSuppression: true }", "does not switch off noiseSuppression"),
        ):
            chrome.get(address)
            assert chrome.execute_async_script(READY) is True
            chrome.execute_script(pretend + f"{{ return {{ ...real.call(this), ...{settings} }}; }}")
            chrome.find_element("id", "listen").click()
            wait(lambda: chrome.find_element("id", "listen").text == "Stop")
            assert says in chrome.find_element("id", "notice").text


def test_what_is_vendored_is_what_the_notice_lists():
    folder = Path(bundle.__file__).parent / "vendor"
    notice = (folder / "NOTICE.txt").read_text()
    for file in folder.iterdir():
        assert file.name == "NOTICE.txt" or f"{bundle.sha256_file(file)}  {file.name}" in notice
