"""The page in a real browser: what a shift sees, hears and does; phone and desktop, light and dark."""

import csv
import hashlib
import io
import re
import shutil

import pytest

from echobank.serve.page_routes import page_files
from tests.machines.sounds import hum, with_tone, write
from tests.serve.browsing import DESKTOP, PHONE, browser
from tests.serve.serving import served, sound

UPLOAD = "/api/machines/pump/recordings"
PLAYED = "const a = document.getElementById(arguments[0]); return a && !a.paused && a.currentTime > 0.1"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """One browser for all tests; its microphone hears a hum."""
    with browser(write(tmp_path_factory.mktemp("microphone") / "heard.wav", hum(20.0, seed=77))) as opened:
        yield opened


@pytest.fixture
def shift(chromium, fitted, tmp_path):
    """Return (browser, client, service) of a service of its own."""
    from echobank.serve.premises import ServiceSettings

    shutil.copytree(fitted / "banks", tmp_path / "banks")
    settings = ServiceSettings(banks=tmp_path / "banks", folder=tmp_path / "data", k=2, n=3)
    chromium.look()
    chromium.complaints(), chromium.hosts()
    chromium.said, chromium.asked = [], set()
    with served(settings) as (client, service):
        yield chromium, client, service
        chromium.chrome.get("about:blank")


def at_home(page, client):
    """Check that the console is silent and that no other host was asked."""
    assert page.complaints() == []
    assert page.hosts() == {f"{client.base_url.host}:{client.base_url.port}"}


def test_an_event_appears_without_reload_and_both_sounds_play(shift, tmp_path):
    page, client, _ = shift
    client.post(UPLOAD, content=sound(seed=5))
    page.open(f"{client.base_url}/")
    page.one(".machine.fine")
    page.run("window.here = true")
    client.post(UPLOAD, content=sound(odd=True))
    page.one(".machine.odd")
    page.click(".machine.odd")
    for which in ("odd", "healthy"):
        page.click(f"figure.{which} .play")
        page.until(lambda which=which: page.run(PLAYED, f"sound-{which}"), f"{which} sound")
    assert page.run("return document.getElementById('sound-odd').paused")
    assert "above the alarm threshold" in page.text(".sentences")
    assert page.all(".picture .mark")
    assert page.run("return window.here")
    for size in (DESKTOP, PHONE):
        for theme in ("light", "dark"):
            page.look(size, theme)
            fits = "return document.documentElement.scrollWidth <= innerWidth && innerWidth === arguments[0]"
            page.until(lambda wide=size[0], fits=fits: page.run(fits, wide), "a view as wide as the screen")
            page.picture(tmp_path / f"{size[0]}-{theme}.png")
    at_home(page, client)


def test_no_fault_takes_the_sound_as_healthy_and_undo_brings_the_bank_back(shift):
    page, client, service = shift
    bank = service.settings.banks / "pump" / "bank.safetensors"
    before = bank.read_bytes()
    client.post(UPLOAD, content=sound(odd=True))
    page.open(f"{client.base_url}/#/machines/pump")
    page.click(".event [data-key=nofault]")
    page.one("dialog textarea").send_keys("was the crane")
    page.click("dialog button.main")
    page.one(".event [data-key=undo]")
    assert bank.read_bytes() != before
    assert client.get("/api/events").json()[0]["note"] == "was the crane"
    page.until(lambda: "no fault" in page.text(".story"), "what was changed")
    page.click(".event [data-key=undo]")
    page.until(lambda: not page.all(".event [data-key=undo]"), "undo")
    assert bank.read_bytes() == before
    at_home(page, client)


def test_a_machine_is_added_from_files_and_the_microphone_and_scores(shift, tmp_path):
    page, client, _ = shift
    files = [write(tmp_path / f"{seed:02d}.wav", hum(seed=seed)) for seed in range(12)]
    strange = write(tmp_path / "strange.wav", with_tone(hum(seed=20), 0, 4, level=0.3))
    page.open(f"{client.base_url}/#/add")
    page.one("#machine").send_keys("fan 2")
    page.click("summary")
    page.run("document.getElementById('window').value = '2'")
    page.click("form button.main")
    page.one("#files").send_keys("\n".join(map(str, [*files, strange])))
    page.until(lambda: len(page.all(".takes li")) == 13, "recordings")
    page.click(".record")
    page.until(lambda: page.text(".clock").startswith("3 s"), "the clock of the microphone")
    page.click(".record")
    page.until(lambda: len(page.all(".takes li")) == 14, "what was recorded")
    page.click("section .main")
    page.one(".card.good", 60)
    assert "strange" in page.text(".takes li.odd")
    recorded = next(take for take in client.get("/api/fits").json()[0]["takes"] if take["file"].startswith("recording"))
    assert recorded["seconds"] > 2
    for name in ("strange", "recording"):
        page.click(f".takes button[aria-label^='Remove {name}']")
        page.until(lambda name=name: name not in page.text(".takes"), f"removal of {name}")
    page.click(".card:not(.good) > button.main")
    page.until(lambda: client.get("/api/machines/fan 2").json()["revision"] == 2, "the second fit")
    page.one(".card.good")
    page.click(".card.good .button.main")
    page.until(lambda: page.text("h1").startswith("fan 2"), "the machine")
    assert client.post("/api/machines/fan 2/recordings", content=sound(seed=30)).json()["anomalous"] == 0
    page.until(lambda: page.text(".tiles dd") not in ("", "–"), "its score")
    assert client.post("/api/machines/fan 2/recordings", content=sound(seed=31, odd=True)).json()["anomalous"] > 0
    page.until(lambda: page.all(".tiles .odd"), "its odd score")
    at_home(page, client)


def test_a_login_shows_what_its_token_allows(shift):
    page, client, _ = shift
    client.post(UPLOAD, content=sound(odd=True))
    made = client.post("/api/tokens", json={"name": "gate", "scopes": ["read"]}).json()["token"]
    page.open(f"{client.base_url}/#/machines/pump")
    page.one("#token").send_keys("wrong")
    page.click("form button")
    page.until(lambda: "unknown or has expired" in page.text(".box.trouble"), "the refusal")
    page.one("#token").clear()
    page.one("#token").send_keys(made)
    page.click("form button")
    page.until(lambda: "audio" in page.text(".evidence") and "reading" in page.text(".event .buttons"), "the event")
    assert not page.all("[data-name=add]") and not page.all("[data-key=pause]")
    page.until(lambda: page.text(".live") == "Live", "the stream")
    assert all("401" in said for said in page.complaints())  # what the browser itself says of the refusals
    page.said = []
    page.chrome.delete_all_cookies()


def test_a_folder_is_watched_from_the_settings(shift, tmp_path):
    page, client, _ = shift
    (tmp_path / "landing").mkdir()
    page.open(f"{client.base_url}/#/settings")
    card = "section[aria-label=Sources]"
    page.click(f"{card} summary")
    page.run("document.getElementById('source-kind').value = 'folder'")
    page.run("document.getElementById('source-kind').dispatchEvent(new Event('change'))")
    page.one("#source-address").send_keys(str(tmp_path / "landing"))
    page.one("#source-name").send_keys("line")
    page.click(f"{card} form > button")
    page.until(lambda: page.text(f"{card} .tokens .chip") == "running", "the source")
    write(tmp_path / "landing" / "new.wav", hum(seed=5))
    page.run("location.hash = '#/'")
    page.one(".machine.fine", 40)
    page.run("location.hash = '#/settings'")
    page.click(f"{card} .tokens button")
    page.click("dialog .danger")
    page.until(lambda: "No source" in page.text(card), "the end of the source")
    assert client.get("/api/sources").json() == []
    at_home(page, client)


def test_the_keyboard_is_enough(shift):
    page, client, _ = shift
    from selenium.webdriver.common.keys import Keys

    client.post(UPLOAD, content=sound(odd=True))
    page.open(f"{client.base_url}/")
    page.one(".machine")
    focus = "return document.activeElement.className + ' ' + (document.activeElement.dataset.key ?? '')"
    keyboard = page.chrome.switch_to
    for _ in range(20):
        keyboard.active_element.send_keys(Keys.TAB)
        if "m-pump" in page.run(focus):
            break
    keyboard.active_element.send_keys(Keys.ENTER)
    page.until(lambda: page.text("h1").startswith("pump"), "the machine")
    assert page.run("return document.activeElement.id") == "main"
    page.one(".event [data-key=acknowledge]").send_keys(Keys.ENTER)
    page.until(lambda: page.run("return document.activeElement.name") == "text", "the field of the dialog")
    keyboard.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: not page.all("dialog"), "the end of the dialog")
    assert client.get("/api/events").json()[0]["acknowledged"] is None


def test_what_is_shown_is_a_table_that_no_spreadsheet_takes_for_formulas(shift):
    page, client, _ = shift
    page.open(f"{client.base_url}/docs")
    script = "import('/page/csv.js').then((m) => arguments[2](m.csvText(arguments[0], arguments[1])))"
    rows = [{"file": '=HYPERLINK("x")', "score": -1.5, "note": 'a "b", c'}, {"file": "+1", "score": None}]
    table = page.chrome.execute_async_script(script, ["file", "score", "note"], rows)
    read = list(csv.reader(io.StringIO(table)))
    assert read == [["file", "score", "note"], ['\'=HYPERLINK("x")', "-1.5", 'a "b", c'], ["'+1", "", ""]]


def test_the_api_is_described_without_another_host(shift):
    page, client, _ = shift
    page.open(f"{client.base_url}/docs")
    page.until(lambda: len(page.all(".route")) > 30, "routes")
    page.click(".route:nth-of-type(2) summary")
    at_home(page, client)


def test_a_file_of_the_page_is_kept_by_browsers_and_nothing_else_is_given(shift):
    _, client, _ = shift
    first = client.get("/page/main.js")
    assert first.headers["content-type"].startswith("text/javascript")
    assert client.get("/page/main.js", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "/page//etc/passwd", "/page/"):
        assert client.get(path).status_code == 404
    policy = client.get("/").headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'self'" in policy


def text_of(name):
    return page_files()[name].body.decode()


def test_every_text_is_in_one_file_and_every_one_is_used():
    known = set(re.findall(r'"([\w.]+)": "', text_of("strings.js")))
    code = "\n".join(text_of(name) for name in page_files() if name.endswith(".js") and name != "strings.js")
    used = {match[1] for match in re.finditer(r"""["'`]([a-z]\w*(?:\.\w+)+|[a-z]+)["'`]""", code)}
    begun = set(re.findall(r"t\(`([\w.]+\.)\$\{", code)) | {
        f"{key}." for key in re.findall(r'plural\("([\w.]+)"', code)
    }
    assert set(re.findall(r'\bt\("([\w.]+)"', code)) <= known
    endings = (".title", ".text")  # of `${key}.title`
    unused = {key for key in known - used if not any(key.startswith(start) for start in begun)}
    assert {key for key in unused if not key.endswith(endings)} == set()


def test_every_module_is_fetched_at_once():
    modules = {name for name in page_files() if name.endswith(".js") and not name.startswith("vendor/")}
    ahead = set(re.findall(r'"modulepreload" href="page/([\w.-]+)"', text_of("index.html")))
    assert ahead == modules - {"main.js", "theme.js", "docs.js", "recorder-worklet.js"}


def test_no_style_or_script_stands_in_the_pages():
    for name in ("index.html", "docs.html"):
        text = text_of(name)
        assert "<style" not in text and "style=" not in text and not re.search(r"<script(?![^>]*src=)", text)
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


PAIRS = [(text, ground) for text in ("ink", "muted", "accent") for ground in ("paper", "raised", "sunken")]
PAIRS += [("odd", "odd-soft"), ("fine", "fine-soft"), ("warn", "warn-soft"), ("on-accent", "accent"), ("odd", "raised")]
PAIRS += [("ink", "odd-soft"), ("ink", "warn-soft"), ("paper", "ink"), ("raised", "odd")]


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark of the system", "dark that was chosen"])
def test_text_has_the_contrast_of_wcag_aa(theme):
    block = re.findall(r":root[^{]*\{([^}]*--paper[^}]*)\}", text_of("page.css"))[theme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for text, ground in PAIRS:
        light, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)
    for line in ("edge",):  # of what can be pressed or written in: WCAG 1.4.11
        light, dark = sorted((luminance(colours[line]), luminance(colours["raised"])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3


def test_what_is_vendored_is_what_the_notice_lists():
    notice = text_of("vendor/NOTICE.txt")
    vendored = [name for name in page_files() if name.startswith("vendor/") and not name.endswith("NOTICE.txt")]
    assert len(vendored) == 2
    for name in vendored:
        digest = hashlib.sha256(page_files()[name].body).hexdigest()
        assert f"{digest}  {name.partition('/')[2]}" in notice
