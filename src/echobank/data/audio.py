"""Reading audio: any format, rate and channel count to one signal at the encoder's rate."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from echobank.data.channels import Channel, ChannelName
from echobank.data.decoding import decode, open_pieces
from echobank.errors import AudioError
from echobank.storage import sha256_file

Float32 = NDArray[np.float32]

AUDIO_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),  # as sampled
    *(".flac", ".ogg", ".oga", ".opus", ".mp3"),  # compressed
)
RESAMPLER_QUALITY = "HQ"
RESAMPLER = f"soxr {RESAMPLER_QUALITY}"  # its version stands among those of a run

_REFUSED = "cannot be read ("
_IN_MEMORY_BYTES = 64 << 20
_FLOOR_DBFS = -200.0
_PART = 1 << 16
_SILENT_SPAN = 2.0**-23  # one step of a 24-bit converter
_FULL_SCALE = 32767 / 32768
_CLIPPED_RUN = 3
_DC_LEVEL = 0.05
_FLAGS = ("silent", "clipped", "dc", "short", "far_silent")
_SHORT_SECONDS = 0.175  # 16 frames of 25 ms every 10 ms: one BEATs patch


@dataclass(frozen=True)
class Clip:
    """What is heard of one recording: one channel, or its two microphones reduced to one signal.

    Attributes:
        samples: float32[T], nominally in [-1, 1]; a floating-point file may exceed it and is then flagged.
        sample_rate: Rate of `samples`, Hz.
        source_rate: Rate of the file, Hz.
        channels: Number of channels in the file.
        channel: The channel that was read, from 0, or the name of the reduction (`channels`).
        seconds: Length.
        sha256: Hash of the file's bytes.
        peak_dbfs: Largest magnitude, dB of full scale, at least -200; before resampling.
        rms_dbfs: Root mean square, dB of full scale, at least -200; before resampling.
        flags: Among "silent" (constant), "clipped" (three samples in a row at full scale, or beyond it), "dc"
            (offset above 5 % of full scale or above the signal itself), "short" (below 0.175 s), and of two
            microphones "far_silent" (the far one is constant). They are judged on the samples of the file: resampling
            makes a stuck value ring.
        source: float32[S], what is heard at the rate of the file; None unless requested.
        sound_sha256: Hash of `samples`; the same sound in another container (WAV, FLAC, another tag) has the same.
    """

    samples: Float32
    sample_rate: int
    source_rate: int
    channels: int
    channel: ChannelName
    seconds: float
    sha256: str
    peak_dbfs: float
    rms_dbfs: float
    flags: tuple[str, ...]
    sound_sha256: str = field(default="", kw_only=True)
    source: Float32 | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Stream:
    """An open file: its rate in Hz, its number of channels, and float32 blocks of what a `Channel` picks."""

    rate: int
    channels: int
    blocks: Iterator[Float32]


def read_clip(path: Path | str, *, sample_rate: int = 16_000, channel: ChannelName = 0, source: bool = False) -> Clip:
    """Read what is heard of a recording at `sample_rate`.

    Args:
        path: WAV, AIFF, AU, CAF, W64, FLAC, Ogg, Opus or MP3 of any rate from 1 kHz.
        sample_rate: Rate wanted, Hz.
        channel: Channel wanted, from 0, or "w1" for what the near microphone hears and the far one does not predict;
            channels are never averaged.
        source: Whether what is heard at the rate of the file is wanted besides.

    Raises:
        AudioError: The file cannot be read, is not audio, is cut short, empty, not finite or beyond every level, or
            lacks the channel.
        ConfigError: There is no channel of that name.
    """
    path, chosen = Path(path), Channel.of(channel)
    with opened(path, channel) as (stream, sha256):
        blocks = list(stream.blocks)
        picked = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    original, peak, rms, flags = heard_of(picked, chosen, stream.rate)
    samples = original
    if stream.rate != sample_rate:
        samples = soxr.resample(original, stream.rate, sample_rate, quality=RESAMPLER_QUALITY)
    if not len(samples):
        raise AudioError("too short to use", value=f"{len(original)} samples", where=path)
    return Clip(
        samples,
        sample_rate,
        stream.rate,
        stream.channels,
        channel,
        len(original) / stream.rate,
        sha256,
        peak,
        rms,
        flags,
        sound_sha256=hash_of(samples),
        source=original if source else None,
    )


def hash_of(samples: Float32) -> str:
    """Return the SHA-256 of samples float32[T], in lower-case hexadecimal."""
    return hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest()


@contextmanager
def opened(path: Path, channel: ChannelName) -> Iterator[tuple[Stream, str]]:
    """Open a recording; files of ordinary size are read from disk once, for the hash and the samples both."""
    chosen = Channel.of(channel)
    try:
        if path.stat().st_size < _IN_MEMORY_BYTES:
            content = path.read_bytes()
            yield _stream(io.BytesIO(content), path, chosen), hashlib.sha256(content).hexdigest()
        else:
            sha256 = sha256_file(path)
            with path.open("rb") as handle:
                yield _stream(handle, path, chosen), sha256
    except OSError as error:
        raise AudioError(f"{_REFUSED}{error.strerror or error})", where=path) from error


def refused_by_system(reason: str) -> bool:
    """Return whether the system refused to read a recording, by its error: a permission, a share that is gone.

    That may be otherwise a moment later; an error of the content is final.
    """
    return _REFUSED in reason


def _stream(handle: BinaryIO, path: Path, channel: Channel) -> Stream:
    if not handle.read(1):
        raise AudioError("the file is empty", where=path)
    pieces = open_pieces(handle, path)
    sound = pieces[0].sound
    if lack := channel.lack(sound.channels):
        raise AudioError(lack, where=path)
    return Stream(sound.samplerate, sound.channels, decode(pieces, handle, path, channel))


def heard_of(picked: Float32, channel: Channel, rate: int) -> tuple[Float32, float, float, tuple[str, ...]]:
    """Return what is heard of picked samples, float32[T], with its peak and RMS in dB of full scale, and its flags.

    Of two microphones, levels and flags are those of the one signal. Flags say besides that a microphone was clipped or
    dead, which the reduction hides.

    Args:
        picked: float32[T], or float32[T, 2] of two microphones.
        channel: What picked it.
        rate: Its rate, Hz.
    """
    heard = channel.reduced(picked, rate)
    peak, rms, flags = quality(heard, rate)
    if channel.width == 1:
        return heard, peak, rms, flags
    near, far = (quality(np.ascontiguousarray(side), rate)[2] for side in picked.T)
    found = {
        *flags,
        *({"clipped"} & {*near, *far}),
        *({"silent"} & {*near}),
        *(["far_silent"] if "silent" in far else []),
    }
    return heard, peak, rms, tuple(flag for flag in _FLAGS if flag in found)


def quality(samples: Float32, rate: int) -> tuple[float, float, tuple[str, ...]]:
    """Return peak and RMS in dB of full scale, and the quality flags; see `Clip`."""
    low, high = float(samples.min()), float(samples.max())
    peak = max(high, -low)
    mean = float(samples.mean(dtype=np.float64))
    power = _energy(samples) / len(samples)
    silent = high - low < _SILENT_SPAN
    flags = {
        "silent": silent,
        "clipped": peak > 1.0 or (not silent and peak >= _FULL_SCALE and _has_run(np.abs(samples) >= _FULL_SCALE)),
        "dc": abs(mean) > _DC_LEVEL or (not silent and mean**2 > power - mean**2),
        "short": len(samples) < _SHORT_SECONDS * rate,
    }
    return _decibel(peak, 20.0), _decibel(power, 10.0), tuple(name for name, raised in flags.items() if raised)


def _energy(samples: Float32) -> float:
    """Return the sum of squares in float64, where no sample overflows; a part at a time, so that memory is bounded."""
    parts = (samples[i : i + _PART].astype(np.float64) for i in range(0, len(samples), _PART))
    return sum(float(np.dot(part, part)) for part in parts)


def _has_run(hot: NDArray[np.bool_]) -> bool:
    """Return whether three samples in a row are at full scale; a normalised recording touches it once."""
    return bool(np.convolve(hot, np.ones(_CLIPPED_RUN, np.int64)).max() >= _CLIPPED_RUN)


def _decibel(value: float, factor: float) -> float:
    return max(_FLOOR_DBFS, factor * float(np.log10(value))) if value > 0 else _FLOOR_DBFS
