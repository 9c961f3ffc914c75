"""Addresses of sources, as a user writes them: `-`, `mic`, `mic:NAME`, `rtsp://`, `rtsps://`, `http://`, `https://`."""

from echobank.errors import ConfigError
from echobank.watch.feeds.microphone import Microphone
from echobank.watch.feeds.network import SCHEMES, Network
from echobank.watch.feeds.pipe import Pipe
from echobank.watch.feeds.samples import SampleFormat
from echobank.watch.feeds.source import SoundSource


def source_at(address: str, *, rate: int = 0, channels: int = 0, kind: str = "s16le") -> SoundSource:
    """Return the source of an address.

    Args:
        address: As a user writes it.
        rate: Rate of raw samples or of a microphone, Hz; 0 takes what the source has.
        channels: Number of channels, the same; 0 is one.
        kind: Format of raw samples.

    Raises:
        ConfigError: No such kind of source, or what it needs is not installed.
    """
    if address == "-":
        return Pipe(0, SampleFormat(rate, channels or 1, kind) if rate else None)
    if address == "mic" or address.startswith("mic:"):
        return Microphone(address.removeprefix("mic").removeprefix(":"), rate, channels)
    if address.partition("://")[0] in SCHEMES:
        return Network(address)
    raise ConfigError(
        "no such source", value=address, hint="write -, mic, mic:NAME, rtsp://host/path or http://host/path"
    )
