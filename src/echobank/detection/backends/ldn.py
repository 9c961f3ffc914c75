"""Local density normalisation (arXiv 2509.10951): distances count less where the bank itself is sparse."""

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
class Ldn(NeighbourhoodBackend):
    """Mean over the k least of `D(x, y) / r_y`, r_y the sum of the distances of row y to its K nearest others.

    Attributes:
        k: Rows that are averaged over; published with 1.
        metric: "cosine" or "euclidean".
        form: "ratio"; "difference", `D(x, y) - r_y`, for K = 1 only in the paper; "log", the logarithm of the ratio.
        K: Neighbours that make the density; 1 is robust, 16 usual.
    """

    k: int = 1
    metric: str = "cosine"
    form: Literal["ratio", "difference", "log"] = "ratio"
    K: int = 1

    def neighbourhoods(self) -> Neighbourhoods:
        """Return the K nearest others of each row."""
        rows = len(self.bank_)
        return Neighbourhoods(self.index_, self.bank_, np.full(rows, self.K), np.full(rows, ""))

    def learn(self, around: Surroundings) -> tuple[Float64, ...]:
        """Return the densities, float64[N, H]."""
        return (around.sums,)

    def combine(self, distances: Float64, learned: tuple[Float64, ...]) -> Float64:
        """Return the mean of the k least normalised distances."""
        density = learned[0].T
        if self.form == "difference":
            return mean_of_least(distances - density, self.k)
        ratios = distances / np.maximum(density, FLOOR)
        if self.form == "log":
            ratios = np.log(np.maximum(distances, FLOOR)) - np.log(np.maximum(density, FLOOR))
        return mean_of_least(ratios, self.k)
