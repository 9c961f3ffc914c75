"""Arrays in one safetensors file beside one text: written array by array, and mapped into memory when large.

The format: 8 bytes length, a JSON header, then the arrays (https://github.com/huggingface/safetensors). The library
reads what is written here; it has no way to map a file for numpy, and makes a copy of everything to write.
"""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.storage import atomic_path

Arrays = Mapping[str, NDArray[Any]]

MAPPED_BYTES = 32 << 20  # a smaller file is read: it may then be overwritten in place while it is in use
_ALIGNMENT = 8
_LONGEST_HEADER = 1 << 30
_KINDS = {"F64": "<f8", "I64": "<i8", "F32": "<f4", "I32": "<i4", "U8": "|u1"}
_NAMES = {np.dtype(kind): name for name, kind in _KINDS.items()}


def write_tensors(path: Path | str, arrays: Arrays, key: str, text: str) -> None:
    """Write arrays and a text, whole or not at all; the same ones give the same bytes.

    Raises:
        OutputError: The file cannot be written.
    """
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # keeps every array aligned
    header: dict[str, Any] = {"__metadata__": {key: text}}
    end = 0
    for name in order:
        array = arrays[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": array.shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)) + encoded)
        for name in order:
            np.ascontiguousarray(arrays[name]).tofile(stream)


def read_tensors(path: Path, key: str) -> tuple[str, dict[str, NDArray[Any]]]:
    """Return the text and the arrays of a file. Of a large file they are mapped; writing to them changes no file.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not such a file, or a damaged one.
        KeyError: It has no such text.
    """
    size = path.stat().st_size
    if size > MAPPED_BYTES:
        content: NDArray[np.uint8] = np.memmap(path, np.uint8, "c").view(np.ndarray)
    else:
        content = np.frombuffer(bytearray(path.read_bytes()), np.uint8)
    try:
        (length,) = struct.unpack("<Q", content[:8].tobytes())
        if length > min(_LONGEST_HEADER, len(content) - 8):
            raise ValueError("no header")
        header = json.loads(content[8 : 8 + length].tobytes())
        text = header.pop("__metadata__")[key]
        body = content[8 + length :]
        arrays = {name: _array(body, facts) for name, facts in header.items()}
    except (struct.error, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a file of tensors") from error
    if max((facts["data_offsets"][1] for facts in header.values()), default=0) != len(body):
        raise ValueError("a file of another length than its header says")
    return text, arrays


def _array(body: NDArray[np.uint8], facts: Mapping[str, Any]) -> NDArray[Any]:
    kind = np.dtype(_KINDS[facts["dtype"]])
    begin, end = facts["data_offsets"]
    shape = tuple(facts["shape"])
    if (
        not 0 <= begin <= end <= len(body)
        or end - begin != math.prod(shape) * kind.itemsize
        or min(shape, default=0) < 0
    ):
        raise ValueError("a tensor that does not fit its file")
    part = body[begin:end]
    if part.ctypes.data % kind.itemsize:
        part = part.copy()
    return part.view(kind).reshape(shape)


def text_of(path: Path, key: str) -> str | None:
    """Return the text of a file without reading its arrays; None where it has none, or is no such file.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        try:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LONGEST_HEADER:
                return None
            return str(json.loads(stream.read(length))["__metadata__"][key])
        except (struct.error, ValueError, KeyError, TypeError, RecursionError):
            return None
