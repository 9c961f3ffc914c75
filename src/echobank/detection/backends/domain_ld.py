"""Domain-wise local density (second place of DCASE 2025 Task 2): each domain normalises its own distances."""

from dataclasses import dataclass

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
class DomainLd(NeighbourhoodBackend):
    """Mean over the k least of `D(x, y) / r_y`, the density r_y taken among the rows of y's domain only.

    A domain with fewer rows gives as many neighbours as it has.

    Attributes:
        k: Rows that are averaged over; published with 1.
        metric: "cosine" or "euclidean".
        K_source: Neighbours that make the density, in every domain but "target".
        K_target: The same in the domain "target".
    """

    k: int = 1
    metric: str = "cosine"
    K_source: int = 16
    K_target: int = 9

    def neighbourhoods(self) -> Neighbourhoods:
        """Return the nearest others of each row within its domain."""
        counts = np.where(self.domains_ == "target", self.K_target, self.K_source)
        return Neighbourhoods(self.index_, self.bank_, counts, self.domains_, fewer=True)

    def learn(self, around: Surroundings) -> tuple[Float64, ...]:
        """Return the densities, float64[N, H]."""
        return (around.sums,)

    def combine(self, distances: Float64, learned: tuple[Float64, ...]) -> Float64:
        """Return the mean of the k least normalised distances."""
        return mean_of_least(distances / np.maximum(learned[0].T, FLOOR), self.k)
