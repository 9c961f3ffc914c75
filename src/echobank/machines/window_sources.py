"""Sources of windows for the feeder: a recording that is cut while it is read, and windows that are cut already."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path

from echobank.data.channels import Channel, ChannelName
from echobank.data.sound_facts import paired
from echobank.data.windows import Window, read_windows
from echobank.errors import AudioError
from echobank.models.encoder import Feature, Sourced
from echobank.models.feeding import Piece


@dataclass(frozen=True)
class WindowSource:
    """A recording as a source of windows.

    Attributes:
        path: The recording.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        sample_rate: Rate that the encoder hears at, Hz.
        channel: What is heard of a recording, as `Listener`.
        with_source: Whether the encoder hears the source.
        with_facts: Whether the facts of the sound are wanted, with those of a second channel where there is one.
    """

    path: Path
    seconds: float
    hop: float
    sample_rate: int
    channel: ChannelName
    with_source: bool = False
    with_facts: bool = False

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def pieces(self) -> Iterator[Piece]:
        """Yield the windows; the facts of each are the `Window` without its samples.

        Raises:
            AudioError: The recording cannot be used, or changed while it was read.
        """
        before = _state(self.path)
        rate, least = self.sample_rate, self.seconds / 2  # a stub of an end would be unlike all whole windows
        for number, window in enumerate(self.windows()):
            if not number or window.seconds >= least:
                key = f"{window.sha256} channel {self.channel} {window.start} {window.seconds} {rate}"
                identity = hashlib.sha256(key.encode()).hexdigest()
                yield _piece(identity, window)
        if _state(self.path) != before:
            raise AudioError("changed while it was read; still being written?", where=self.path)

    def windows(self) -> Iterator[Window]:
        """Yield every window, with its source where that is wanted.

        Raises:
            AudioError: The recording cannot be used.
        """
        windows = self._cut(self.channel)
        if not self.with_facts:
            yield from windows
            return
        first = next(windows, None)
        if first is None:
            return
        beside: Iterator[Window | None] = repeat(None)
        if first.channels > 1:
            beside = self._cut(Channel.of(self.channel).beside(first.channels))
        for window, other in zip(chain([first], windows), beside, strict=False):
            yield window if other is None else beside_of(window, other)

    def _cut(self, channel: ChannelName) -> Iterator[Window]:
        return read_windows(
            self.path,
            seconds=self.seconds,
            hop=self.hop,
            sample_rate=self.sample_rate,
            channel=channel,
            source=self.with_source,
            facts=self.with_facts,
        )


@dataclass(frozen=True)
class CutWindows:
    """Windows that are cut already as a source for the feeder.

    Attributes:
        path: What they are called.
        windows: The windows.
    """

    path: Path
    windows: tuple[Window, ...]

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def pieces(self) -> Iterator[Piece]:
        """Yield the windows; the facts of each are the `Window` without its samples."""
        for window in self.windows:
            yield _piece("", window)


def beside_of(window: Window, other: Window) -> Window:
    """Return a window whose facts include a second channel."""
    if window.facts is None or other.facts is None:
        return window
    return replace(window, facts=paired(window.facts, other.facts, other.rms_dbfs))


def feature_of(window: Window) -> Feature:
    """Return what the encoder takes of a window."""
    return window.samples if window.source is None else Sourced(window.samples, window.source, window.source_rate)


def _piece(identity: str, window: Window) -> Piece:
    return Piece(identity, feature_of(window), replace(window, samples=window.samples[:0].copy(), source=None))


def _state(path: Path) -> tuple[int, int]:
    try:
        facts = os.stat(path)  # noqa: PTH116  (one call for names of any kind)
    except OSError as error:
        raise AudioError(f"cannot be read ({error.strerror})", where=path) from error
    return facts.st_size, facts.st_mtime_ns
