"""Sums over the values of a row in float64, each the same whatever the rows beside it and the number of threads."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PREPARED = 4096  # rows taken into float64 at a time; the last bits of a mean over rows depend on it


def row_lengths(vectors: Float32) -> Float64:
    """Return the Euclidean length of each vector, float64[N, H], of float32[N, H, D]."""
    return np.stack([lengths_of(vectors[:, band]) for band in range(vectors.shape[1])], axis=1)


def lengths_of(x: Float32) -> Float64:
    """Return the Euclidean length of each row, float64[N], of float32[N, D]."""
    lengths = np.empty(len(x))
    for part in blocks(len(x), PREPARED):
        exact = x[part].astype(np.float64)
        lengths[part] = np.sqrt(dots(exact, exact))
    return lengths


def dots(a: Float64, b: Float64) -> Float64:
    """Return the inner product of each pair of rows, float64[N]; each is the same whatever the others are."""
    return np.asarray(np.einsum("nd,nd->n", a, b))


def blocks(count: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover `count`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
