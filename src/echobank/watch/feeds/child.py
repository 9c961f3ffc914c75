"""A source that another program serves: it is started, read, and killed when it stalls.

A hang or a crash of a driver or a decoder stays outside, and whatever state it was in is gone with it.
"""

import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

from echobank.errors import AudioError
from echobank.watch.feeds.samples import SampleFormat, is_wav, read_wav_header
from echobank.watch.feeds.source import Bytes, Frames, SourceError

OVERRUN = "overrun"  # the line of a child that says that the sound card lost some
_WORDS = 400  # bytes of the child's last messages that are kept


class ChildSession:
    """A running child that writes a WAV stream."""

    def __init__(self, process: "subprocess.Popen[bytes]", explain: Callable[[str], str], where: str) -> None:
        self._process, self._explain, self._where = process, explain, where
        self._words = b""
        self.overruns = 0
        assert process.stdout is not None and process.stderr is not None
        self._raw = Bytes(process.stdout.fileno(), (process.stderr.fileno(), self._hear))
        self._frames: Frames | None = None
        self.form = SampleFormat(16_000)

    def start(self, stop: Callable[[], bool], seconds: float) -> None:
        """Wait for the header.

        Raises:
            SourceError: The child does not deliver.
        """
        start = self._raw.exactly(12, stop, seconds)
        try:
            if not is_wav(start):
                raise self.lost()
            header = read_wav_header(lambda count: self._raw.exactly(count, stop, seconds))
        except AudioError as error:
            raise self.lost() from error
        self.form = header.format
        self._frames = Frames(self._raw, header.format)

    def read(self, seconds: float) -> bytes | None:
        """Return some whole frames, or None when nothing comes in that time.

        Raises:
            SourceError: The child ended.
        """
        assert self._frames is not None
        data = self._frames.read(seconds)
        if data == b"":
            raise self.lost()
        return data

    def lost(self) -> SourceError:
        """Return the error that says why the child does not deliver, in its own last words."""
        while self._raw.read(0.05):
            pass
        lines = [line.strip() for line in self._words.decode("utf-8", "replace").splitlines() if line.strip()]
        reason = self._explain(lines[-1]) if lines else ""
        return SourceError(f"no sound{f' ({reason})' if reason else ''}", where=self._where)

    def close(self) -> None:
        """Kill the child, and wait until it is gone."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _hear(self, text: bytes) -> None:
        lines = (self._words + text).split(b"\n")
        overruns = [line for line in lines[:-1] if line.strip() == OVERRUN.encode()]
        self.overruns += len(overruns)
        kept = [line for line in lines if line.strip() != OVERRUN.encode()]
        self._words = b"\n".join(kept)[-_WORDS:]


def run_child(
    command: Sequence[str], where: str, stop: Callable[[], bool], seconds: float, explain: Callable[[str], str]
) -> ChildSession:
    """Start a program that writes a WAV stream, and return once its header has come.

    Args:
        command: The program; its standard input is a pipe that ends when this process does.
        where: What it serves, for messages.
        stop: Asked now and then; True gives up.
        seconds: How long the header may take.
        explain: Makes its last words fit to print, for example without a password.

    Raises:
        SourceError: It cannot be started, or does not deliver.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
    except OSError as error:
        raise SourceError(f"cannot start {command[0]} ({error.strerror})", where=where) from error
    session = ChildSession(process, explain, where)
    try:
        session.start(stop, seconds)
    except BaseException:
        session.close()
        raise
    return session
