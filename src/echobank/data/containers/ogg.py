"""Ogg (RFC 3533): the streams that lie in a file one after the other, and whether the last one has its end."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from echobank.errors import AudioError

MAGIC = b"OggS"
_HEADER = 27  # bytes before the table of segments
_BEGINS, _ENDS = 2, 4  # bits of the header type
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Page:
    """One page: where it begins and ends, bytes, and whether it is the first or the last of its stream."""

    begin: int
    end: int
    first: bool
    last: bool


def links(handle: BinaryIO, path: Path) -> list[tuple[int, int]]:
    """Return begin and end, bytes, of each chained stream; streams that are interleaved count as one.

    Raises:
        AudioError: The file ends before its last stream does, or a stream in it does.
    """
    length = handle.seek(0, io.SEEK_END)
    begins: list[int] = []
    open_streams, inside, position = 0, False, 0
    while page := _page(handle, position, length):
        if page.first:
            if inside or not begins:  # a first page after others of sound: the next stream of a chain
                if open_streams > 0:
                    raise _cut_short(path, f"stream {len(begins)} of the file")
                begins.append(page.begin)
            open_streams += 1
        inside = not page.first
        open_streams -= page.last
        position = page.end
    if not begins:
        raise AudioError("not a recording that can be read (no complete Ogg page)", where=path)
    if open_streams > 0 or position + _HEADER < length:
        raise _cut_short(path, "the stream")
    return list(zip(begins, [*begins[1:], length], strict=True))


def _page(handle: BinaryIO, position: int, length: int) -> Page | None:
    """Return the page at or after a position; None where no whole one follows."""
    begin = _find(handle, position)
    if begin is None:
        return None
    handle.seek(begin)
    head = handle.read(_HEADER)
    table = handle.read(head[26]) if len(head) == _HEADER else b""
    end = begin + _HEADER + len(table) + sum(table)
    if len(head) < _HEADER or len(table) < head[26] or end > length:
        return None
    return Page(begin, end, bool(head[5] & _BEGINS), bool(head[5] & _ENDS))


def _find(handle: BinaryIO, position: int) -> int | None:
    handle.seek(position)
    block = handle.read(len(MAGIC))
    if block == MAGIC:
        return position
    while block:
        at = block.find(MAGIC)
        if at >= 0:
            return position + at
        keep = block[-(len(MAGIC) - 1) :]
        position += len(block) - len(keep)
        more = handle.read(_BLOCK)
        block = keep + more if more else b""
    return None


def _cut_short(path: Path, what: str) -> AudioError:
    return AudioError(f"cut short: {what} has no end", where=path)
