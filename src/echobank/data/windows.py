"""Cutting: a recording of any length to windows at the encoder's rate, in bounded memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from echobank.data.audio import RESAMPLER_QUALITY, Clip, Stream, hash_of, opened, quality
from echobank.data.original import Original
from echobank.errors import AudioError

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Window(Clip):
    """A stretch of a recording; level and flags are those of the stretch in the recording, before resampling.

    Attributes:
        start: Where it begins in the recording, seconds.
    """

    start: float = 0.0


def read_windows(
    path: Path | str, *, seconds: float, hop: float, sample_rate: int = 16_000, channel: int = 0, source: bool = False
) -> Iterator[Window]:
    """Yield windows of a recording of any length in bounded memory.

    Windows begin every `hop` seconds. When some of the end is left over, one more window ends with the
    recording; a recording shorter than a window is one short window.

    Args:
        path: As `read_clip`.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        sample_rate: Rate wanted, Hz.
        channel: Channel wanted, from 0.
        source: Whether the samples of the file under each window are wanted besides.

    Raises:
        AudioError: As `read_clip`, or a length or hop that is not positive; damage is found when it is reached.
    """
    path = Path(path)
    size = round(seconds * sample_rate)
    if size < 1 or round(hop * sample_rate) < 1:
        raise AudioError("window and hop must be positive", value=(seconds, hop), where=path)
    with opened(path, channel) as (stream, sha256):
        yield from cut_stream(
            stream,
            seconds=seconds,
            hop=hop,
            sample_rate=sample_rate,
            channel=channel,
            sha256=sha256,
            source=source,
        )


def cut_stream(
    stream: Stream,
    *,
    seconds: float,
    hop: float,
    sample_rate: int,
    channel: int = 0,
    sha256: str = "",
    source: bool = False,
) -> Iterator[Window]:
    """Yield windows of a stream of blocks, each as soon as its last block is there; see `read_windows` for the end.

    The windows do not depend on how the samples are cut into blocks.

    Args:
        stream: Blocks of one channel, and their rate.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        sample_rate: Rate wanted, Hz.
        channel: The channel that the blocks are of, for the record.
        sha256: Hash of what the stream is of, for the record.
        source: Whether the samples of the stream under each window are wanted besides.
    """
    size = round(seconds * sample_rate)
    original = Original(stream.blocks, stream.rate / sample_rate, size) if stream.rate != sample_rate else None
    blocks = original.passing() if original else stream.blocks
    for begin, samples in cut(resampled(blocks, stream.rate, sample_rate), size, hop * sample_rate):
        heard = original.stretch(begin, len(samples)) if original else samples
        peak, rms, flags = quality(heard, stream.rate)
        length, start = len(samples) / sample_rate, begin / sample_rate
        rates, sound = (sample_rate, stream.rate, stream.channels, channel), hash_of(samples)
        under = heard if source else None
        yield Window(samples, *rates, length, sha256, peak, rms, flags, start, sound_sha256=sound, source=under)


def cut(blocks: Iterable[Float32], size: int, hop: float) -> Iterator[tuple[int, Float32]]:
    """Yield (first sample, float32[size]) every `hop` samples, each as soon as the blocks hold it.

    See `read_windows` for the end.

    Args:
        blocks: Samples float32[T] of any lengths, one after another.
        size: Samples per window.
        hop: Samples between the beginnings of windows; need not be whole.
    """
    held = np.zeros(0, np.float32)
    base = count = end = 0
    for block in blocks:
        held = np.concatenate((held, block))
        while base + len(held) >= round(count * hop) + size:
            begin = round(count * hop)
            yield begin, held[begin - base : begin - base + size].copy()
            count, end = count + 1, begin + size
        drop = max(0, min(round(count * hop), base + len(held) - size) - base)
        held, base = held[drop:], base + drop
    total = base + len(held)
    if end < total and round(count * hop) < total:
        last = held[-size:].copy()
        yield total - len(last), last


def resampled(blocks: Iterable[Float32], rate: int, wanted: int) -> Iterator[Float32]:
    """Yield blocks at another rate. One block alone gives the same samples as several, in half the time.

    Args:
        blocks: Samples float32[T] of any lengths, one after another.
        rate: Their rate, Hz.
        wanted: Rate wanted, Hz.
    """
    if rate == wanted:
        yield from blocks
        return
    ahead = iter(blocks)
    first = next(ahead, np.zeros(0, np.float32))
    second = next(ahead, None)
    if second is None:
        yield soxr.resample(first, rate, wanted, quality=RESAMPLER_QUALITY)
        return
    resampler = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality=RESAMPLER_QUALITY)
    waiting = [first, second]
    del first, second  # no block is held that is done with

    def ordered() -> Iterator[Float32]:
        while waiting:
            yield waiting.pop(0)
        yield from ahead

    yield from map(resampler.resample_chunk, ordered())
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
