"""A section: a read-only file made of stretches of another file and of bytes put between them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast


@dataclass(frozen=True)
class Stretch:
    """Bytes `begin` to `end` of a file."""

    source: BinaryIO
    begin: int
    end: int


class Section(io.RawIOBase):
    """Reads stretches one after the other, as if they were one file."""

    def __init__(self, parts: Sequence[Stretch | bytes]) -> None:
        stretches = [_whole(part) if isinstance(part, bytes) else part for part in parts]
        self._parts = [part for part in stretches if part.end > part.begin]
        self._length = sum(part.end - part.begin for part in self._parts)
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes, and return their number."""
        view = memoryview(buffer).cast("B")
        filled = start = 0
        for part in self._parts:
            size = part.end - part.begin
            inside = self._position - start
            start += size
            if not 0 <= inside < size or filled == len(view):
                continue
            wanted = min(len(view) - filled, size - inside)
            part.source.seek(part.begin + inside)
            content = part.source.read(wanted)
            view[filled : filled + len(content)] = content
            filled += len(content)
            self._position += len(content)
            if len(content) < wanted:  # the file became shorter while it was read
                break
        return filled


def joined(parts: Sequence[Stretch | bytes]) -> BinaryIO:
    """Return a file that reads stretches one after the other."""
    return cast(BinaryIO, Section(parts))


def _whole(content: bytes) -> Stretch:
    return Stretch(io.BytesIO(content), 0, len(content))


def skip_id3(handle: BinaryIO) -> int:
    """Return where the sound begins: after an ID3v2 tag (id3.org, 4 times 7 bits of length), else 0."""
    handle.seek(0)
    head = handle.read(10)
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size
