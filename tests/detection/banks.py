"""Random banks with everything that is awkward in them, and distances pair by pair."""

import math

import numpy as np

from echobank.detection.backends import make_backend
from echobank.detection.bank import Bank, Row


def make_bank(n, *, one_domain=False, group=1, seed=0, bands=2, dimension=6):
    """Random rows; many enough have duplicates and silence."""
    vectors = (np.random.default_rng(seed).standard_normal((n, bands, dimension)) + 1).astype(np.float32)
    if n > 8:
        vectors[3], vectors[7], vectors[5] = vectors[1], vectors[1], 0
    domains = ["source" if one_domain or i % 3 else "target" for i in range(n)]
    return Bank(vectors, tuple(Row(f"{i}", "m", domain=domains[i], group=f"g{i // group}") for i in range(n)))


def make(name, *, k=1, metric="cosine", **params):
    """Return an unfitted back-end."""
    return make_backend(name, k=k, metric=metric, params=params)


def distance(a, b, metric):
    """Return the distance of two vectors; a silent one is at cosine distance 1 from everything."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    if metric == "euclidean":
        return math.sqrt(((a - b) ** 2).sum())
    if not a.any() or not b.any():
        return 1.0
    return ((a / np.sqrt(a @ a) - b / np.sqrt(b @ b)) ** 2).sum() / 2


def unit(x):
    """Return vectors float64[..., D] of length 1."""
    x = x.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-300)
