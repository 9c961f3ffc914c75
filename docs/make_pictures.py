"""Makes the pictures of README and docs from the demo of the service: a machine with a fault, light and dark.

    python docs/make_pictures.py [--port 8099]

Needs Chromium with its driver. Takes about two minutes: the demo's machine develops its fault meanwhile.
"""

import argparse
import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
MACHINE = "Pump bearing B"  # of scripts/serve_demo.py, the one that fails
SIZES = {"machine": (1120, 1560), "shift": (1120, 560)}  # CSS pixels
LONGEST = 600.0  # seconds to wait for the fault


def wait_for_event(address: str) -> None:
    """Wait until the machine has an event, and its chart something to show."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        time.sleep(5)
        try:
            where = f"{address}/api/events?machine={urllib.parse.quote(MACHINE)}"
            events = json.load(urllib.request.urlopen(where, timeout=20))
        except OSError:
            continue
        if events and time.monotonic() > end - LONGEST + 90:
            return
    raise SystemExit("the machine of the demo had no event")


def pictures(address: str) -> None:
    """Write a picture of the machine's page and one of all machines in each theme."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    pages = {"machine": f"#/machines/{urllib.parse.quote(MACHINE)}", "shift": "#/"}
    try:
        for theme in ("light", "dark"):
            media = [{"name": "prefers-color-scheme", "value": theme}]
            chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
            for name, place in pages.items():
                width, height = SIZES[name]
                size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
                chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                chrome.get("about:blank")
                chrome.get(f"{address}/{place}")
                time.sleep(12)
                shot = chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
                (PICTURES / f"{name}-{theme}.png").write_bytes(base64.b64decode(shot["data"]))
    finally:
        chrome.quit()


def main() -> None:
    """Run the demo, wait for the fault, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8099)
    port = parser.parse_args().port
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        demo = [sys.executable, str(ROOT / "scripts" / "serve_demo.py"), "--out", folder, "--port", str(port)]
        with subprocess.Popen(demo, stdout=subprocess.DEVNULL) as running:
            try:
                wait_for_event(f"http://127.0.0.1:{port}")
                pictures(f"http://127.0.0.1:{port}")
            finally:
                running.terminate()


if __name__ == "__main__":
    main()
