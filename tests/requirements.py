"""What a test may need beyond this checkout, and the reason it gives to skip where that is missing.

A test names its needs with a marker, a fixture or helper with a call:

    from tests.requirements import needs, require

    @needs("mosquitto")
    def test_...

    browser, driver = require("chromium")

A module that cannot even be imported without torch starts with `pytest.importorskip("torch", reason="no torch")`.
A need that shows only while the test runs is `pytest.skip(f"no package index: {error}")`. Continuous integration
fails on every reason that `tests/ci/environments.toml` does not allow.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.recordings import recordings

needs = pytest.mark.needs


def require(need: str, *details: str) -> Any:
    """Return what stands for the need (a path, a pair of paths, True), or skip the test."""
    reason, hint, probe = NEEDS[need]
    found = probe(*details)
    if not found:
        pytest.skip(f"{reason}: {hint}")
    return found


def _program(*names: str) -> str | None:
    """Return the path of the first program there is; Debian keeps servers out of a user's PATH."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
    return next((path for name in names if (path := shutil.which(name, path=places))), None)


def _chromium() -> tuple[str, str] | None:
    browser = _program("chromium", "chromium-browser", "google-chrome", "chrome")
    driver = _program("chromedriver")
    return (browser, driver) if browser and driver else None


def _postgresql() -> Path | None:
    """Return the folder with initdb and postgres."""
    found = _program("initdb")
    installed = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *([Path(found)] if found else [])]
    return max(installed).parent if installed else None


def _weights(file: str) -> Path | None:
    """Return a published file of weights in ECHOBANK_WEIGHTS, or in `shared/teacher` beside the checkout."""
    given = os.environ.get("ECHOBANK_WEIGHTS")
    path = (Path(given) if given else Path(__file__).parents[2] / "shared" / "teacher") / file
    return path if path.is_file() else None


@cache
def _bf16() -> bool:
    """Whether oneDNN multiplies bfloat16 on this processor."""
    if not find_spec("torch"):
        return False
    import torch

    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@cache
def _gpu() -> bool:
    if not find_spec("torch"):
        return False
    import torch

    return torch.cuda.is_available()


@cache
def _alsa() -> bool:
    """Whether arecord is there, and sounddevice with the library that it needs."""
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        return False
    return _program("arecord") is not None


@cache
def _namespaces() -> bool:
    """Whether a disk can be mounted where no other program sees it."""
    if _program("unshare") is None or _program("nsenter") is None:
        return False
    flags = "-m" if os.geteuid() == 0 else "-Urm"
    words = ["unshare", flags, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    return subprocess.run(words, capture_output=True).returncode == 0


@cache
def _gstreamer() -> bool:
    """Whether Debian's Python has the bindings of GStreamer's RTSP server (the tests run it as a program)."""
    return any(Path("/usr/lib").glob("*/girepository-1.0/GstRtspServer-1.0.typelib"))


@cache
def _s3_server() -> str | None:
    """Return moto's S3 server, where one is named: its libraries clash with ours and older ones refuse our uploads."""
    return os.environ.get("ECHOBANK_MOTO_SERVER")


@cache
def _netns() -> tuple[str, ...]:
    """Return what a command begins with to run in a network namespace whose only interface is loopback."""
    begin = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    if _program("unshare") is None or _program("ip") is None:
        return ()
    return begin if subprocess.run([*begin, "true"], capture_output=True).returncode == 0 else ()


NEEDS: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "gpu": ("no GPU", "torch sees no CUDA device", _gpu),
    "weights": ("no official weights", "set ECHOBANK_WEIGHTS to a folder that holds them", _weights),
    "bf16": ("no bf16 unit", "this processor multiplies no bfloat16", _bf16),
    "torch": ("no torch", "pip install torch", lambda: find_spec("torch") is not None),
    "chromium": ("no Chromium", "apt-get install chromium chromium-driver", _chromium),
    "mosquitto": ("no Mosquitto", "apt-get install mosquitto", lambda: _program("mosquitto")),
    "ffmpeg": ("no ffmpeg", "apt-get install ffmpeg", lambda: _program("ffmpeg")),
    "postgresql": ("no PostgreSQL", "apt-get install postgresql", _postgresql),
    "ray": ("no Ray", "pip install 'ray[data]'", lambda: find_spec("ray") is not None),
    "s3": ("no S3 server", "pip install 'moto[s3,server]' in a venv; ECHOBANK_MOTO_SERVER=.../moto_server", _s3_server),
    "recordings": ("no real recordings", "see docs/recordings.md", recordings),
    "alsa": ("no ALSA", "apt-get install alsa-utils libportaudio2", _alsa),
    "gstreamer": ("no GStreamer", "apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi", _gstreamer),
    "mkdocs": ("no mkdocs", "pip install 'echobank[docs]'", lambda: find_spec("mkdocs") is not None),
    "namespaces": ("no mount namespaces", "the test mounts a small disk: unshare -Urm is not permitted", _namespaces),
    "netns": ("no network namespaces", "unshare --net is not permitted, or iproute2 is missing", _netns),
    "posix": ("no POSIX system", "the test uses signals, limits or devices of one", lambda: os.name == "posix"),
    "linux": ("no Linux", "the test uses /proc or /dev/full", lambda: sys.platform == "linux"),
}
REASONS = (*(reason for reason, _, _ in NEEDS.values()), "no package index")
