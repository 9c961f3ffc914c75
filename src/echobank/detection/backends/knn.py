"""k nearest neighbours: the mean distance to the k nearest rows of the bank."""

from dataclasses import dataclass
from typing import Self

from echobank.detection.backends.base import Float32, Float64, Int64, RowsOfBank
from echobank.detection.bank import Bank


@dataclass
class Knn(RowsOfBank):
    """Mean distance to the k nearest rows, then mean over bands.

    Leave-one-out: the neighbours of a row are sought outside its group; nothing else is learned.

    Attributes:
        k: Neighbours. The best published value is 1.
        metric: "cosine" or "euclidean".
    """

    k: int = 3
    metric: str = "cosine"
    has_rows = True

    def fit(self, bank: Bank) -> Self:
        """Remember the bank.

        Raises:
            BankError: It has fewer than k rows.
        """
        self.bank_ = bank
        self._others: tuple[Float64, Int64] | None = None
        self.rows_().check(self.k)
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        return mean_of(self.rows_().nearest(embeddings, self.k)[0])

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: A row has fewer than k others outside its group.
        """
        groups = self.bank_.groups
        distances, rows = self.rows_().nearest(self.bank_.vectors, self.k, groups, groups)
        if distances.shape[1] == 1:
            self._others = (distances[:, 0, 0], rows[:, 0, 0])
        return mean_of(distances)

    def others(self) -> tuple[Float64, Int64]:
        """Return the nearest row of another group of each row; where there is one band, by the search for scores."""
        return super().others() if self._others is None else self._others


def mean_of(distances: Float64) -> Float64:
    """Return the mean over bands and neighbours, float64[Q], of float64[Q, H, k]."""
    means: Float64 = distances.mean(axis=(1, 2))
    return means
