"""Coreset: the bank reduced to rows that leave no other row far from all of them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from echobank.detection.backends.base import Float32, Float64, RowsOfBank
from echobank.detection.backends.refit import refit_scores
from echobank.detection.bank import Bank
from echobank.detection.search import Index, points

_SAME = 1e-12  # squared distance, against the largest, that is taken for a duplicate


def greedy_centres(vectors: Float32, count: int, metric: str = "cosine") -> NDArray[np.int64]:
    """Choose rows by the greedy k-centre rule (Gonzalez, 1985): each next row is the farthest from those chosen.

    The first is the row nearest to the mean, the lower one of two that are equally near. Distances are taken over all
    bands together. The greatest distance of a row to the chosen ones is at most twice the least that any choice of so
    many rows can reach.

    Args:
        vectors: float32[N, H, D].
        count: Rows to choose.
        metric: "cosine" or "euclidean".

    Returns:
        Row numbers in the order of choice, int64; fewer than `count` where all others are duplicates of them.
    """
    flat = points(vectors, metric).reshape(len(vectors), -1)
    flat -= flat.mean(axis=0)
    squares = np.einsum("nd,nd->n", flat, flat)
    scale = squares.max()
    chosen = [int(np.argmax(squares <= squares.min() + _SAME * scale))]
    reach = np.full(len(flat), np.inf)
    while len(chosen) < min(count, len(flat)):
        last = chosen[-1]
        reach = np.minimum(reach, squares + squares[last] - 2 * (flat @ flat[last]))
        farthest = int(reach.argmax())
        if reach[farthest] <= _SAME * scale:
            break
        chosen.append(farthest)
    return np.array(chosen, dtype=np.int64)


@dataclass
class Coreset(RowsOfBank):
    """Mean distance to the k nearest rows of a coreset of each domain, then mean over bands.

    Leave-one-out: the coreset is chosen again without the group of a row (`refit_scores`).

    Attributes:
        k: Neighbours; as many as the coreset has when it has fewer.
        metric: "cosine" or "euclidean".
        rows: Of each domain.
    """

    k: int = 1
    metric: str = "cosine"
    rows: int = 100
    has_rows = True

    def fit(self, bank: Bank) -> Self:
        """Choose the rows.

        Raises:
            BankError: The bank has fewer than k rows.
        """
        self.bank_ = bank
        Index(bank.vectors[:, :, :1], self.metric).check(self.k)
        chosen = []
        for name in np.unique(bank.domains):
            own = np.flatnonzero(bank.domains == name)
            chosen.append(own[greedy_centres(bank.vectors[own], self.rows, self.metric)])
        self.chosen_ = np.concatenate(chosen)
        self.index_ = Index(bank.vectors[self.chosen_], self.metric)
        return self

    def score(self, embeddings: Float32) -> Float64:
        """Return float64[Q] of float32[Q, H, D]."""
        scores: Float64 = self.index_.nearest(embeddings, min(self.k, len(self.chosen_)))[0].mean(axis=(1, 2))
        return scores

    def self_scores(self) -> Float64:
        """Return float64[N].

        Raises:
            BankError: The bank has one group only.
        """
        return refit_scores(self, self.bank_)
