"""Blocks: stretches of time that are independent of each other, one value each. What a sequential test counts in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.machines.checkup.hourly import Hours
from echobank.machines.trend.summaries import HOUR

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

DAY = 24 * HOUR
FIRST_DAYS = 28  # what counts as the machine's first weeks
LENGTHS = (1, 2, 3, 4, 6, 8, 12, 24)  # hours of a block that are tried
_ALIKE = 0.3  # autocorrelation of neighbouring blocks that taking off a part of the last one deals with
_FEW = 20  # pairs of blocks that an autocorrelation is taken of


@dataclass(frozen=True)
class Blocks:
    """Blocks of one length, in the order of time; empty ones are not there.

    Attributes:
        begins: Milliseconds since 1970, int64[B].
        length: Hours of a block.
        slots: Time of day that each belongs to, int64[B]; 0 for days.
        hours: Row of the block of each hour, int64[T].
        dependence: Autocorrelation of neighbouring blocks in the first weeks; NaN where there are too few.
        early: Blocks of the first weeks.
    """

    begins: Int64
    length: int
    slots: Int64
    hours: Int64
    dependence: float
    early: int

    def __len__(self) -> int:
        return len(self.begins)

    @property
    def a_year(self) -> float:
        """How many of them a year has where none is missing."""
        return 365.25 * 24 / self.length

    def innovations(self, values: Float64) -> Float64:
        """Return what is new in each block, float64[B]: less the part that the block before explains.

        The values of neighbouring blocks are taken for autoregressive of order one, with the autocorrelation of the
        first weeks, a standard error added. Without a neighbour before it, a block has none: NaN.
        """
        if np.isnan(self.dependence):
            return values
        part = min(max(0.0, self.dependence + 1.0 / np.sqrt(self.early)), 0.95)
        near = np.append(False, np.diff(self.begins) == self.length * HOUR)
        return np.where(near, values - part * np.append(np.nan, values[:-1]), np.nan)

    def medians(self, values: Float64) -> Float64:
        """Return the median of the values of each block's hours, float64[B]; NaN where all are."""
        order = np.lexsort((values, self.hours))
        found, rows = values[order], self.hours[order]
        known = ~np.isnan(found)
        counts = np.bincount(rows[known], minlength=len(self))
        first = np.searchsorted(rows, np.arange(len(self)))
        low, high = first + np.maximum(counts - 1, 0) // 2, first + counts // 2
        last = len(found) - 1
        middle = (found[np.minimum(low, last)] + found[np.minimum(np.minimum(high, first + counts - 1), last)]) / 2
        return np.where(counts > 0, middle, np.nan)

    def means(self, values: NDArray[np.floating]) -> Float64:
        """Return the mean of the values of each block's hours, float64[B] or float64[B, F]; NaN where all are."""
        known = ~np.isnan(values)
        first = np.searchsorted(self.hours, np.arange(len(self)))
        sums = np.add.reduceat(np.where(known, values, 0.0).astype(np.float64), first)
        counts = np.add.reduceat(known.astype(np.float64), first)
        with np.errstate(invalid="ignore"):
            return np.asarray(sums / counts)


def cut_blocks(hours: Hours, length: int, dependence: float = float("nan")) -> Blocks:
    """Return the blocks of some hours, sorted by time; each begins at a multiple of its length, UTC."""
    number = hours.begins // (length * HOUR)
    begins, rows = np.unique(number, return_inverse=True)
    slots = (begins * length % 24) // length if length < 24 else np.zeros(len(begins), np.int64)
    early = int((begins * length * HOUR < hours.begins[0] + FIRST_DAYS * DAY).sum())
    return Blocks(begins * length * HOUR, length, slots, rows.reshape(-1), dependence, early)


def independent_blocks(hours: Hours, values: Float64, least: int = 1) -> Blocks:
    """Return the shortest blocks whose neighbours are nearly independent in the first weeks, days where none are.

    Args:
        hours: Hours, sorted by time.
        values: One per hour, float64[T].
        least: Hours of a block at the least.
    """
    early = hours.begins < hours.begins[0] + FIRST_DAYS * DAY
    dependence = float("nan")
    for length in (it for it in LENGTHS if it >= least):
        blocks = cut_blocks(hours.take(early), length)
        found = autocorrelation(blocks.medians(values[early]), blocks)
        dependence = dependence if np.isnan(found) else found
        if found <= _ALIKE:
            return cut_blocks(hours, length, found)
    return cut_blocks(hours, LENGTHS[-1], dependence)


def autocorrelation(values: Float64, blocks: Blocks) -> float:
    """Return how alike neighbouring blocks are, once the usual value of their time of day is taken off."""
    rest = values - typical(values, blocks.slots)[blocks.slots]
    spread = np.nanmedian(np.abs(rest)) * 1.4826
    rest = np.clip(rest, -4 * spread, 4 * spread) if spread > 0 else rest
    near = np.diff(blocks.begins) == blocks.length * HOUR
    one, two = rest[:-1][near], rest[1:][near]
    good = ~(np.isnan(one) | np.isnan(two))
    if good.sum() < _FEW or one[good].std() == 0 or two[good].std() == 0:
        return float("nan")
    return float(np.corrcoef(one[good], two[good])[0, 1])


def typical(values: Float64, slots: Int64) -> Float64:
    """Return the median of the values of each slot, float64[S]; that of all where a slot has none."""
    every = float(np.nanmedian(values)) if (~np.isnan(values)).any() else 0.0
    found = np.full(int(slots.max(initial=0)) + 1, every)
    for slot in np.unique(slots):
        here = values[(slots == slot) & ~np.isnan(values)]
        if len(here):
            found[slot] = np.median(here)
    return found
