"""The page of a machine in a real browser: silent console, no request, audio that loads, marks that cover the truth."""

import json
import re

import numpy as np
import pytest
import soundfile

from echobank.cli import main
from echobank.machines.machine import open_machine
from echobank.machines.page import Digest, make_page, write_page
from echobank.machines.verdict import Verdict
from tests.machines.sounds import RATE, hum, with_tone, write
from tests.requirements import require

HZ = 3000.0
# WCAG 2.1, relative luminance and contrast ratio of every text element against the nearest background.
CONTRAST = """
const light = c => { c = c.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * c[0] + .7152 * c[1] + .0722 * c[2]; };
const parse = s => s.match(/[\\d.]+/g).map(Number);
const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
const bad = [];
for (const e of document.querySelectorAll('h1,h2,h3,p,li,td,th,a,code,figcaption,summary,caption,svg text')) {
  if (e.matches('.number') || !e.textContent.trim()) continue;
  const style = getComputedStyle(e);
  const ink = light(parse(e.tagName === 'text' ? style.fill : style.color).slice(0, 3)), paper = light(ground(e));
  const ratio = (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
  if (ratio < 4.5) bad.push(e.tagName + ' ' + e.textContent.slice(0, 30) + ' ' + ratio.toFixed(2));
}
return bad;
"""


def invented(fitted, place):
    """Score an invented pump, healthy and with a tone."""
    assert main(["score", str(fitted / "banks" / "pump"), str(fitted / "new"), "--report", str(place)]) == 1


def real(fitted, place):
    """Score faults of a real motor, and a healthy recording of it with a tone, against its other recordings."""
    motors, folder = require("recordings", "bldc_motors"), place.parent
    healthy = sorted((motors / "Healthy" / "M1").glob("*.wav"))
    held_out, rate = soundfile.read(healthy[3], dtype="float32")
    write(folder / "bad.wav", with_tone(held_out[:, 0], 4.0, 5.5, level=0.1))
    fit = ["fit", *map(str, [*healthy[:3], *healthy[4:]]), "--machine", "M1", "--out", str(folder), "--window", "2s"]
    assert rate == RATE and main(fit) == 0
    faults = sorted((motors / "Propeller" / "M1").glob("*.wav"))[:4]
    new = map(str, [folder / "bad.wav", *faults])
    assert main(["score", str(folder / "M1"), *new, "--report", str(place)]) == 1


@pytest.fixture(scope="module", params=[invented, real], ids=["invented", "real"])
def page(request, fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    request.param(fitted, path)
    return path


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver

    chromium, chromedriver = require("chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=webdriver.ChromeService(chromedriver), options=options)
    yield driver
    driver.quit()


def show(browser, page, width=1200, scheme="light"):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def test_the_console_is_silent_and_nothing_is_asked_of_the_network(browser, page):
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    show(browser, page)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith(("data:", "file:")) for url in asked)
    assert {url for url in asked if url.startswith("file:")} == {page.as_uri()}


def test_audio_loads_and_lasts_as_long_as_the_window(browser, page):
    show(browser, page)
    wait = "const done = arguments[0]; const all = [...document.querySelectorAll('audio')];"
    wait += "Promise.all(all.map(a => a.readyState ? 0 : new Promise(r => a.onloadedmetadata = r)))"
    wait += ".then(() => done(all.map(a => a.duration)))"
    lengths = browser.execute_async_script(wait)
    assert len(lengths) >= 2 and lengths == pytest.approx([2.0] * len(lengths), abs=0.01)


def test_the_mark_covers_the_fault(browser, page):
    show(browser, page)
    card = next(c for c in browser.find_elements("css selector", ".card") if "bad.wav" in c.text)
    mark = browser.execute_script("return {...arguments[0].querySelector('rect.mark').dataset}", card)
    start, end, low, high = (float(mark[name]) for name in ("start", "end", "low", "high"))
    window = float(re.search(r"sound from ([\d.]+) s", card.text)[1])
    truth = (4.0, 5.5) if "M1" in browser.title else (1.0, 2.5)
    assert start <= max(truth[0], window) + 0.02
    assert end >= min(truth[1], window + 2.0) - 0.1  # it lasts for three quarters of the window
    assert end - start <= truth[1] - truth[0] + 0.5
    assert low <= HZ <= high and high - low < 1200


@pytest.mark.parametrize("width", [320, 375, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_width_and_can_be_read(browser, page, width, scheme):
    show(browser, page, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(CONTRAST) == []


def test_the_keyboard_reaches_everything(browser, page):
    from selenium.webdriver import ActionChains, Keys

    show(browser, page)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    wanted = browser.execute_script(
        "return document.querySelectorAll('a[href], audio, summary, [tabindex=\"0\"]').length"
    )
    for _ in range(40 * wanted):  # a player has several places to stop at
        ActionChains(browser).send_keys(Keys.TAB).perform()
        browser.execute_script("document.activeElement.dataset.reached = 1")
        reached = browser.execute_script("return document.querySelectorAll('[data-reached]:not(body)').length")
        if reached == wanted:
            break
    assert reached == wanted > 6


def test_names_cannot_break_the_page(fitted, tmp_path):
    evil = write(tmp_path / "<script>alert(1)</script> & 'x'.wav".replace("/", ""), with_tone(hum(2.0), 0.5, 1.5))
    assert main(["explain", str(fitted / "banks" / "pump"), str(evil), "--report", str(tmp_path / "r.html")]) == 0
    text = (tmp_path / "r.html").read_text()
    assert "<script" not in text and "&lt;script" in text


def test_the_window_that_was_asked_about_comes_first(fitted, tmp_path):
    sound = write(tmp_path / "long.wav", np.concatenate([hum(4.0), with_tone(hum(2.0), 0.5, 1.5)]))
    asked, page = ["explain", str(fitted / "banks" / "pump"), str(sound), "--at", "0"], tmp_path / "r.html"
    assert main([*asked, "--report", str(page)]) == 0
    found = re.findall(r"long\.wav, the (?:odd )?sound from [0-9:.]+ s", page.read_text())
    assert found[0] == "long.wav, the sound from 0.0 s" and len(set(found)) == 2, found


def test_a_page_opens_from_a_mail(page):
    assert page.stat().st_size < 3e6
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page.read_text())


def verdict(file, start, score, decision=0):
    return Verdict(file, start, 2.0, score, 0.5, 50.0, decision, "00.wav", 0.0, -30.0)


def test_a_digest_of_many_recordings_keeps_the_oddest_and_counts_all():
    digest = Digest()
    for i in range(1000):
        for start, more in ((0.0, 0.0), (1.0, 0.5)):
            digest.see(verdict(f"{i:04d}.wav", start, (i * 37) % 1000 + more, decision=int((i * 37) % 1000 >= 990)))
    digest.see(Verdict("bad.wav", error="bad"))
    worst = digest.worst()
    assert [v.score for v in worst] == [999.5 - i for i in range(100)]
    assert {v.start for v in worst} == {1.0}
    assert (digest.count, digest.odd, digest.odd_windows, digest.failed) == (1000, 10, 20, 1)
    assert len(digest.scores) == 2000 and digest.files[-1] == 999


def test_chance_is_called_chance_and_a_recording_that_went_is_named(fitted, tmp_path):
    machine = open_machine(fitted / "banks" / "pump").at_rate(0.2)
    digest = Digest()
    for start in range(10):
        digest.see(verdict(str(tmp_path / "gone.wav"), float(start), 9.0 if start == 3 else 0.0, int(start == 3)))
    page = make_page(machine, digest)
    assert "gone.wav sounds unlike the healthy pump, most of all from 3.0 s." in page.conclusion
    assert "1 of 10 windows is above the threshold; of healthy sound about 2 would be (20 %)" in page.conclusion[1]
    assert "may well be chance" in page.conclusion[1]
    assert page.cases == () and "gone.wav" in page.problems[0] and page.failed == 1
    write_page(tmp_path / "r.html", machine, digest)
    text = (tmp_path / "r.html").read_text()
    assert re.search(r"Made on \d{4}-\d\d-\d\d at \d\d:\d\d .* by echobank", text)
    assert ">seconds<" in text and "upright lines" not in text


def test_a_page_of_nothing_says_so(fitted, tmp_path):
    machine, digest = open_machine(fitted / "banks" / "pump"), Digest()
    digest.see(Verdict("x.wav", error="x.wav: no sound"))
    write_page(tmp_path / "r.html", machine, digest)
    text = (tmp_path / "r.html").read_text()
    assert "None of the recordings could be scored." in text and "x.wav: no sound" in text
