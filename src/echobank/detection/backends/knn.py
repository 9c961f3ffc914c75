"""k nearest neighbours: the mean distance to the k nearest rows of the bank."""

from dataclasses import dataclass
from typing import Self

from echobank.detection.backends.base import Float32, Float64
from echobank.detection.bank import Bank
from echobank.detection.search import Index


@dataclass
class Knn:
    """Mean distance to the k nearest rows, then mean over bands.

    Leave-one-out: the neighbours of a row are sought outside its group; nothing else is learned.

    Attributes:
        k: Neighbours. The best published value is 1.
        metric: "cosine" or "euclidean".
    """

    k: int = 3
    metric: str = "cosine"

    def fit(self, bank: Bank) -> Self:
        """Remember the bank.

        Raises:
            BankError: It has fewer than k rows.
        """
        self.bank_ = bank
        self.index_ = Index(bank.vectors, self.metric)
        self.index_.check(self.k)
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        return mean_of(self.index_.nearest(embeddings, self.k)[0])

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: A row has fewer than k others outside its group.
        """
        groups = self.bank_.groups
        return mean_of(self.index_.nearest(self.bank_.vectors, self.k, groups, groups)[0])


def mean_of(distances: Float64) -> Float64:
    """Return the mean over bands and neighbours, float64[Q], of float64[Q, H, k]."""
    means: Float64 = distances.mean(axis=(1, 2))
    return means
