"""MP3 (ISO/IEC 11172-3 and 13818-3, layer III): its frames, counted, and a header that states their number.

Without a header the decoder guesses the length from the file's size and the first frame's rate, and stops there.
"""

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

from echobank.data.containers.section import Stretch, joined, skip_id3

_KBIT = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
}
_RATES_HZ = (44_100, 48_000, 32_000)
_HALVINGS = {3: 0, 2: 1, 0: 2}  # of the rate, by the version bits: MPEG 1, 2, 2.5
_FRAMES_FLAG, _BYTES_FLAG = 1, 2


@dataclass(frozen=True)
class Frame:
    """One frame's header: its size in bytes, its samples, and what all frames of a stream share."""

    size: int
    samples: int
    kind: tuple[int, int]  # version and rate
    mono: bool


@dataclass(frozen=True)
class Mpeg:
    """What an MP3 file holds.

    Attributes:
        begin: Where the first frame with sound begins, after tags and a header frame, bytes.
        frames: Number of frames with sound.
        stated: Frames that a header (Xing, Info or VBRI) states; None without one.
        samples: Samples of a frame.
    """

    begin: int
    frames: int
    stated: int | None
    samples: int


def count_frames(handle: BinaryIO) -> Mpeg | None:
    """Return what an MP3 file holds by walking over its frames; None where no frame is found."""
    length = handle.seek(0, io.SEEK_END)
    position, before = _first(handle, length)
    if before is None:
        return None
    stated = _stated(handle, position, before)
    begin = position + before.size if stated is not None else position
    position, frames = begin, 0
    while position + 4 <= length:
        frame = _frame(handle, position)
        if frame is None or frame.kind != before.kind:
            position = _resync(handle, position + 1, length, before)
            continue
        frames += position + frame.size <= length
        position += frame.size
    return Mpeg(begin, frames, stated, before.samples)


def with_header(handle: BinaryIO, it: Mpeg) -> BinaryIO:
    """Return the file with a header frame (Xing) that states the frames that were counted."""
    handle.seek(it.begin)
    head = bytearray(handle.read(4))
    head[1] |= 1  # no checksum
    frame = None
    for rate in range(1, 15):  # the smallest frame that has room for the header
        head[2] = rate << 4 | head[2] & 0x0C
        frame = _parsed(bytes(head))
        if frame and frame.size >= 4 + _side(head, frame) + 16:
            break
    assert frame is not None
    length = handle.seek(0, io.SEEK_END)
    body = struct.pack(">4sIII", b"Xing", _FRAMES_FLAG | _BYTES_FLAG, it.frames, frame.size + length - it.begin)
    header = (bytes(head) + bytes(_side(head, frame)) + body).ljust(frame.size, b"\0")
    return joined([header, Stretch(handle, it.begin, length)])


def _first(handle: BinaryIO, length: int) -> tuple[int, Frame | None]:
    """Return the first frame that another of its kind, or the end of the file, follows."""
    position = skip_id3(handle)
    for at in range(position, min(length, position + (1 << 16))):
        frame = _frame(handle, at)
        if frame and (at + frame.size >= length or _follows(handle, at, frame)):
            return at, frame
    return position, None


def _follows(handle: BinaryIO, position: int, frame: Frame) -> bool:
    after = _frame(handle, position + frame.size)
    return after is not None and after.kind == frame.kind


def _resync(handle: BinaryIO, position: int, length: int, like: Frame) -> int:
    """Return where the next frame of a kind begins that another follows; the end where none does."""
    while position + 4 <= length:
        handle.seek(position)
        block = handle.read(1 << 16)
        at = block.find(b"\xff")
        while at >= 0:
            frame = _frame(handle, position + at)
            if frame and frame.kind == like.kind:
                end = position + at + frame.size
                if end == length or (end < length and _follows(handle, position + at, frame)):
                    return position + at
            at = block.find(b"\xff", at + 1)
        position += max(1, len(block))
    return length


def _stated(handle: BinaryIO, position: int, frame: Frame) -> int | None:
    """Return the frames that the first frame states, where it is a header frame; it holds no sound itself."""
    handle.seek(position)
    content = handle.read(min(frame.size, 256))
    at = 4 + _side(content, frame)
    if content[at : at + 4] in (b"Xing", b"Info") and len(content) >= at + 12:
        flags, frames = struct.unpack(">II", content[at + 4 : at + 12])
        return int(frames) if flags & _FRAMES_FLAG else None
    if content[36:40] == b"VBRI" and len(content) >= 54:  # Fraunhofer: version, delay, quality, bytes, frames
        return int(struct.unpack(">I", content[50:54])[0])
    return None


def _side(head: bytes | bytearray, frame: Frame) -> int:
    """Return the size of the side information that lies between a frame's header and its content."""
    if (head[1] >> 3) & 3 == 3:
        return 17 if frame.mono else 32
    return 9 if frame.mono else 17


def _frame(handle: BinaryIO, position: int) -> Frame | None:
    handle.seek(position)
    return _parsed(handle.read(4))


def _parsed(head: bytes) -> Frame | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, kbit, rate = (head[1] >> 3) & 3, (head[1] >> 1) & 3, head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or layer != 1 or kbit in (0, 15) or rate == 3:  # reserved, not layer III, free format
        return None
    hertz = _RATES_HZ[rate] >> _HALVINGS[version]
    samples = 1152 if version == 3 else 576
    size = samples * 125 * _KBIT[version == 3][kbit] // hertz + (head[2] >> 1 & 1)
    return Frame(size, samples, (version, rate), head[3] >> 6 == 3)
