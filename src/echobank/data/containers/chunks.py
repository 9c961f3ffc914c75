"""Containers made of chunks, WAV, RF64, W64, AIFF and CAF, and AU with its one header: are all samples in the file?

libsndfile shortens a recording to what is there without a word, and passes over what lies behind the samples. So the
promised length is compared with the file here, and what belongs to no chunk is named. Recorders that do not know the
length write a placeholder; then the samples go on to the end of the file.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from echobank.data.containers.section import Stretch, joined
from echobank.errors import AudioError

_SLACK = 4096  # bytes behind the samples that are passed over: padding to a sector, a tag
_TAGS = (b"ID3", b"TAG", b"APE")  # of other formats, appended by tagging programs
_METADATA = frozenset(
    (
        b"LIST",
        b"INFO",
        b"bext",
        b"fact",
        b"cue ",
        b"smpl",
        b"inst",
        b"id3 ",
        b"ID3 ",
        b"JUNK",
        b"PAD ",
        b"iXML",
        b"_PMX",
    )
)
_REPAIR = "the length in its header is wrong, as beyond 4 GB; ffmpeg -ignore_length 1 -i IN.wav OUT.flac reads it all"


@dataclass(frozen=True)
class Family:
    """How a container writes its chunks.

    Attributes:
        name: What it is called in messages.
        first: Where the first chunk begins, bytes.
        header: Format of a chunk's header: name, size.
        counts_header: Whether the size counts the header too.
        padding: The content of a chunk is filled up to a multiple of this many bytes.
        samples: How the name of the chunk with the samples begins.
    """

    name: str
    first: int
    header: str
    counts_header: bool
    padding: int
    samples: bytes

    @property
    def wide(self) -> bool:
        """Whether sizes have 64 bits."""
        return self.header[-1] in "qQ"


@dataclass(frozen=True)
class Chunk:
    """A chunk: its name, where its content begins, the size it states, and whether a padding byte is missing before."""

    name: bytes
    begin: int
    size: int
    unpadded: bool = False


def family_of(head: bytes) -> Family | None:
    """Return the family of a file by its first 40 bytes, None for another kind of file."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return Family("WAV", 12, "<4sI", False, 2, b"data")
    if head[:4] == b"RIFX" and head[8:12] == b"WAVE":
        return Family("WAV", 12, ">4sI", False, 2, b"data")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return Family("AIFF", 12, ">4sI", False, 2, b"SSND")
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return Family("W64", 40, "<16sQ", True, 8, b"data")
    if head[:4] == b"caff":
        return Family("CAF", 8, ">4sQ", False, 1, b"data")
    return None


def check_chunks(handle: BinaryIO, path: Path) -> BinaryIO:
    """Return the file as the decoder is to read it: itself, or with a size or a padding byte put right.

    Raises:
        AudioError: Samples are missing, or lie where no chunk says so.
    """
    length = handle.seek(0, io.SEEK_END)
    handle.seek(0)
    head = handle.read(40)
    if head[:4] in (b".snd", b"dns."):
        _check_au(head, length, path)
        return handle
    family = family_of(head)
    if family is None:
        return handle
    wide_size, gaps = 0, list[int]()
    for chunk in _walk(handle, family, family.first, length):
        if chunk.unpadded:
            gaps.append(chunk.begin - struct.calcsize(family.header))
        if chunk.name == b"ds64":  # EBU Tech 3306: RIFF size, then data size, 64 bits each
            handle.seek(chunk.begin)
            wide_size = int(struct.unpack("<8xQ", handle.read(16).ljust(16, b"\0"))[0])
        if chunk.name.startswith(family.samples):
            size = wide_size if head[:4] == b"RF64" and chunk.size == 0xFFFFFFFF else chunk.size
            return _samples(handle, family, chunk, size, gaps, length, path)
    article = "an" if family.name == "AIFF" else "a"
    raise AudioError(f"cut short: {article} {family.name} header without samples", where=path)


def _samples(
    handle: BinaryIO, family: Family, chunk: Chunk, size: int, gaps: list[int], length: int, path: Path
) -> BinaryIO:
    found = length - chunk.begin
    empty = size == 0 and (found == 0 or _is_chunk(handle, family, chunk.begin, length))
    if not empty and _is_placeholder(size, wide=family.wide or size > 0xFFFFFFFF):
        return _with_size(handle, family, chunk, gaps, length, path)
    if size > found:
        raise AudioError(f"cut short: {size} bytes of samples promised, {found} found", where=path)
    outside = _outside(handle, family, chunk.begin + size + -size % family.padding, length)
    if outside > _SLACK:
        raise AudioError(f"{outside} bytes behind the samples belong to no chunk", where=path, hint=_REPAIR)
    return _padded(handle, gaps, length)


def _is_placeholder(size: int, *, wide: bool) -> bool:
    """Return whether a size is one that recorders write before they know it: 0, or the largest less a header.

    arecord writes 2^31, SoX 2^31 - 4096, ffmpeg 2^32 - 1 in WAV and 2^63 - 1 or 2^64 - 1 where sizes have 64 bits.
    """
    if wide:
        return size == 0 or size >= (1 << 63) - 4096
    return size == 0 or 0 <= size - (0x80000000 - 4096) <= 4096 or size >= 0x100000000 - 4096


def _with_size(handle: BinaryIO, family: Family, chunk: Chunk, gaps: list[int], length: int, path: Path) -> BinaryIO:
    """Return the file with a size that the decoder takes as "to the end of the file"."""
    if family.name == "WAV":
        field = chunk.begin - 4
        patch = b"\xff" * 4
        before = _split(handle, [gap for gap in gaps if gap < field], 0, field)
        return joined([*before, patch, Stretch(handle, chunk.begin, length)])
    if family.name in ("AIFF", "W64"):  # libsndfile reads neither
        raise AudioError(
            "the header does not say how long the recording is", where=path, hint="convert it: ffmpeg -i IN OUT.flac"
        )
    return _padded(handle, gaps, length)


def _padded(handle: BinaryIO, gaps: list[int], length: int) -> BinaryIO:
    if not gaps:
        return handle
    return joined(_split(handle, gaps, 0, length))


def _split(handle: BinaryIO, gaps: list[int], begin: int, end: int) -> list[Stretch | bytes]:
    """Return a stretch of a file with a padding byte put into each gap."""
    parts: list[Stretch | bytes] = []
    for gap in gaps:
        parts += [Stretch(handle, begin, gap), b"\0"]
        begin = gap
    return [*parts, Stretch(handle, begin, end)]


def _walk(handle: BinaryIO, family: Family, position: int, length: int) -> Iterator[Chunk]:
    """Yield chunk after chunk; one of odd size whose padding byte was forgotten is recognised by its successor."""
    width, missing = struct.calcsize(family.header), False
    while position + width <= length:
        handle.seek(position)
        name, size = struct.unpack(family.header, handle.read(width))
        if family.counts_header:
            size = max(0, size - width)
        yield Chunk(name, position + width, size, missing)
        end = position + width + size
        position = end + -size % family.padding
        missing = family.padding == 2 and size % 2 == 1 and _named(handle, end) and not _named(handle, position)
        position = end if missing else position


def _named(handle: BinaryIO, position: int) -> bool:
    """Return whether four letters as in the names of chunks lie at a position."""
    handle.seek(position)
    name = handle.read(4)
    return len(name) == 4 and all(32 <= letter < 127 for letter in name)


def _is_chunk(handle: BinaryIO, family: Family, position: int, length: int) -> bool:
    """Return whether a chunk begins at a position: a name of letters, and a size that fits what is left."""
    chunk = next(_walk(handle, family, position, length), None)
    if chunk is None or not all(32 <= letter < 127 for letter in chunk.name[:4]):
        return False
    return chunk.size <= length - chunk.begin or chunk.name in _METADATA


def _outside(handle: BinaryIO, family: Family, position: int, length: int) -> int:
    """Return how many bytes from a position on belong to no chunk; zeros to the end and tags of other formats do."""
    while position < length:
        handle.seek(position)
        if handle.read(3) in _TAGS or _only_zeros(handle, position):
            return 0
        if not _is_chunk(handle, family, position, length):
            unpadded = position - 1
            if not (family.padding == 2 and _is_chunk(handle, family, unpadded, length)):
                return length - position
            position = unpadded
        chunk = next(_walk(handle, family, position, length))
        if chunk.name.startswith(family.samples) and chunk.size:
            return length - position
        position = chunk.begin + chunk.size + -chunk.size % family.padding
    return 0


def _only_zeros(handle: BinaryIO, position: int) -> bool:
    handle.seek(position)
    while block := handle.read(1 << 20):
        if any(block):
            return False
    return True


def _check_au(head: bytes, length: int, path: Path) -> None:
    begin, size = struct.unpack(">II" if head[:4] == b".snd" else "<II", head[4:12].ljust(8, b"\0"))
    if size == 0xFFFFFFFF:
        return
    if begin + size > length:
        raise AudioError(f"cut short: {size} bytes of samples promised, {max(0, length - begin)} found", where=path)
    if length - begin - size > _SLACK:
        raise AudioError(
            f"{length - begin - size} bytes lie behind the samples", where=path, hint="the header is wrong"
        )
