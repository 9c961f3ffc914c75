"""Facts of bank rows, kept by columns: of 100,000 rows a few are looked at, and only those become objects.

A column of words is dictionary-coded: a sorted list of the different ones, and a code per row. The order of the codes
is that of the words, so that sorting and counting need no words.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


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
        sound_sha256: Hash of its decoded samples, the same for a copy in another container; empty in banks of older
            versions, whose recordings are recognised by their bytes alone.
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
    sound_sha256: str = ""


WORDS = ("file", "machine", "section", "domain", "attributes", "sha256", "group", "augmentation", "sound_sha256")
NUMBERS = ("start", "seconds")


class Words:
    """A column of words.

    Args:
        codes: Position of each row's word in the sorted different ones, int32[N].
        ends: Where each of the different words ends in `text`, int64[U].
        text: The different words one after the other, UTF-8, uint8.
    """

    def __init__(self, codes: Int32, ends: Int64, text: NDArray[np.uint8]) -> None:
        self.codes, self.ends, self.text = codes, ends, text

    @classmethod
    def of(cls, words: Sequence[str]) -> "Words":
        """Return the column of words, one per row."""
        different = sorted(set(words))
        place = {word: code for code, word in enumerate(different)}
        codes = np.fromiter((place[word] for word in words), dtype=np.int32, count=len(words))
        parts = [word.encode("utf-8", "surrogatepass") for word in different]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return cls(codes, ends, np.frombuffer(b"".join(parts), dtype=np.uint8))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: int) -> str:
        return self.word(int(self.codes[row]))

    def word(self, code: int) -> str:
        """Return the word of a code."""
        start = int(self.ends[code - 1]) if code else 0
        return self.text[start : int(self.ends[code])].tobytes().decode("utf-8", "surrogatepass")

    @cached_property
    def different(self) -> tuple[str, ...]:
        """The different words, sorted; after `take`, perhaps more than the rows use."""
        return tuple(self.word(code) for code in range(len(self.ends)))

    def take(self, rows: Int64) -> "Words":
        """Return the column of some rows."""
        return Words(self.codes[rows], self.ends, self.text)

    def used(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the codes that rows use, ascending, and which of them each row uses, int64[N]."""
        codes, which = np.unique(self.codes, return_inverse=True)
        return codes.astype(np.int64), which.astype(np.int64)

    def packed(self) -> "Words":
        """Return the same column without words that no row uses."""
        used, which = self.used()
        if len(used) == len(self.ends):
            return self
        parts = [self.word(int(code)).encode("utf-8", "surrogatepass") for code in used]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return Words(which.astype(np.int32), ends, np.frombuffer(b"".join(parts), dtype=np.uint8))

    def joined(self, other: "Words") -> "Words":
        """Return this column and another below it."""
        words = sorted({*self.different, *other.different})
        place = {word: code for code, word in enumerate(words)}
        whole = Words.of(words)
        codes = [
            np.array([place[word] for word in column.different], dtype=np.int32)[column.codes]
            for column in (self, other)
        ]
        return Words(np.concatenate(codes), whole.ends, whole.text)

    def array(self) -> NDArray[np.str_]:
        """Return the word of each row, str[N]."""
        return np.array(self.different)[self.codes]


class Rows(Sequence[Row]):
    """Facts of the rows of a bank, a sequence of `Row` made on demand.

    Args:
        words: The columns named in `WORDS`; attributes as JSON text.
        numbers: The columns named in `NUMBERS`, float64[N].
    """

    def __init__(self, words: Mapping[str, Words], numbers: Mapping[str, Float64]) -> None:
        self.words, self.numbers = dict(words), dict(numbers)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Rows":
        """Return the columns of rows; columns are returned as they are."""
        if isinstance(rows, Rows):
            return rows
        rows = list(rows)
        words = {name: Words.of([_word(row, name) for row in rows]) for name in WORDS}
        return cls(words, {name: np.array([getattr(row, name) for row in rows], dtype=np.float64) for name in NUMBERS})

    def __len__(self) -> int:
        return len(self.numbers["start"])

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows": ...
    def __getitem__(self, index: int | slice) -> "Row | Rows":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        place = range(len(self))[index]
        facts: dict[str, Any] = {name: column[place] for name, column in self.words.items()}
        facts["attributes"] = json.loads(facts["attributes"])
        return Row(**facts | {name: float(column[place]) for name, column in self.numbers.items()})

    def __iter__(self) -> Iterator[Row]:
        names = [name for name in WORDS if name != "attributes"]
        columns = [[self.words[name].different[code] for code in self.words[name].codes] for name in names]
        different = [json.loads(text) for text in self.words["attributes"].different]
        attributes = (different[code] for code in self.words["attributes"].codes)
        numbers = [self.numbers[name].tolist() for name in NUMBERS]
        for *words, tags, start, seconds in zip(*columns, attributes, *numbers, strict=True):
            yield Row(**dict(zip(names, words, strict=True)), attributes=dict(tags), start=start, seconds=seconds)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Rows({len(self)})"

    def take(self, rows: Int64) -> "Rows":
        """Return some rows, by their numbers."""
        words = {name: column.take(rows) for name, column in self.words.items()}
        return Rows(words, {name: column[rows] for name, column in self.numbers.items()})

    def joined(self, other: Sequence[Row]) -> "Rows":
        """Return these rows and others below them."""
        below = Rows.of(other)
        words = {name: column.joined(below.words[name]) for name, column in self.words.items()}
        numbers = {name: np.concatenate([column, below.numbers[name]]) for name, column in self.numbers.items()}
        return Rows(words, numbers)

    def order(self) -> Int64:
        """Return the order by domain, file, start and augmentation, in which it does not matter who came first."""
        words = self.words
        keys = (words["augmentation"].codes, self.numbers["start"], words["file"].codes, words["domain"].codes)
        return np.lexsort(keys).astype(np.int64)

    def genuine(self) -> NDArray[np.bool_]:
        """Return which rows are recordings themselves, not made of one by augmentation, bool[N]."""
        column = self.words["augmentation"]
        plain = np.array([not word for word in column.different])
        return np.asarray(plain[column.codes])

    def groups(self) -> Int64:
        """Return the group number of each row, int64[N]; rows without a group are alone in theirs."""
        column = self.words["group"]
        used, which = column.used()
        if column.word(int(used[0])):
            return which
        names = [column.different[code] or f"\0{i}" for i, code in enumerate(column.codes)]
        return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _word(row: Row, name: str) -> str:
    if name == "attributes":
        return json.dumps(dict(row.attributes), ensure_ascii=False, sort_keys=True)
    word: str = getattr(row, name)
    return word
