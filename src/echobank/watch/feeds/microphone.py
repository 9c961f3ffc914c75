"""A microphone as a source, served by a child of its own.

    python -m echobank.watch.feeds.microphone [NAME] [RATE] [CHANNELS]

writes what it hears as an endless WAV stream. A new process lists the devices again, so one that was absent at start is
found when it appears, and a driver that hangs is ended with its process.
"""

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from echobank.errors import ConfigError
from echobank.watch.feeds.child import OVERRUN, ChildSession, run_child
from echobank.watch.feeds.samples import SampleFormat, wav_header

_STALL = 3.0  # seconds
_START = 10.0
_BLOCK_SECONDS = 0.1


@dataclass(frozen=True)
class Device:
    """A device that hears.

    Attributes:
        index: Its number.
        name: Its name.
        channels: Most channels that it has.
        rate: Its usual rate, Hz.
    """

    index: int
    name: str
    channels: int
    rate: int


class Microphone:
    """A microphone.

    Args:
        name: Number or part of the name of the device; empty is the usual one.
        rate: Hz; 0 takes the usual rate of the device.
        channels: Number of channels; 0 takes one, or two where there is no device with one.

    Raises:
        ConfigError: sounddevice is not installed.
    """

    lasting, paced, stall = True, True, _STALL

    def __init__(self, name: str = "", rate: int = 0, channels: int = 0) -> None:
        if find_spec("sounddevice") is None:
            raise ConfigError("a microphone needs sounddevice", hint="pip install 'echobank[live]'")
        self._words = [name, str(rate), str(channels)]
        self.title = f"from microphone {name}" if name else "from the microphone"

    def open(self, stop: Callable[[], bool]) -> ChildSession:
        """Return the microphone, opened.

        Raises:
            SourceError: It is not there.
        """
        command = [sys.executable, "-m", __name__, *self._words]
        return run_child(command, self.title.removeprefix("from "), stop, _START, lambda words: words)


def devices() -> list[Device]:
    """Return the devices that hear.

    Raises:
        ConfigError: sounddevice or the library that it needs is not installed.
    """
    listed = enumerate(_sounddevice().query_devices())
    return [
        Device(index, str(facts["name"]), int(facts["max_input_channels"]), round(facts["default_samplerate"]))
        for index, facts in listed
        if facts["max_input_channels"] > 0
    ]


def serve(name: str, rate: int, channels: int) -> None:
    """Write what a microphone hears to standard output until nobody reads it."""
    sounddevice = _sounddevice()
    device: int | None = _find(name).index if name else None
    facts = sounddevice.query_devices(device, "input")
    form = SampleFormat(rate or round(facts["default_samplerate"]), channels or 1)
    frames = max(1, round(form.rate * _BLOCK_SECONDS))
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with sounddevice.RawInputStream(form.rate, frames, device, form.channels, "int16") as stream:
        _write(wav_header(form))
        while True:
            data, lost = stream.read(frames)
            if lost:
                os.write(2, f"{OVERRUN}\n".encode())
            _write(bytes(data))


def _find(name: str) -> Device:
    found = devices()
    same = [device for device in found if name in (str(device.index), device.name)]
    near = [device for device in found if name.casefold() in device.name.casefold()]
    if not same and not near:
        names = ", ".join(device.name for device in found) or "none"
        raise ConfigError("no such microphone", value=name, hint=f"there are: {names}")
    return (same or near)[0]


def _write(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]


def _leave_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise ConfigError("a microphone needs sounddevice", hint="pip install 'echobank[live]'") from error
    except OSError as error:
        hint = "install PortAudio, for example: apt-get install libportaudio2"
        raise ConfigError(f"sounddevice cannot be used ({error})", hint=hint) from error
    return sounddevice


if __name__ == "__main__":
    given = [*sys.argv[1:], "", "", ""]
    try:
        serve(given[0], int(given[1] or 0), int(given[2] or 0))
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        os.write(2, f"{' '.join(str(error).split())}\n".encode())
        os._exit(1)
