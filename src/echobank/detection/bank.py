"""The memory bank: embeddings of healthy clips, the facts of each row, and what made them.

On disk a bank is one safetensors file: the header (`echobank.detection.header`) as JSON under the metadata key
`echobank`, the vectors and their lengths, rows by columns, leave-one-out scores, and tensors `extra.<name>`. A large
file is mapped into memory, so that what is not looked at is not read. Banks of every older schema open.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.detection.header import SCHEMA, BankHeader, migrated, schema_of
from echobank.detection.leave_one_out import Dropped, SelfScores
from echobank.detection.rows import NUMBERS, WORDS, Row, Rows, Words
from echobank.detection.rowwise import row_lengths
from echobank.detection.tensor_file import read_tensors, write_tensors
from echobank.errors import BankError, ConfigError

__all__ = ["SCHEMA", "Bank", "Row", "build_bank", "load_bank", "save_bank"]

_KEY = "echobank"
_EXTRA = "extra."


@dataclass(frozen=True)
class Lengths:
    """Lengths of vectors, float64[N, H], and the vectors that they were taken of, float32[N, H, D]."""

    of: NDArray[np.float32]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Bank:
    """A memory bank of one machine and section.

    Attributes:
        vectors: float32[N, H, D], as pooled; back-ends normalise as they need.
        rows: N facts, in the order of the vectors; kept by columns.
        header: What made the vectors, how they are scored, what the user set.
        extras: More arrays with one entry per row, float32[N, ...], for example spectra that explain a score.
        own: Leave-one-out scores of the rows; None where they were not computed.
        dropped: Windows that are no longer among the rows but still calibrate.
        known_lengths: Lengths of the vectors, where they are known.
    """

    vectors: NDArray[np.float32]
    rows: Sequence[Row]
    header: BankHeader = field(default_factory=BankHeader)
    extras: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    own: SelfScores | None = None
    dropped: Dropped = field(default_factory=Dropped)
    known_lengths: "Lengths | None" = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", Rows.of(self.rows))
        if self.vectors.ndim != 3 or len(self.vectors) != len(self.rows):
            raise BankError(
                "vectors must have the shape [rows, bands, dimension]",
                value=(self.vectors.shape, len(self.rows)),
            )
        for name, array in self._columns().items():
            if len(array) != len(self.rows):
                raise BankError(f"{name} must have one entry per row", value=(len(array), len(self.rows)))
        if not len(self.rows):
            raise BankError("the bank is empty", hint="fit it on at least one healthy recording")
        if not np.isfinite(self.lengths).all():
            bad = int(np.flatnonzero(~np.isfinite(self.lengths).all(axis=1))[0])
            raise BankError("the bank holds a value that is not finite", where=self.rows[bad].file)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> Rows:
        """The rows by columns."""
        assert isinstance(self.rows, Rows)
        return self.rows

    @cached_property
    def lengths(self) -> NDArray[np.float64]:
        """Length of each vector, float64[N, H]; known ones count for the very vectors that they were taken of."""
        known = self.known_lengths
        return known.values if known is not None and known.of is self.vectors else row_lengths(self.vectors)

    @cached_property
    def domains(self) -> NDArray[np.str_]:
        """Domain of each row, str[N]."""
        return self.columns.words["domain"].array()

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Group number of each row, int64[N]; rows without a group are alone in theirs."""
        return self.columns.groups()

    def select(self, keep: NDArray[Any]) -> "Bank":
        """Return the bank of the rows chosen by a mask or by indices; what they score of themselves is not known."""
        index = np.arange(len(self))[keep]
        extras = {name: array[index] for name, array in self.extras.items()}
        rows, vectors = self.columns.take(index), self.vectors[index]
        lengths = Lengths(vectors, self.lengths[index])
        return dataclasses.replace(self, vectors=vectors, rows=rows, extras=extras, own=None, known_lengths=lengths)

    def _columns(self) -> dict[str, NDArray[Any]]:
        own = {f"own.{name}": array for name, array in vars(self.own).items()} if self.own else {}
        known = {**self.extras, **own}
        return {name: array for name, array in known.items() if array is not None}


def build_bank(
    vectors: NDArray[np.float32],
    rows: Sequence[Row],
    header: BankHeader | None = None,
    extras: Mapping[str, NDArray[np.float32]] | None = None,
    dropped: Dropped | None = None,
) -> Bank:
    """Return a bank whose rows are sorted by their facts, so that it does not depend on file order.

    Raises:
        BankError: No rows, or a vector that is not finite.
    """
    columns = Rows.of(rows)
    order = columns.order()
    return Bank(
        np.ascontiguousarray(np.asarray(vectors, dtype=np.float32)[order]),
        columns.take(order),
        header or BankHeader(),
        {name: np.ascontiguousarray(array[order]) for name, array in (extras or {}).items()},
        dropped=dropped or Dropped(),
    )


def save_bank(bank: Bank, path: Path | str) -> None:
    """Write a bank, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    text = json.dumps(bank.header.to_header(), sort_keys=True, ensure_ascii=False)
    arrays: dict[str, NDArray[Any]] = {"vectors": bank.vectors, "lengths": bank.lengths}
    arrays |= {_EXTRA + name: array for name, array in bank.extras.items()}
    if bank.own:
        arrays |= {f"own.{name}": array for name, array in vars(bank.own).items() if array is not None}
    for name in WORDS:
        arrays |= _pack(f"row.{name}", bank.columns.words[name])
    arrays |= {f"row.{name}": bank.columns.numbers[name] for name in NUMBERS}
    if len(bank.dropped):
        arrays |= {"dropped.scores": bank.dropped.scores, **_pack("dropped.groups", Words.of(bank.dropped.groups))}
    write_tensors(path, arrays, _KEY, text)


def load_bank(path: Path | str) -> Bank:
    """Read a bank.

    Raises:
        BankError: No such file, not a bank, damaged, or written by a newer program.
    """
    path = Path(path)
    try:
        text, arrays = read_tensors(path, _KEY)
        plain = json.loads(text)
        schema = schema_of(plain)
        if schema > SCHEMA:
            raise BankError(
                "the bank was written by a newer echobank",
                value=f"schema {schema}",
                where=path,
                hint="update echobank",
            )
        extras = {name.removeprefix(_EXTRA): array for name, array in arrays.items() if name.startswith(_EXTRA)}
        if schema < SCHEMA:
            old = migrated(plain)
            return Bank(arrays["vectors"], old.rows, old.header, extras, old.own, old.dropped)
        return _unpacked(BankHeader.from_header(plain), arrays, extras)
    except OSError as error:
        raise BankError(
            f"cannot read the bank ({error.strerror})", where=path, hint="fit it first (train_knn or fit)"
        ) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ConfigError) as error:
        raise BankError("not an echobank bank, or a damaged one", where=path, hint="fit it again") from error


def _unpacked(
    header: BankHeader, arrays: Mapping[str, NDArray[Any]], extras: Mapping[str, NDArray[np.float32]]
) -> Bank:
    words = {name: _unpack(f"row.{name}", arrays) for name in WORDS if name != "sound_sha256"}
    if "row.sound_sha256.codes" in arrays:
        words["sound_sha256"] = _unpack("row.sound_sha256", arrays)
    else:  # a bank from before this column
        words["sound_sha256"] = Words.of([""] * len(words["file"]))
    rows = Rows(words, {name: arrays[f"row.{name}"] for name in NUMBERS})
    own = {name.removeprefix("own."): array for name, array in arrays.items() if name.startswith("own.")}
    dropped = Dropped()
    if "dropped.scores" in arrays:
        groups = _unpack("dropped.groups", arrays)
        dropped = Dropped(arrays["dropped.scores"], tuple(groups[i] for i in range(len(groups))))
    vectors, lengths = arrays["vectors"], arrays["lengths"]
    if lengths.shape != vectors.shape[:2]:
        raise ValueError("lengths of other vectors")
    return Bank(vectors, rows, header, extras, SelfScores(**own) if own else None, dropped, Lengths(vectors, lengths))


def _pack(name: str, words: Words) -> dict[str, NDArray[Any]]:
    packed = words.packed()
    return {f"{name}.codes": packed.codes, f"{name}.ends": packed.ends, f"{name}.text": packed.text}


def _unpack(name: str, arrays: Mapping[str, NDArray[Any]]) -> Words:
    words = Words(arrays[f"{name}.codes"], arrays[f"{name}.ends"], arrays[f"{name}.text"])
    if len(words) and (words.codes.min() < 0 or words.codes.max() >= len(words.ends)):
        raise ValueError("a row without a word")
    return words
