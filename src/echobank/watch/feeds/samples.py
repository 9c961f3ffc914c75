"""Samples as a source delivers them: their format, and the header of a WAV stream."""

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.errors import AudioError, ConfigError

Float32 = NDArray[np.float32]

KINDS = ("u8", "s16le", "s24le", "s32le", "f32le", "f64le")
_BYTES = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "f64le": 8}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # format tags of RFC 2361 and WAVEFORMATEXTENSIBLE
_WAV_KINDS = {(_PCM, 8): "u8", (_PCM, 16): "s16le", (_PCM, 24): "s24le", (_PCM, 32): "s32le"}
_WAV_KINDS |= {(_FLOAT, 32): "f32le", (_FLOAT, 64): "f64le"}
_LONGEST_CHUNK = 1 << 20  # bytes of a chunk before the samples, for example pictures and titles
_ENDLESS = 0x7FFF0000  # sizes from here on are what programs write that do not know the end, or 0


@dataclass(frozen=True)
class SampleFormat:
    """How samples lie in a stream of bytes.

    Attributes:
        rate: Sample rate, Hz.
        channels: Number of channels, interleaved.
        kind: One of `KINDS`.
    """

    rate: int
    channels: int = 1
    kind: str = "s16le"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("no such sample format", value=self.kind, hint=f"one of {', '.join(KINDS)}")
        if not 1_000 <= self.rate <= 768_000:
            raise ConfigError("sample rate out of range", value=f"{self.rate} Hz")
        if not 1 <= self.channels <= 64:
            raise ConfigError("impossible number of channels", value=self.channels)

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * _BYTES[self.kind]

    def decode(self, data: bytes) -> Float32:
        """Return float32[T, channels] in [-1, 1] of whole frames, as libsndfile decodes the same samples of a file."""
        if self.kind == "s24le":
            packed = np.frombuffer(data, np.uint8).reshape(-1, 3)
            wide = np.zeros((len(packed), 4), np.uint8)
            wide[:, 1:] = packed
            samples = wide.view("<i4")[:, 0].astype(np.float32) * np.float32(2.0**-31)
        elif self.kind == "u8":
            samples = (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) * np.float32(2.0**-7)
        elif self.kind in ("s16le", "s32le"):
            bits = 8 * _BYTES[self.kind]
            samples = np.frombuffer(data, f"<i{bits // 8}").astype(np.float32) * np.float32(2.0 ** (1 - bits))
        else:
            samples = np.frombuffer(data, f"<f{_BYTES[self.kind]}").astype(np.float32)
        return samples.reshape(-1, self.channels)


@dataclass(frozen=True)
class WavHeader:
    """What a WAV stream says before its samples.

    Attributes:
        format: How the samples lie.
        size: Bytes of samples, or None where the program that writes them does not know.
    """

    format: SampleFormat
    size: int | None


def is_wav(start: bytes) -> bool:
    """Return whether a stream that starts with these 12 bytes is WAV."""
    return start[:4] in (b"RIFF", b"RF64") and start[8:12] == b"WAVE"


def read_wav_header(read: Callable[[int], bytes]) -> WavHeader:
    """Return the header of a WAV stream whose first 12 bytes are read already.

    Args:
        read: Returns exactly as many bytes as asked for, fewer only at the end of the stream.

    Raises:
        AudioError: There are no samples, or they are compressed.
    """
    found: SampleFormat | None = None
    large: int | None = None
    while len(chunk := read(8)) == 8:
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data":
            if found is None:
                raise AudioError("a WAV stream without a format")
            known = large if size == 0xFFFFFFFF else size
            return WavHeader(found, known if known and known < (_ENDLESS if large is None else 1 << 62) else None)
        if size > _LONGEST_CHUNK:
            raise AudioError("a WAV stream with an impossible header", value=f"{size} bytes of {name!r}")
        body = read(size + size % 2)
        if name == b"fmt ":
            found = _format(body)
        if name == b"ds64" and len(body) >= 16:  # EBU Tech 3306: RIFF size, then data size, 64 bits each
            large = struct.unpack("<8xQ", body[:16])[0]
    raise AudioError("a WAV stream without samples")


def wav_header(form: SampleFormat) -> bytes:
    """Return the header of an endless WAV stream of integer samples."""
    bits = 8 * _BYTES[form.kind]
    facts = struct.pack("<HHIIHH", _PCM, form.channels, form.rate, form.rate * form.frame, form.frame, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", len(facts)) + facts + b"data\xff\xff\xff\xff"


def _format(body: bytes) -> SampleFormat:
    if len(body) < 16:
        raise AudioError("a WAV stream without a format")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == _EXTENSIBLE and len(body) >= 26:
        tag = struct.unpack("<H", body[24:26])[0]  # the first bytes of the sub-format's GUID
    kind = _WAV_KINDS.get((tag, bits))
    if kind is None:
        raise AudioError("compressed or unusual samples in a WAV stream", value=f"format {tag}, {bits} bits")
    return SampleFormat(rate, channels, kind)
