"""k-means: the bank reduced to a few centres per domain."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from echobank.detection.backends.base import Float32, Float64, RowsOfBank
from echobank.detection.backends.convergence import without_notices
from echobank.detection.backends.refit import refit_scores
from echobank.detection.bank import Bank
from echobank.detection.search import Index, points


@dataclass
class Kmeans(RowsOfBank):
    """Distance to the nearest centre, each domain having its own, then mean over bands.

    For cosine the centres are means of vectors of unit length. Leave-one-out: the centres are found again without
    the group of a row (`refit_scores`).

    Attributes:
        k: Not used: the nearest centre counts.
        metric: "cosine" or "euclidean".
        centres: Of each domain; all its rows where there are no more.
        seed: Of the starting centres.
    """

    k: int = 1
    metric: str = "cosine"
    centres: int = 16
    seed: int = 0

    def fit(self, bank: Bank) -> Self:
        """Find the centres."""
        self.bank_ = bank
        exact = points(bank.vectors, self.metric)
        found = []
        for name in np.unique(bank.domains):
            own = exact[bank.domains == name]
            found.append(np.stack([self._centres(own[:, band]) for band in range(own.shape[1])], axis=1))
        self.index_ = Index(np.concatenate(found).astype(np.float32), self.metric)
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        scores: Float64 = self.index_.nearest(embeddings, 1)[0].mean(axis=(1, 2))
        return scores

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: The bank has one group only.
        """
        return refit_scores(self, self.bank_)

    def _centres(self, rows: Float64) -> Float64:
        """Return float64[min(centres, n), D]; fewer different rows than centres give a centre more than once."""
        if len(rows) <= self.centres:
            return rows
        from sklearn.cluster import KMeans

        with without_notices():  # of duplicates, which need no more centres
            model = KMeans(self.centres, n_init=1, random_state=self.seed).fit(rows)
        return np.asarray(model.cluster_centers_)
