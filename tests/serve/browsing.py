"""A browser that looks at the page: what it complains about, where it asks, and pictures of what it shows."""

import base64
import contextlib
import json
import time
from urllib.parse import urlsplit

from tests.requirements import require

PHONE, DESKTOP = (390, 844), (1280, 900)


class Browser:
    """Chromium without a window."""

    def __init__(self, chrome):
        self.chrome = chrome
        self.said, self.asked = [], set()

    def look(self, size=DESKTOP, theme="light"):
        """Take a size and a theme of the system."""
        media = [{"name": "prefers-color-scheme", "value": theme}]
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        facts = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", facts)

    def open(self, address):
        self.chrome.get("about:blank")
        self.chrome.get(address)

    def all(self, selector):
        return self.chrome.find_elements("css selector", selector)

    def one(self, selector, seconds=20.0):
        """Wait for an element."""
        return self.until(lambda: next(iter(self.all(selector)), None), selector, seconds)

    def click(self, selector):
        def clicked():
            from selenium.common.exceptions import WebDriverException

            try:
                self.one(selector).click()
            except WebDriverException:  # it was drawn again meanwhile
                return False
            return True

        self.until(clicked, selector)

    def text(self, selector):
        """Return the text of an element, in one piece of script, so that it cannot be drawn again meanwhile."""
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def run(self, script, *arguments):
        return self.chrome.execute_script(script, *arguments)

    def until(self, found, what, seconds=20.0):
        end = time.monotonic() + seconds
        while not (result := found()):
            assert time.monotonic() < end, (what, self.complaints())
            time.sleep(0.05)
        return result

    def picture(self, path):
        shot = self.chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self):
        """Return what the console said so far."""
        entries = self.chrome.get_log("browser")
        self.said += [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]
        return self.said

    def hosts(self):
        """Return the hosts that were asked so far."""
        for entry in self.chrome.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                address = urlsplit(message["params"]["request"]["url"])
                self.asked |= {address.netloc} if address.scheme in ("http", "https", "ws", "wss") else set()
        return self.asked


@contextlib.contextmanager
def browser(heard):
    """Yield a browser whose microphone hears a file and which finds no host but 127.0.0.1."""
    from selenium import webdriver

    program, driver = require("chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
        f"--use-file-for-fake-audio-capture={heard}",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        chrome.set_script_timeout(30)
        yield Browser(chrome)
    finally:
        chrome.quit()
