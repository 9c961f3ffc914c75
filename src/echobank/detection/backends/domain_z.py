"""Domain z: the distance to each domain, in standard deviations of that domain's own distances; the least counts."""

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
class DomainZ(NeighbourhoodBackend):
    """Least over domains of `(d - mean) / deviation`, d the mean distance to the k nearest rows of the domain.

    Mean and deviation are of the same distance of the domain's own rows, each without its group.

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
        """Return mean and deviation per domain and band, float64[domains, H] each; nan where a domain is gone."""
        names = np.unique(self.domains_)
        own = [around.sums[around.kept & (self.domains_ == name)] / self.k for name in names]
        nothing = np.full(around.sums.shape[1], np.nan)
        means = np.array([x.mean(axis=0) if len(x) else nothing for x in own])
        deviations = np.array([x.std(axis=0) if len(x) else nothing for x in own])
        return means, np.maximum(deviations, FLOOR)

    def combine(self, distances: Float64, learned: tuple[Float64, ...]) -> Float64:
        """Return the least z over domains."""
        scores = []
        for name, mean, deviation in zip(np.unique(self.domains_), *learned, strict=True):
            own = mean_of_least(distances[:, :, self.domains_ == name], self.k)
            scores.append(np.where(np.isfinite(own), (own - mean) / deviation, np.inf))
        return np.asarray(np.min(scores, axis=0))
