"""The page of a machine in a real browser: silent console, no request, audio that loads, marks that cover the truth."""

import json
import re
import shutil

import pytest

from echobank.cli import main
from tests.monitoring.sounds import hum, with_tone, write

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
TRUTH = {"start": 1.0, "end": 2.5, "hz": 3000.0}
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


@pytest.fixture(scope="module")
def page(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert main(["score", str(fitted / "banks" / "pump"), str(fitted / "new"), "--report", str(path)]) == 1
    return path


@pytest.fixture(scope="module")
def browser():
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium is not installed (apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=webdriver.ChromeService(DRIVER), options=options)
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
    assert browser.execute_async_script(wait) == pytest.approx([2.0, 2.0], abs=0.01)


def test_the_mark_covers_the_fault(browser, page):
    show(browser, page)
    mark = browser.execute_script("return {...document.querySelector('rect.mark').dataset}")
    start, end, low, high = (float(mark[name]) for name in ("start", "end", "low", "high"))
    window = float(re.search(r"bad\.wav.*?from ([\d.]+) s", page.read_text(), re.DOTALL)[1])
    assert start <= max(TRUTH["start"], window) + 0.02
    assert end >= min(TRUTH["end"], window + 2.0) - 0.02
    assert low <= TRUTH["hz"] <= high and high - low < 1200


@pytest.mark.parametrize("width", [320, 375, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_width_and_can_be_read(browser, page, width, scheme):
    show(browser, page, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(CONTRAST) == []


def test_the_keyboard_reaches_everything(browser, page):
    from selenium.webdriver import ActionChains, Keys

    show(browser, page)
    reached = set()
    for _ in range(40):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.add(browser.execute_script("return document.activeElement.tagName.toLowerCase()"))
    assert {"a", "audio", "summary"} <= reached


def test_names_cannot_break_the_page(fitted, tmp_path):
    evil = write(tmp_path / "<script>alert(1)</script> & 'x'.wav".replace("/", ""), with_tone(hum(2.0), 0.5, 1.5))
    assert main(["explain", str(fitted / "banks" / "pump"), str(evil), "--report", str(tmp_path / "r.html")]) == 0
    text = (tmp_path / "r.html").read_text()
    assert "<script" not in text and "&lt;script" in text


def test_a_page_opens_from_a_mail(page):
    assert page.stat().st_size < 3e6
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page.read_text())
