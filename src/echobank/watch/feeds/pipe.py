"""Standard input as a source: raw samples, or a WAV stream."""

from collections.abc import Callable

from echobank.errors import AudioError
from echobank.watch.feeds.samples import SampleFormat, is_wav, read_wav_header
from echobank.watch.feeds.source import Bytes, Frames, SourceError


class PipeSession:
    """An open pipe."""

    overruns = 0

    def __init__(self, frames: Frames, form: SampleFormat) -> None:
        self._frames, self.form = frames, form

    def read(self, seconds: float) -> bytes | None:
        """Return some whole frames, b"" at the end, None when nothing comes in that time.

        Raises:
            SourceError: The stream ended before the samples that its header promised.
        """
        data = self._frames.read(seconds)
        if data == b"" and self._frames.missing:
            missing, self._frames.missing = self._frames.missing, 0
            raise SourceError("the stream is cut short", value=f"{missing} bytes of samples are missing", where="-")
        return data

    def close(self) -> None:
        """Do nothing: the descriptor is not this session's own."""


class Pipe:
    """Sound that another program writes.

    Args:
        handle: Descriptor that is read, 0 for standard input.
        form: How raw samples lie; None accepts WAV only.
    """

    title, lasting, paced, stall = "on standard input", False, False, 0.0

    def __init__(self, handle: int = 0, form: SampleFormat | None = None) -> None:
        self._handle, self._form = handle, form

    def open(self, stop: Callable[[], bool]) -> PipeSession:
        """Return the pipe, opened; waits for its first bytes.

        Raises:
            SourceError: Nothing comes.
            AudioError: What comes is not samples.
        """
        raw = Bytes(self._handle)
        start = raw.exactly(12, stop)
        if not start:
            raise SourceError("nothing came", where="-")
        if is_wav(start):
            header = read_wav_header(lambda count: raw.exactly(count, stop))
            return PipeSession(Frames(raw, header.format, size=header.size), header.format)
        if self._form is None:
            raise AudioError(
                "not a WAV stream", where="-", hint="say how raw samples lie: --rate 44100 --channels 2 --format s16le"
            )
        return PipeSession(Frames(raw, self._form, start), self._form)
