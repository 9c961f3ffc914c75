"""A source of bytes: what a stream feed listens to. It can be opened, read for a while, lost and opened again."""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from echobank.errors import EchobankError
from echobank.watch.feeds.samples import SampleFormat

PIPE_BYTES = 1 << 20  # 64 KiB, the usual size, loses sound when a reader stalls for 0.4 s at 48 kHz stereo
_BLOCK = 1 << 16
_POLL = 0.25  # seconds between two looks at whether to stop


class SourceError(EchobankError):
    """A source that is not there, or was lost; it is tried again later."""


class SoundSession(Protocol):
    """An open source."""

    @property
    def form(self) -> SampleFormat:
        """How its samples lie."""
        ...

    @property
    def overruns(self) -> int:
        """How often sound was lost because it was not taken in time, as far as the source says."""
        ...

    def read(self, seconds: float) -> bytes | None:
        """Return some whole frames, b"" at the end of the stream, None when nothing comes in that time.

        Raises:
            SourceError: The source was lost.
        """
        ...

    def close(self) -> None:
        """Release it and end the process that serves it, if any."""
        ...


class SoundSource(Protocol):
    """Where sound comes from.

    Attributes:
        title: What it is in a sentence, without user and password.
        lasting: True opens it again whenever it ends.
        paced: True when it delivers in real time and its silence is a gap; False waits for whoever writes.
        stall: Seconds without any sample after which it counts as lost; 0 waits for ever.
    """

    title: str
    lasting: bool
    paced: bool
    stall: float

    def open(self, stop: Callable[[], bool]) -> SoundSession:
        """Return the source, opened.

        Args:
            stop: Asked now and then; True gives up.

        Raises:
            SourceError: It is not there.
            AudioError: What it delivers cannot be used.
        """
        ...


class Bytes:
    """Reads a file descriptor without ever waiting longer than asked.

    Args:
        handle: The descriptor.
        drain: Another descriptor that is emptied meanwhile, for example the messages of a child, and what takes them.
    """

    def __init__(self, handle: int, drain: tuple[int, Callable[[bytes], None]] | None = None) -> None:
        self._handle, self._drain = handle, drain
        widen_pipe(handle)

    def read(self, seconds: float, most: int = _BLOCK) -> bytes | None:
        """Return what is there, b"" at the end, None when nothing comes in that time."""
        end = time.monotonic() + seconds
        while True:
            handles = [self._handle, *([self._drain[0]] if self._drain else [])]
            ready, _, _ = select.select(handles, [], [], max(0.0, end - time.monotonic()))
            if self._drain and self._drain[0] in ready:
                text = os.read(self._drain[0], _BLOCK)
                self._drain[1](text)
                if not text:
                    self._drain = None
            if self._handle in ready:
                return os.read(self._handle, most)
            if time.monotonic() >= end:
                return None

    def exactly(self, count: int, stop: Callable[[], bool], seconds: float = float("inf")) -> bytes:
        """Return this many bytes; fewer at the end, when nothing comes in that time, or when asked to stop."""
        data, last = b"", time.monotonic()
        while len(data) < count and not stop() and time.monotonic() - last < seconds:
            block = self.read(_POLL, count - len(data))
            if block == b"":
                break
            if block:
                data, last = data + block, time.monotonic()
        return data


def widen_pipe(handle: int) -> None:
    """Give a pipe room for a megabyte, where the system has such a call (Linux)."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class Frames:
    """Whole frames from bytes.

    Args:
        raw: The bytes.
        form: How the samples lie.
        start: Bytes that were read already.
        size: Bytes of samples to come; None reads to the end.
    """

    def __init__(self, raw: Bytes, form: SampleFormat, start: bytes = b"", size: int | None = None) -> None:
        self._raw, self._form, self._rest, self._left = raw, form, start, size
        self.missing = 0

    def read(self, seconds: float) -> bytes | None:
        """Return some whole frames, b"" at the end, None when nothing comes in that time."""
        if self._left == 0:
            return b""
        block: bytes | None = b""
        if len(self._rest) < self._form.frame:
            block = self._raw.read(seconds)
            if block == b"":
                self.missing = self._left or 0
                return b""
        data = self._rest + (block or b"")
        if self._left is not None:
            data = data[: self._left]
        whole = len(data) - len(data) % self._form.frame
        self._rest = data[whole:]
        if self._left is not None:
            self._left -= whole
            if self._left < self._form.frame:
                self._left = 0
        return data[:whole] or None
