"""Cutting: a recording of any length to windows at the encoder's rate, in bounded memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from echobank.data.audio import RESAMPLER_QUALITY, Clip, Stream, hash_of, heard_of, opened
from echobank.data.channels import Channel, ChannelName
from echobank.data.original import Original
from echobank.data.sound_facts import Int16, sound_facts
from echobank.errors import AudioError

Float32 = NDArray[np.float32]
_Stretch = tuple[float, Float32, tuple[Float32, float, float, tuple[str, ...]]]  # start in s, samples, `heard_of`


@dataclass(frozen=True)
class Window(Clip):
    """A stretch of a recording; level and flags are those of the stretch in the recording, before resampling.

    Attributes:
        start: Where it begins in the recording, seconds.
        facts: Facts of its sound, int16 (`sound_facts.NAMES`); None unless requested.
    """

    start: float = 0.0
    facts: Int16 | None = field(default=None, kw_only=True)


def read_windows(
    path: Path | str,
    *,
    seconds: float,
    hop: float,
    sample_rate: int = 16_000,
    channel: ChannelName = 0,
    source: bool = False,
    facts: bool = False,
) -> Iterator[Window]:
    """Yield windows of a recording of any length in bounded memory.

    Windows begin every `hop` seconds. When some of the end is left over, one more window ends with the
    recording; a recording shorter than a window is one short window.

    Args:
        path: As `read_clip`.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        sample_rate: Rate wanted, Hz.
        channel: As `read_clip`; two microphones are reduced window by window, each as a clip of its own.
        source: Whether what is heard at the rate of the file is wanted besides.
        facts: Whether the facts of its sound are wanted besides.

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
            facts=facts,
        )


def cut_stream(
    stream: Stream,
    *,
    seconds: float,
    hop: float,
    sample_rate: int,
    channel: ChannelName = 0,
    sha256: str = "",
    source: bool = False,
    facts: bool = False,
) -> Iterator[Window]:
    """Yield windows of a stream of blocks, each as soon as its last block is there; see `read_windows` for the end.

    The windows do not depend on how the samples are cut into blocks.

    Args:
        stream: Blocks of what the channel picks, and their rate.
        seconds: Length of a window.
        hop: Distance between the beginnings of windows, seconds.
        sample_rate: Rate wanted, Hz.
        channel: What the blocks are of.
        sha256: Hash of what the stream is of, for the record.
        source: Whether what is heard at the rate of the stream is wanted besides.
        facts: Whether the facts of its sound are wanted besides.
    """
    chosen = Channel.of(channel)
    stretches = _stretches if chosen.width == 1 else _reduced_stretches
    rates = (sample_rate, stream.rate, stream.channels)
    for start, samples, (heard, peak, rms, flags) in stretches(stream, chosen, seconds, hop, sample_rate):
        length, sound = len(samples) / sample_rate, hash_of(samples)
        about = (*rates, channel, length, sha256, peak, rms, flags, start)
        described = sound_facts(heard, stream.rate) if facts else None
        yield Window(samples, *about, sound_sha256=sound, source=heard if source else None, facts=described)


def _stretches(stream: Stream, chosen: Channel, seconds: float, hop: float, sample_rate: int) -> Iterator[_Stretch]:
    """Yield stretches of one channel, cut from what was resampled as one."""
    size = round(seconds * sample_rate)
    original = Original(stream.blocks, stream.rate / sample_rate, size) if stream.rate != sample_rate else None
    blocks = original.passing() if original else stream.blocks
    for begin, samples in cut(resampled(blocks, stream.rate, sample_rate), size, hop * sample_rate):
        heard = original.stretch(begin, len(samples)) if original else samples
        yield begin / sample_rate, samples, heard_of(heard, chosen, stream.rate)


def _reduced_stretches(
    stream: Stream, chosen: Channel, seconds: float, hop: float, sample_rate: int
) -> Iterator[_Stretch]:
    """Yield stretches of two microphones, each reduced and then resampled by itself, as `read_clip` does a clip."""
    rate = stream.rate
    for begin, picked in cut(stream.blocks, max(1, round(seconds * rate)), hop * rate):
        facts = heard_of(picked, chosen, rate)
        samples = facts[0]
        if rate != sample_rate:
            samples = soxr.resample(samples, rate, sample_rate, quality=RESAMPLER_QUALITY)
        yield begin / rate, samples, facts


def cut(blocks: Iterable[Float32], size: int, hop: float) -> Iterator[tuple[int, Float32]]:
    """Yield (first sample, float32[size]) every `hop` samples, each as soon as the blocks hold it.

    See `read_windows` for the end.

    Args:
        blocks: Samples float32[T], or float32[T, 2], of any lengths, one after another.
        size: Samples per window.
        hop: Samples between the beginnings of windows; need not be whole.
    """
    held = np.zeros(0, np.float32)
    base = count = end = 0
    for block in blocks:
        held = np.concatenate((held.reshape(-1, *block.shape[1:]), block))
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
