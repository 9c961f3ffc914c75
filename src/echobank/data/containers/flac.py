"""FLAC (RFC 9639): the number of samples that the header promises, and a header that promises none."""

import io
from typing import BinaryIO

from echobank.data.containers.section import Stretch, joined, skip_id3

MAGIC = b"fLaC"
_TOTAL = 21  # byte of STREAMINFO whose lower four bits begin the 36 bits of the number of samples
_UNKNOWN = (1 << 36) - 1


def open_ended(handle: BinaryIO) -> tuple[BinaryIO, int] | None:
    """Return the file with a header that promises the most, and what it really promises (0 is unknown).

    The decoder then reads to the end of the file, whatever the header says. None for a file that is no FLAC.
    """
    begin = skip_id3(handle)
    handle.seek(begin)
    head = handle.read(_TOTAL + 5)
    if head[:4] != MAGIC or len(head) < _TOTAL + 5:
        return None
    field = int.from_bytes(head[_TOTAL:], "big")
    promised = field & _UNKNOWN
    patch = (field | _UNKNOWN).to_bytes(5, "big")
    length = handle.seek(0, io.SEEK_END)
    at = begin + _TOTAL
    parts: list[Stretch | bytes] = [Stretch(handle, 0, at), patch, Stretch(handle, at + 5, length)]
    return joined(parts), promised


def another_follows(handle: BinaryIO) -> bool:
    """Return whether a second FLAC stream begins somewhere behind the first."""
    handle.seek(skip_id3(handle) + len(MAGIC))
    tail = b""
    while block := handle.read(1 << 20):
        if MAGIC in tail + block:
            return True
        tail = block[-3:]
    return False
