"""Decoding: an open file to blocks of what is heard of it, from the first sample to the last that the file holds.

libsndfile does the work. What it believes about the length is checked against what `containers` reads in the file, and
what is decoded is counted: a recording is heard whole, or refused with the reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray

from echobank.data.channels import Channel
from echobank.data.containers import flac, mpeg, ogg
from echobank.data.containers.chunks import check_chunks
from echobank.data.containers.section import Stretch, joined
from echobank.errors import AudioError, InputError

Float32 = NDArray[np.float32]

_BLOCK_FRAMES = 1 << 20
_TAIL_FRAMES = 1 << 12
_RATES_HZ = (1_000, 768_000)
_LOUDEST = 2.0**31  # float files may hold samples at the scale of 32-bit integers; beyond that it is damage
_PRIMING = 3  # frames of MP3 that a decoder may spend on its filters
_CONVERT = "if it plays elsewhere, convert it: ffmpeg -i IN OUT.flac"


class _Sound(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is not typed
    """A recording that is read from front to back, as from a pipe.

    soundfile seeks after each block otherwise, which costs compressed formats the state of their decoder, and stops
    where libsndfile guesses the end.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


@dataclass(frozen=True)
class Portion:
    """A stream of samples in a file.

    Attributes:
        sound: What decodes it.
        promised: Samples that it must have; fewer are a recording that is cut short.
        open_end: Whether bytes that are no sound may follow.
    """

    sound: soundfile.SoundFile
    promised: int
    open_end: bool = False


def open_pieces(handle: BinaryIO, path: Path) -> list[Portion]:
    """Return the streams of an open file, in order: one, or several of a chained Ogg file, all of one kind.

    Raises:
        AudioError: Not a recording that can be read, cut short, or streams of different rates.
    """
    try:
        pieces = _pieces(handle, path)
    except soundfile.LibsndfileError as error:
        raise AudioError("not a recording that can be read", where=path, hint=_CONVERT) from error
    kinds = {(piece.sound.samplerate, piece.sound.channels) for piece in pieces}
    if len(kinds) > 1:
        raise AudioError("its streams differ in rate or channels", value=sorted(kinds), where=path, hint=_CONVERT)
    (rate, _) = kinds.pop()
    if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise AudioError("sample rate out of range", value=f"{rate} Hz", where=path)
    return pieces


def decode(pieces: Sequence[Portion], handle: BinaryIO, path: Path, channel: Channel) -> Iterator[Float32]:
    """Yield blocks of what a channel picks, float32[T], or float32[T, 2] of two microphones.

    Raises:
        AudioError: Damaged, cut short, empty, or with a sample that is not finite or beyond every level.
    """
    done = 0
    for piece in pieces:
        count = 0
        try:
            for samples in _blocks(piece, path, channel, done):
                count += len(samples)
                done += len(samples)
                yield samples
        except soundfile.LibsndfileError as error:
            if not piece.open_end or count < max(piece.promised, 1):
                raise AudioError(f"damaged or cut short after {done} samples", where=path) from error
            if piece.sound.format == "FLAC" and flac.another_follows(handle):
                what = f"another recording follows after {done} samples"
                raise AudioError(what, where=path, hint="split the file, or convert it with ffmpeg") from error
        if count < piece.promised:
            raise AudioError(f"cut short: {piece.promised} samples promised, {count} found", where=path)
    if not done:
        raise AudioError("holds no samples", where=path)


def checked_samples(samples: ArrayLike, rate: int, channel: Channel) -> Float32:
    """Return samples in memory as what a channel picks; whole numbers are scaled as those of a file.

    Args:
        samples: One channel [T], or the near and the far microphone [T, 2] where the channel takes both.
        rate: Their rate, Hz.
        channel: What takes them.

    Raises:
        InputError: Not so many channels of finite numbers in a range that a recording can have, or an impossible rate.
    """
    array = np.asarray(samples)
    if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise InputError("sample rate out of range", value=rate, hint=f"{_RATES_HZ[0]} to {_RATES_HZ[1]} Hz")
    if array.ndim != channel.width or array.shape[1:] not in ((), (2,)) or not len(array):
        form, hint = "one channel, float[T]", "choose a channel"
        if channel.width == 2:
            form, hint = f"a near and a far microphone, float[T, 2], as {channel} hears", "give both channels"
        raise InputError(f"samples are {form}, of at least one", value=array.shape, hint=hint)
    if array.dtype in (np.int16, np.int32):
        return (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    if array.dtype.kind != "f":
        raise InputError("samples are float, int16 or int32", value=str(array.dtype))
    if not (np.abs(array) <= _LOUDEST).all():
        raise InputError("a sample is not finite, or beyond every level that a recording can have")
    return array.astype(np.float32)


def _pieces(handle: BinaryIO, path: Path) -> list[Portion]:
    handle.seek(0)
    if handle.read(4) == ogg.MAGIC:
        sounds = [_Sound(joined([Stretch(handle, begin, end)])) for begin, end in ogg.links(handle, path)]
        return [Portion(sound, sound.frames) for sound in sounds]
    if opened := flac.open_ended(handle):
        return [Portion(_Sound(opened[0]), opened[1], open_end=True)]
    handle = check_chunks(handle, path)
    handle.seek(0)
    sound = _Sound(handle)
    return [_mpeg_piece(handle, sound) if sound.format == "MP3" else Portion(sound, sound.frames)]


def _mpeg_piece(handle: BinaryIO, sound: soundfile.SoundFile) -> Portion:
    """Return an MP3 file as it is, or with a header that states the frames where the decoder would stop early."""
    it = mpeg.count_frames(handle)
    handle.seek(0)
    if it is None:  # free format: there is nothing to count by
        return Portion(_Sound(handle), sound.frames)
    counted = it.frames * it.samples
    if it.stated is not None and it.frames <= it.stated + 1:
        return Portion(_Sound(handle), sound.frames, open_end=True)
    least = counted - _PRIMING * it.samples
    if sound.frames >= counted:
        return Portion(_Sound(handle), least, open_end=True)
    return Portion(_Sound(mpeg.with_header(handle, it)), least, open_end=True)


def _blocks(piece: Portion, path: Path, channel: Channel, before: int) -> Iterator[Float32]:
    """Yield float32 blocks; 16-bit files are decoded as integers, which is twice as fast.

    A block in which the decoder fails is lost, so one ends where the promised samples do, and small ones follow.
    """
    sound, end = piece.sound, before + piece.promised
    kind = "int16" if sound.subtype == "PCM_16" else "float32"
    done = before

    def size() -> int:
        return min(_BLOCK_FRAMES, end - done) if done < end else _TAIL_FRAMES if piece.promised else _BLOCK_FRAMES

    while len(block := sound.read(size(), dtype=kind, always_2d=True)):
        samples: Float32 = channel.pick(block).astype(np.float32)
        if kind == "int16":
            samples *= np.float32(1 / 32768)
        else:
            _refuse_impossible(samples, path, done)
        done += len(samples)
        yield samples


def _refuse_impossible(samples: Float32, path: Path, before: int) -> None:
    with np.errstate(invalid="ignore"):
        good = np.abs(samples) <= _LOUDEST  # not true of a NaN either
    if good.all():
        return
    at, *other = (int(index) for index in np.argwhere(~good)[0])
    if np.isfinite(sample := samples[at, *other]):
        value = f"{float(sample):g} at sample {before + at}"
        raise AudioError("a sample is beyond every level that a recording can have", value=value, where=path)
    raise AudioError("a sample is not a finite number", value=f"sample {before + at}", where=path)
