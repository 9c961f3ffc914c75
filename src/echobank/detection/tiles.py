"""Tiles of approximate distances, queries by rows of a bank, float32: where candidates for neighbours are picked."""

from collections.abc import Sequence
from math import isqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Real = TypeVar("Real", np.float32, np.float64)

_ALONE = 1 << 18  # multiplications up to which OpenBLAS starts no threads (interface/gemm.c: 65536 * 4)
_THREADED = 1 << 28  # multiplications, some 10 ms, above which threads of the library are worth their while


def product(a: NDArray[Real], b: NDArray[Real]) -> NDArray[Real]:
    """Return the product of rows float[Q, D] with rows float[R, D], float[Q, R].

    A small one is taken in pieces for which the library of linear algebra starts no threads: a thread that was started
    waits for the next product at the full load of its core, for 80 ms where the product took one.
    """
    if len(a) * len(b) * a.shape[1] > _THREADED:
        return a @ b.T
    # a single row would go to the routine for vectors, which starts threads much sooner
    x, y = (np.concatenate([rows, rows]) if len(rows) == 1 else rows for rows in (a, b))
    out = np.empty((len(x), len(y)), dtype=a.dtype)
    height = min(len(x), max(2, isqrt(_ALONE // a.shape[1])))
    width = min(len(y), max(2, _ALONE // (height * a.shape[1])))
    for row in _starts(len(x), height):
        for column in _starts(len(y), width):
            left, right = x[row : row + height], y[column : column + width]
            np.matmul(left, right.T, out=out[row : row + height, column : column + width])
    return out[: len(a), : len(b)]


def _starts(count: int, size: int) -> Sequence[int]:
    """Return where pieces of a size begin; the last one overlaps rather than being shorter."""
    return [min(start, count - size) for start in range(0, count, size)]


def leave_out(tile: Float32, own: Int64, groups: Int64) -> None:
    """Put rows of a query's own group out of reach in a tile float32[Q, R]."""
    shared = np.flatnonzero(np.isin(groups, own))
    asked, place = np.nonzero(own[:, None] == groups[shared])
    tile[asked, shared[place]] = np.inf


def minima(tile: Float32, sets: int) -> Float32:
    """Return minima over that many disjoint sets of columns, and behind them the columns that are left over."""
    size = tile.shape[1] // sets
    folded = tile[:, : sets * size].reshape(len(tile), size, sets).min(axis=1)
    return np.concatenate([folded, tile[:, sets * size :]], axis=1)


def least(values: Float32, k: int) -> Float32:
    """Return the k least of each row, in any order; all where there are no more."""
    return values if values.shape[1] <= k else np.partition(values, k - 1, axis=1)[:, :k]


def within(tile: Float32, minima: Float32, sets: int, limit: Float32) -> tuple[Int64, Int64]:
    """Return the places (row, column) of a tile up to the limit of the row, looked for by what `minima` gave."""
    size = tile.shape[1] // sets
    asked, place = np.nonzero(minima <= limit[:, None])
    whole = place < sets
    columns = place[whole, None] + sets * np.arange(size)
    row, inside = np.nonzero(tile[asked[whole, None], columns] <= limit[asked[whole], None])
    rest = place[~whole] + sets * (size - 1)
    return np.concatenate([asked[whole][row], asked[~whole]]), np.concatenate([columns[row, inside], rest])
