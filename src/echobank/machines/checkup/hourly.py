"""Hours of a machine as arrays, made of windows as arrays, whatever their number."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.data.sound_facts import MISSING, NAMES, STEP
from echobank.machines.trend.summaries import HOUR
from echobank.machines.trend.trend_files import window_schema

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
USED = ("heard", "revision", "score", "p_value", "decision", "level_dbfs", "flags", "nearest", "quiet", "facts")


@dataclass(frozen=True)
class Hours:
    """Hours of a machine; sorted by time, then revision.

    Attributes:
        begins: Milliseconds since 1970, int64[T].
        revision: Revision of the bank that judged, int64[T].
        windows: Windows that were scored and count, int64[T].
        anomalous: Those above the threshold, int64[T].
        score: Median score, float64[T].
        p_value: Median p-value, float64[T].
        level: Mean level, dB of full scale, float64[T].
        facts: Means of the facts of the sound, dB, float32[T, F]; NaN where there are none.
    """

    begins: Int64
    revision: Int64
    windows: Int64
    anomalous: Int64
    score: Float64
    p_value: Float64
    level: Float64
    facts: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.begins)

    def take(self, chosen: NDArray[Any]) -> "Hours":
        """Return the hours that a mask or indices choose."""
        return Hours(**{field.name: getattr(self, field.name)[chosen] for field in dataclasses.fields(self)})


@dataclass(frozen=True)
class Texts:
    """A column of texts: a code per row, int64[W], and the text of each code."""

    codes: Int64
    words: tuple[str, ...]

    def counts(self, chosen: NDArray[np.bool_]) -> dict[str, int]:
        """Return how often each text is there among some rows."""
        found = np.bincount(self.codes[chosen], minlength=len(self.words))
        return {word: int(count) for word, count in zip(self.words, found, strict=True) if count}

    def where(self, good: Mapping[str, bool]) -> NDArray[np.bool_]:
        """Return which rows have a text that is good."""
        return np.array([good[word] for word in self.words], dtype=bool)[self.codes]


@dataclass(frozen=True)
class WindowColumns:
    """Windows as arrays of one length; `facts` is int16[W, F], packed.

    Attributes are the columns of windows of those names.
    """

    heard: Int64
    revision: Int64
    score: Float64
    p_value: Float64
    decision: Float64
    level_dbfs: Float64
    flags: Texts
    nearest: Texts
    quiet: Texts
    facts: NDArray[np.int16]

    def take(self, chosen: NDArray[np.bool_]) -> "WindowColumns":
        """Return the windows that a mask chooses."""
        texts = (Texts(each.codes[chosen], each.words) for each in (self.flags, self.nearest, self.quiet))
        flags, nearest, quiet = texts
        return WindowColumns(
            self.heard[chosen],
            self.revision[chosen],
            self.score[chosen],
            self.p_value[chosen],
            self.decision[chosen],
            self.level_dbfs[chosen],
            flags,
            nearest,
            quiet,
            self.facts[chosen],
        )


def window_columns(table: Any) -> WindowColumns:
    """Return the columns of a table of windows as arrays; texts as codes into their different values."""
    import pyarrow

    def numbers(name: str) -> Float64:
        return np.asarray(table[name].cast(pyarrow.float64()).to_numpy(), np.float64)

    def texts(name: str) -> Texts:
        codes = table[name].fill_null("").combine_chunks()
        codes = (codes.combine_chunks() if isinstance(codes, pyarrow.ChunkedArray) else codes).dictionary_encode()
        words = tuple(codes.dictionary.to_pylist()) or ("",)
        return Texts(codes.indices.to_numpy(zero_copy_only=False).astype(np.int64), words)

    facts = table["facts"].combine_chunks()
    return WindowColumns(
        heard=table["heard"].to_numpy().astype(np.int64),
        revision=table["revision"].to_numpy().astype(np.int64),
        score=numbers("score"),
        p_value=numbers("p_value"),
        decision=numbers("decision"),
        level_dbfs=numbers("level_dbfs"),
        flags=texts("flags"),
        nearest=texts("nearest"),
        quiet=texts("quiet"),
        facts=_facts(facts.combine_chunks() if isinstance(facts, pyarrow.ChunkedArray) else facts, len(table)),
    )


def _facts(column: Any, count: int) -> NDArray[np.int16]:
    """Return packed facts int16[W, F] of a column of lists; empty lists are missing altogether."""
    packed = np.full((count, len(NAMES)), MISSING, np.int16)
    if not count:
        return packed
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    values = column.flatten().to_numpy(zero_copy_only=False)
    whole = lengths == len(NAMES)
    if whole.any() and len(values) == int(lengths[whole].sum()):
        packed[whole] = values.reshape(-1, len(NAMES))
    return packed


def columns_of_rows(rows: Sequence[Mapping[str, Any]]) -> WindowColumns:
    """Return rows of windows as arrays."""
    import pyarrow

    schema = pyarrow.schema([window_schema().field(name) for name in USED])
    plain = [{name: row.get(name) for name in USED} for row in rows]
    return window_columns(pyarrow.Table.from_pylist(plain, schema=schema))


def hours_of(columns: WindowColumns) -> tuple[Hours, list[str]]:
    """Return the hours of windows, and which recording was nearest most often in each; at least one window."""
    hour = columns.heard // HOUR
    order = np.lexsort((columns.score, columns.revision, hour))
    hour, revision = hour[order], columns.revision[order]
    first = np.flatnonzero(np.append(True, (np.diff(hour) != 0) | (np.diff(revision) != 0)))
    count = np.diff(np.append(first, len(hour)))
    middle = first + np.ceil(0.5 * (count - 1)).astype(int)
    facts = columns.facts[order]
    present = facts != MISSING
    sums = np.add.reduceat(np.where(present, facts, 0).astype(np.float32), first)
    counts = np.add.reduceat(present, first, dtype=np.int64)
    with np.errstate(invalid="ignore"):
        means = (sums / STEP / counts).astype(np.float32)
    by_p = np.lexsort((columns.p_value, columns.revision, columns.heard // HOUR))
    level = np.nan_to_num(columns.level_dbfs[order])
    hours = Hours(
        hour[first] * HOUR,
        revision[first],
        count,
        np.add.reduceat(np.nan_to_num(columns.decision[order]), first).astype(np.int64),
        columns.score[order][middle],
        columns.p_value[by_p][middle],
        np.add.reduceat(level, first) / count,
        means,
    )
    return hours, _usual(columns.nearest.codes[order], columns.nearest.words, first, count)


def _usual(codes: Int64, words: Sequence[str], first: Int64, count: Int64) -> list[str]:
    """Return the most frequent text of each stretch of rows."""
    pairs = np.repeat(np.arange(len(first)), count) * len(words) + codes
    found, often = np.unique(pairs, return_counts=True)
    stretch = found // len(words)
    order = np.lexsort((-often, stretch))
    best = order[np.flatnonzero(np.append(True, np.diff(stretch[order]) != 0))]
    return [words[code] for code in (found[best] % len(words)).tolist()]


def merged(whole: Hours, first: Int64) -> Hours:
    """Return hours of which those of one time and revision are joined; medians as means weighted by their windows."""
    weight = whole.windows.astype(np.float64)

    def mean(values: NDArray[Any]) -> NDArray[Any]:
        shape = (-1,) + (1,) * (values.ndim - 1)
        known = ~np.isnan(values)
        parts = np.add.reduceat(np.nan_to_num(values) * weight.reshape(shape), first)
        weights = np.add.reduceat(known * weight.reshape(shape), first)
        with np.errstate(invalid="ignore"):
            return np.asarray(parts / weights)

    counts = [np.add.reduceat(values, first) for values in (whole.windows, whole.anomalous)]
    means = (mean(whole.score), mean(whole.p_value), mean(whole.level), mean(whole.facts).astype(np.float32))
    return Hours(whole.begins[first], whole.revision[first], counts[0], counts[1], *means)


def no_hours() -> Hours:
    """Return no hours at all."""
    whole, real = np.zeros(0, np.int64), np.zeros(0)
    return Hours(whole, whole, whole, whole, real, real, real, np.zeros((0, len(NAMES)), np.float32))
