"""The memory bank: embeddings of healthy clips, the facts of each row, and what made them.

On disk a bank is one safetensors file: tensor `vectors`, tensors `extra.<name>`, and a JSON header under the
metadata key `echobank`. Schema 1 had no extras; it opens as a bank without any.
"""

import dataclasses
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from echobank.errors import BankError
from echobank.storage import write_bytes

SCHEMA = 2
_KEY = "echobank"
_EXTRA = "extra."


@dataclass(frozen=True)
class Row:
    """Facts of one bank row.

    Attributes:
        file: Name of the recording, relative to its data set where that is known.
        machine: Machine type or the user's name of a machine.
        section: Section of the data set, "00" where there is only one.
        domain: "source", "target", or the user's own operating state.
        attributes: Attribute names and values.
        sha256: Hash of the recording's bytes.
        group: Rows of one group never count as neighbours when the bank scores itself.
        augmentation: How the row was changed, for example "snr=10"; empty for the recording itself.
        start: Start of the window in the recording, seconds.
        seconds: Length of the window, seconds.
    """

    file: str
    machine: str
    section: str = "00"
    domain: str = "source"
    attributes: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    group: str = ""
    augmentation: str = ""
    start: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Bank:
    """A memory bank of one machine and section.

    Attributes:
        vectors: float32[N, H, D], as pooled; back-ends normalise as they need.
        rows: N facts, in the order of the vectors.
        made_by: Plain facts of what made the vectors: encoder, layer, pooling, resampler, versions.
        settings: Plain facts of how the bank is to be scored: back-end, metric, k, decision, calibration.
        extras: More arrays with one entry a row, float32[N, ...], for example spectra that explain a score.
    """

    vectors: NDArray[np.float32]
    rows: tuple[Row, ...]
    made_by: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.vectors.ndim != 3 or len(self.vectors) != len(self.rows):
            raise BankError(
                "vectors must have the shape [rows, bands, dimension]",
                value=(self.vectors.shape, len(self.rows)),
            )
        for name, array in self.extras.items():
            if len(array) != len(self.rows):
                raise BankError(f"{name} must have one entry a row", value=(len(array), len(self.rows)))
        if not len(self.rows):
            raise BankError("the bank is empty", hint="fit it on at least one healthy recording")
        if not np.isfinite(self.vectors).all():
            bad = int(np.flatnonzero(~np.isfinite(self.vectors).all(axis=(1, 2)))[0])
            raise BankError("the bank holds a value that is not finite", where=self.rows[bad].file)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def domains(self) -> NDArray[np.str_]:
        """Domain of each row, str[N]."""
        return np.array([row.domain for row in self.rows])

    @property
    def groups(self) -> NDArray[np.int64]:
        """Group number of each row, int64[N]; rows without a group are alone in theirs."""
        names = [row.group or f"\0{i}" for i, row in enumerate(self.rows)]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)

    def select(self, keep: NDArray[Any]) -> "Bank":
        """Return the bank of the rows chosen by a mask or by indices."""
        index = np.arange(len(self))[keep]
        extras = {name: array[index] for name, array in self.extras.items()}
        rows = tuple(self.rows[i] for i in index)
        return dataclasses.replace(self, vectors=self.vectors[index], rows=rows, extras=extras)


def build_bank(
    vectors: NDArray[np.float32],
    rows: Sequence[Row],
    made_by: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    extras: Mapping[str, NDArray[np.float32]] | None = None,
) -> Bank:
    """Return a bank whose rows are sorted by their facts, so that it does not depend on file order.

    Raises:
        BankError: No rows, or a vector that is not finite.
    """
    order = sorted(range(len(rows)), key=lambda i: (rows[i].domain, rows[i].file, rows[i].start, rows[i].augmentation))
    return Bank(
        np.ascontiguousarray(np.asarray(vectors, dtype=np.float32)[order]),
        tuple(rows[i] for i in order),
        made_by,
        settings or {},
        {name: np.ascontiguousarray(array[order]) for name, array in (extras or {}).items()},
    )


def save_bank(bank: Bank, path: Path | str) -> None:
    """Write a bank, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    header = {
        "schema": SCHEMA,
        "made_by": dict(bank.made_by),
        "settings": dict(bank.settings),
        "rows": [dataclasses.asdict(row) for row in bank.rows],
    }
    text = json.dumps(header, sort_keys=True, allow_nan=False, ensure_ascii=False)
    tensors = {"vectors": bank.vectors, **{_EXTRA + name: array for name, array in bank.extras.items()}}
    write_bytes(path, save_tensors(tensors, metadata={_KEY: text}))


def load_bank(path: Path | str) -> Bank:
    """Read a bank.

    Raises:
        BankError: No such file, not a bank, damaged, or written by a newer program.
    """
    path = Path(path)
    header, content = _open(path)
    try:
        if int(header["schema"]) > SCHEMA:
            raise BankError(
                "the bank was written by a newer echobank",
                value=f"schema {header['schema']}",
                where=path,
                hint="update echobank",
            )
        tensors = load_tensors(content)
        extras = {name.removeprefix(_EXTRA): array for name, array in tensors.items() if name.startswith(_EXTRA)}
        rows = tuple(Row(**row) for row in header["rows"])
        return Bank(tensors["vectors"], rows, header["made_by"], header["settings"], extras)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise _damaged(path) from error


def _open(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BankError(
            f"cannot read the bank ({error.strerror})", where=path, hint="fit it first (train_knn or fit)"
        ) from error
    try:
        (length,) = struct.unpack("<Q", content[:8])
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        header = json.loads(metadata[_KEY])
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    if not isinstance(header, dict):
        raise _damaged(path)
    return header, content


def _damaged(path: Path) -> BankError:
    return BankError("not an echobank bank, or a damaged one", where=path, hint="fit it again")
