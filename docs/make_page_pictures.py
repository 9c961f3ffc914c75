"""Pictures of the page of the service for the guide: `python docs/make_page_pictures.py [--minutes 6]`.

Runs the machines of `make serve-demo`, waits until one of them has developed its fault, and takes pictures with
Chromium. Needs Chromium with its driver and the `test` extra.
"""

import argparse
import base64
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "scripts")]

import serve_demo  # noqa: E402
from PIL import Image  # noqa: E402

from tests.serve.browsing import browser  # noqa: E402

SIZES = {"page": (1280, 1720), "page-phone": (390, 1500), "page-machines": (1280, 540)}


def run() -> int:
    """Feed the machines for some minutes and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--port", type=int, default=8099)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        words = ["--out", folder, "--port", str(args.port), "--pause", "3"]
        with subprocess.Popen([sys.executable, serve_demo.__file__, *words]) as demo:
            try:
                address = f"http://127.0.0.1:{args.port}"
                while not serve_demo.answers(address):
                    time.sleep(1)
                time.sleep(60 * args.minutes)
                take(address)
            finally:
                demo.terminate()
    return 0


def take(address: str) -> None:
    """Take the pictures."""
    machine = f"{address}/#/machines/{serve_demo.FAULTY.replace(' ', '%20')}"
    with browser("/dev/null") as page:
        page.chrome.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        for name, where in (("page", machine), ("page-phone", machine), ("page-machines", f"{address}/#/")):
            for theme in ("light", "dark"):
                page.look(SIZES[name], theme)
                page.open(where)
                page.one(".machine.odd" if name == "page-machines" else ".picture canvas", 60)
                time.sleep(2)
                keep(page.chrome, HERE / f"{name}-{theme}.png")


def keep(chrome: Any, path: Path) -> None:
    """Write what is in the window, in 256 colours."""
    shot = chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(run())
