"""Decoding of what strangers send, in a child with limits of memory, time and file size.

The child turns a file into a plain WAV of the samples that `data/audio.py` reads in it, of the channels that are heard,
at the same rate: scores are those of the file. It stays for many files, and is replaced when it dies or takes too long.
"""

import json
import os
import select
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from echobank.data.channels import ChannelName
from echobank.errors import AudioError, EchobankError

_KINDS = {b"RIFF": "wav", b"RF64": "wav", b"fLaC": "flac", b"OggS": "ogg", b"FORM": "aiff"}
_MEMORY = 1 << 30  # bytes of address space
_HEADER = 4096  # bytes of a WAV around its samples
_STARTING = 60.0  # seconds, for a child that has to import first
_SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Limits:
    """What one recording may cost.

    Attributes:
        seconds: Its length.
        bytes: Size of its samples, float32.
        patience: Seconds that decoding may take.
    """

    seconds: float = 600.0
    bytes: int = 256 << 20
    patience: float = 30.0


@dataclass(frozen=True)
class Decoded:
    """A recording that was decoded.

    Attributes:
        sha256: Hash of the bytes that were sent.
        seconds: Length.
    """

    sha256: str
    seconds: float


def kind_of(path: Path) -> str:
    """Return the suffix that suits a recording which was decoded, from its first bytes."""
    with path.open("rb") as stream:
        return _KINDS.get(stream.read(4), "mp3")


class Decoder:
    """One child; one file at a time.

    Args:
        limits: What a recording may cost.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits, self._gate = limits, threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def decode(self, source: Path, target: Path, channel: ChannelName) -> Decoded:
        """Decode what is heard of a recording to a WAV of float32: one channel, or the near and the far microphone.

        Args:
            source: What was sent.
            target: Where the WAV goes; nothing is left there after an error.
            channel: What is heard (`Channel`).

        Raises:
            AudioError: Not a recording, too long, or it cost too much to find out.
        """
        task = {"source": str(source), "target": str(target), "channel": channel}
        with self._gate:
            try:
                answer = self._ask({**task, "seconds": self._limits.seconds, "bytes": self._limits.bytes})
            except (OSError, ValueError, TimeoutError) as error:
                self._end()
                target.unlink(missing_ok=True)
                late = isinstance(error, TimeoutError)
                what = "takes too long to decode" if late else "decoding it failed or took too much memory"
                raise AudioError(what) from error
        if "error" in answer:
            target.unlink(missing_ok=True)
            raise AudioError(str(answer["error"]))
        return Decoded(**answer)

    def close(self) -> None:
        """End the child."""
        with self._gate:
            self._end()

    def _ask(self, task: dict[str, Any]) -> dict[str, Any]:
        patience = self._limits.patience
        if self._child is None or self._child.poll() is not None:
            self._end()
            self._child, patience = _start(self._limits.bytes), _STARTING + self._limits.patience
        assert self._child.stdin and self._child.stdout
        self._child.stdin.write(json.dumps(task) + "\n")
        self._child.stdin.flush()
        if not select.select([self._child.stdout], [], [], patience)[0]:
            raise TimeoutError
        answer = json.loads(self._child.stdout.readline())  # a child that died has written nothing: ValueError
        return dict(answer)

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            for stream in (self._child.stdin, self._child.stdout):
                with suppress(OSError):
                    stream.close() if stream else None
            self._child.wait()
            self._child = None


def _start(most: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "echobank.serve.decoder", str(most + _HEADER)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, **_SINGLE, "PYTHONPATH": path}
    return subprocess.Popen(command, text=True, encoding="utf-8", env=environment, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]


def serve_tasks(tasks: TextIO, answers: TextIO) -> None:
    """Decode one file per line of JSON until there are no more; for the child."""
    for line in tasks:
        try:
            answer = _convert(**json.loads(line))
        except EchobankError as error:
            answer = {"error": error.what}
        except MemoryError:
            answer = {"error": "takes too much memory to decode"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _convert(source: str, target: str, channel: ChannelName, seconds: float, bytes: int) -> dict[str, Any]:
    import soundfile

    from echobank.data.audio import opened
    from echobank.data.channels import Channel
    from echobank.serve.foreign import refuse_foreign

    refuse_foreign(Path(source))
    done, width = 0, Channel.of(channel).width
    with (
        opened(Path(source), channel) as (stream, sha256),
        soundfile.SoundFile(target, "w", stream.rate, width, "FLOAT", format="WAV") as wav,
    ):
        for block in stream.blocks:
            done += len(block)
            if done > seconds * stream.rate or 4 * width * done > bytes:
                raise AudioError(f"longer than the {seconds:g} s or {bytes >> 20} MiB of samples that are taken")
            wav.write(block)
    return {"sha256": sha256, "seconds": done / stream.rate}


def _limit(kind: str, value: int) -> None:
    import resource

    number = getattr(resource, kind)
    most = resource.getrlimit(number)[1]
    resource.setrlimit(number, (value if most == resource.RLIM_INFINITY else min(value, most), most))


if __name__ == "__main__":
    if os.name == "posix":
        _limit("RLIMIT_AS", _MEMORY)
        _limit("RLIMIT_CORE", 0)
        _limit("RLIMIT_FSIZE", int(sys.argv[1]))
    serve_tasks(sys.stdin, sys.stdout)
