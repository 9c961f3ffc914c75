"""What scores by neighbours and by the neighbourhoods of those neighbours have in common, with exact leave-one-out.

A bank without one group has other neighbourhoods, but only where a row of that group was near. Each row keeps a list
of neighbours longer than needed by the largest group, so that the sums without any one group follow from the lists.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from echobank.detection.backends.base import Float32, Float64, RowsOfBank
from echobank.detection.bank import Bank
from echobank.detection.search import Index
from echobank.errors import BankError

FLOOR = 1e-12  # least distance that is divided by or taken the logarithm of; rows with duplicates have density 0

_BLOCK = 1 << 24  # distances held at once: 128 MB
_GROUPS = 64  # groups whose distances are computed together


@dataclass(frozen=True)
class Surroundings:
    """The neighbourhood of each row, without one group or with all.

    Attributes:
        kept: Rows that are there, bool[N].
        sums: Sum of the distances to the nearest others, float64[N, H].
        first: Distance to the nearest other, float64[N, H].
        nearest: That row, int64[N, H].
    """

    kept: NDArray[np.bool_]
    sums: Float64
    first: Float64
    nearest: NDArray[np.int64]


class Neighbourhoods:
    """Nearest others of each row, none of its own group.

    Args:
        index: The bank, prepared for search.
        bank: The bank.
        counts: Number of others that are summed, int64[N].
        within: Rows are neighbours only where these labels agree, [N].
        fewer: Whether fewer others will do where there are fewer, but not none.

    Raises:
        BankError: A row has fewer others than its count.
    """

    def __init__(
        self, index: Index, bank: Bank, counts: NDArray[np.int64], within: NDArray[np.str_], *, fewer: bool = False
    ) -> None:
        self._counts, self._fewer, self._groups = counts, fewer, bank.groups
        most = min(len(bank), int(counts.max()) + int(np.bincount(self._groups).max()))
        shape = (len(bank), bank.vectors.shape[1], most)
        self._distances, self._rows = np.empty(shape), np.empty(shape, dtype=np.int64)
        for part, distances in blocks(index, bank.vectors):
            apart = (self._groups[part, None] != self._groups) & (within[part, None] == within)
            distances = np.where(apart[:, None], distances, np.inf)
            rows = _least(distances, most)
            self._distances[part], self._rows[part] = _ascending(np.take_along_axis(distances, rows, axis=2), rows)
        self._all = self._surroundings(np.arange(len(bank)), self._distances, self._rows)
        near = self._groups[self._rows]
        near[~np.isfinite(self._distances)] = -1
        listed, where = near.reshape(len(bank), -1), np.argsort(near, axis=None, kind="stable")
        self._listed = listed.ravel()[where]
        self._listing = where // listed.shape[1]

    def without(self, group: int | None) -> Surroundings:
        """Return the surroundings in the bank without a group, or in the whole bank for None.

        Raises:
            BankError: A row is left with fewer others than its count.
        """
        kept = self._groups != group if group is not None else np.ones(len(self._groups), dtype=bool)
        sums, first, nearest = self._all[0].copy(), self._all[1].copy(), self._all[2].copy()
        if group is not None:
            start, stop = np.searchsorted(self._listed, [group, group + 1])
            touched = np.unique(self._listing[start:stop])
            distances, rows = self._distances[touched], self._rows[touched]
            distances = np.where(self._groups[rows] == group, np.inf, distances)
            sums[touched], first[touched], nearest[touched] = self._surroundings(touched, *_ascending(distances, rows))
        short = ~np.isfinite(sums[kept]).all(axis=1)
        if short.any() or not kept.any():
            raise BankError(
                f"{int(self._counts.max())} neighbours of each row are more than the bank can give: "
                f"{int(kept.sum())} rows" + (" without a row's own group" if group is not None else ""),
                hint="take fewer neighbours (K or k) or more healthy recordings of each domain",
            )
        return Surroundings(kept, sums, first, nearest)

    def _surroundings(
        self, which: NDArray[np.int64], distances: Float64, rows: NDArray[np.int64]
    ) -> tuple[Float64, Float64, NDArray[np.int64]]:
        wanted = np.arange(distances.shape[2]) < self._counts[which, None, None]
        if self._fewer:
            wanted = wanted & (np.isfinite(distances) | (np.arange(distances.shape[2]) == 0))
        return np.where(wanted, distances, 0).sum(axis=2), distances[..., 0], rows[..., 0]


class NeighbourhoodBackend(RowsOfBank, ABC):
    """Base of back-ends that need the distance to every row and the neighbourhoods in the bank.

    Leave-one-out: a row is scored by the bank without its group, and everything that is learned from the bank
    (densities, their weight, the distances that a domain is normalised by) is learned again without that group.
    """

    k: int
    metric: str
    has_rows = True

    def fit(self, bank: Bank) -> Self:
        """Remember the bank and the neighbourhood of each row.

        Raises:
            BankError: It is too small for k or K.
        """
        self.bank_, self.domains_ = bank, bank.domains
        self.index_ = self.rows_()
        self.index_.check(self.k)
        self.neighbourhoods_ = self.neighbourhoods()
        self.learned_ = self.learn(self.neighbourhoods_.without(None))
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        parts = [self.combine(distances, self.learned_) for _, distances in blocks(self.index_, embeddings)]
        scores: Float64 = np.concatenate([np.empty((0, embeddings.shape[1])), *parts]).mean(axis=1)
        return scores

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: The bank without the group of a row is too small for k or K.
        """
        groups, scores = self.bank_.groups, np.empty(len(self.bank_))
        order = np.argsort(groups, kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
        for start in range(0, len(members), _GROUPS):
            several = members[start : start + _GROUPS]
            distances = self.index_.distances(self.bank_.vectors[np.concatenate(several)])
            splits = np.cumsum([len(rows) for rows in several])[:-1]
            for rows, own in zip(several, np.split(distances, splits), strict=True):
                group = int(groups[rows[0]])
                self.index_.check(self.k, groups[rows], groups)
                own[:, :, rows] = np.inf
                scores[rows] = self.combine(own, self.learn(self.neighbourhoods_.without(group))).mean(axis=1)
        return scores

    @abstractmethod
    def neighbourhoods(self) -> Neighbourhoods:
        """Return the neighbourhoods that this back-end looks at."""

    @abstractmethod
    def learn(self, around: Surroundings) -> tuple[Float64, ...]:
        """Return what `combine` needs to know of a bank."""

    @abstractmethod
    def combine(self, distances: Float64, learned: tuple[Float64, ...]) -> Float64:
        """Return the score per band, float64[Q, H], of distances float64[Q, H, N], inf for rows that are left out."""


def blocks(index: Index, vectors: Float32) -> Iterator[tuple[slice, Float64]]:
    """Yield the distances of vectors float32[Q, H, D] to every row, float64[q, H, N], block by block."""
    step = max(1, _BLOCK // (index.shape[0] * index.shape[1]))
    for start in range(0, len(vectors), step):
        yield slice(start, start + step), index.distances(vectors[start : start + step])


def mean_of_least(values: Float64, k: int) -> Float64:
    """Return the mean of the k least along the last axis."""
    if k == 1:
        return np.asarray(values.min(axis=-1))
    return np.asarray(np.partition(values, k - 1, axis=-1)[..., :k].mean(axis=-1))


def _least(distances: Float64, count: int) -> NDArray[np.int64]:
    """Return the rows of the `count` least, in order of number; of equal ones the lower rows."""
    limit = np.partition(distances, count - 1, axis=2)[:, :, count - 1, None]
    below, equal = distances < limit, distances == limit
    spare = count - below.sum(axis=2, keepdims=True)
    chosen = below | (equal & (np.cumsum(equal, axis=2) <= spare))
    return np.nonzero(chosen)[2].reshape(*distances.shape[:2], count)


def _ascending(distances: Float64, rows: NDArray[np.int64]) -> tuple[Float64, NDArray[np.int64]]:
    order = np.argsort(distances, axis=2, kind="stable")
    return np.take_along_axis(distances, order, axis=2), np.take_along_axis(rows, order, axis=2)
