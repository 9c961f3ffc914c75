"""A network stream as a source: RTSP or HTTP, decoded by an ffmpeg child; the sound only, never the pictures."""

import shutil
from collections.abc import Callable
from urllib.parse import urlsplit

from echobank.errors import ConfigError
from echobank.watch.feeds.child import ChildSession, run_child

SCHEMES = ("rtsp", "rtsps", "http", "https")
_STALL = 3.0  # seconds without a sample; Ogg pages arrive a second apart
_START = 20.0  # seconds until the first sample, cameras take their time
_CHILD_TIMEOUT = 10_000_000  # microseconds; a child whose parent was killed must not wait for a dead camera for ever


class Network:
    """A network stream.

    Args:
        url: rtsp://, rtsps://, http:// or https://; user and password may be part of it and are never printed.

    Raises:
        ConfigError: Not such an address, or ffmpeg is not installed.
    """

    lasting, paced, stall = True, True, _STALL

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ConfigError("not the address of a stream", value=url, hint="write rtsp://host/path")
        if shutil.which("ffmpeg") is None:
            raise ConfigError("network streams need ffmpeg", hint="install it, for example: apt-get install ffmpeg")
        self._url, self._scheme = url, parts.scheme
        port = f":{parts.port}" if parts.port else ""
        self.title = f"from {parts.scheme}://{parts.hostname}{port}"

    def open(self, stop: Callable[[], bool]) -> ChildSession:
        """Return the stream, opened.

        Raises:
            SourceError: It does not deliver.
        """
        return run_child(self._command(), self.title.removeprefix("from "), stop, _START, self._explain)

    def _command(self) -> list[str]:
        if self._scheme.startswith("rtsp"):
            options = ["-rtsp_transport", "tcp", "-allowed_media_types", "audio", "-timeout", str(_CHILD_TIMEOUT)]
        else:
            options = ["-rw_timeout", str(_CHILD_TIMEOUT)]
        quiet = ["-hide_banner", "-nostdin", "-loglevel", "error"]
        output = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-c:a", "pcm_s16le", "-flush_packets", "1", "-f", "wav"]
        return ["ffmpeg", *quiet, *options, "-i", self._url, *output, "pipe:1"]

    def _explain(self, words: str) -> str:
        return words.replace(self._url, self.title.removeprefix("from "))
