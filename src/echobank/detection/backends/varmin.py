"""Variance-minimised density normalisation (arXiv 2603.04605): how much of the density to take off is learned."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from echobank.detection.backends.base import Float64
from echobank.detection.backends.neighbourhoods import (
    FLOOR,
    NeighbourhoodBackend,
    Neighbourhoods,
    Surroundings,
    mean_of_least,
)


@dataclass
class VarMin(NeighbourhoodBackend):
    """Mean over the k least of `D(x, y) - alpha b_y`, with the alpha that makes the bank's own scores vary least.

    b_y is the mean distance of row y to its K nearest others. With a_i the distance of row i to its nearest other n(i),
    `alpha = cov(a, b_n) / var(b_n)`, within 0..1, for each band. In the form "log", a and D are logarithms of distances
    and b of the sum over K neighbours (the density of `Ldn`): with K = 1 this is LDN with VarMin.

    Attributes:
        k: Rows that are averaged over; published with 1.
        metric: "cosine" or "euclidean".
        form: "difference" or "log".
        K: Neighbours that make the density.
    """

    k: int = 1
    metric: str = "cosine"
    form: Literal["difference", "log"] = "difference"
    K: int = 4

    def neighbourhoods(self) -> Neighbourhoods:
        """Return the K nearest others of each row."""
        rows = len(self.bank_)
        return Neighbourhoods(self.index_, self.bank_, np.full(rows, self.K), np.full(rows, ""))

    def learn(self, around: Surroundings) -> tuple[Float64, ...]:
        """Return what is taken off at each row, `alpha b`, float64[N, H]."""
        if self.form == "log":
            own, density = _log(around.first), _log(around.sums)
        else:
            own, density = around.first, around.sums / self.K
        own = own[around.kept]
        near = np.take_along_axis(density, around.nearest, axis=0)[around.kept]
        near, own = near - near.mean(axis=0), own - own.mean(axis=0)
        variance = (near * near).sum(axis=0)
        alpha = np.divide((own * near).sum(axis=0), variance, out=np.zeros_like(variance), where=variance > 0)
        return (np.clip(alpha, 0, 1) * np.where(around.kept[:, None], density, 0),)

    def combine(self, distances: Float64, learned: tuple[Float64, ...]) -> Float64:
        """Return the mean of the k least normalised distances."""
        own = _log(distances) if self.form == "log" else distances
        return mean_of_least(own - learned[0].T, self.k)


def _log(distances: Float64) -> Float64:
    logarithms: Float64 = np.log(np.maximum(distances, FLOOR))
    return logarithms
