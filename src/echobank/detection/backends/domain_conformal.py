"""Domain conformal: how unusual a distance is among the own distances of the nearer domain."""

from dataclasses import dataclass

import numpy as np

from echobank.detection.backends.base import Float64
from echobank.detection.backends.neighbourhoods import (
    NeighbourhoodBackend,
    Neighbourhoods,
    Surroundings,
    mean_of_least,
)


@dataclass
class DomainConformal(NeighbourhoodBackend):
    """`1 - p` of the nearer domain, `p = (1 + #{own distances >= d}) / (n + 1)`; equal ones in the order of d.

    d is the mean distance to the k nearest rows of a domain, own distances those of its n rows without their groups.
    The order of d enters as `d / (1 + d)` times less than half the least difference of two values of p.

    Attributes:
        k: Neighbours; published with 1.
        metric: "cosine" or "euclidean".
    """

    k: int = 1
    metric: str = "cosine"

    def neighbourhoods(self) -> Neighbourhoods:
        """Return the k nearest others of each row within its domain."""
        return Neighbourhoods(self.index_, self.bank_, np.full(len(self.bank_), self.k), self.domains_)

    def learn(self, around: Surroundings) -> tuple[Float64, ...]:
        """Return the own distances in ascending order, float64[n, H], per domain; empty for one that is not left."""
        names = np.unique(self.domains_)
        return tuple(np.sort(around.sums[around.kept & (self.domains_ == name)] / self.k, axis=0) for name in names)

    def combine(self, distances: Float64, learned: tuple[Float64, ...]) -> Float64:
        """Return 1 - p with its tie-break."""
        names = np.unique(self.domains_)
        each = np.stack([mean_of_least(distances[:, :, self.domains_ == name], self.k) for name in names])
        nearer, own = each.argmin(axis=0), each.min(axis=0)
        p = np.empty(own.shape)
        for position, known in enumerate(learned):
            for band in range(own.shape[1]):
                here = nearer[:, band] == position
                above = len(known) - np.searchsorted(known[:, band], own[here, band], side="left")
                p[here, band] = (1 + above) / (len(known) + 1)
        two_largest = sorted((len(known) + 1 for known in learned), reverse=True)[:2]
        return np.asarray(1 - p + 0.5 / np.prod(two_largest) * own / (1 + own))
