"""What every back-end offers: fit on a bank, score one clip at a time, score the bank itself."""

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from echobank.detection.bank import Bank
from echobank.detection.search import Index

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


class Backend(Protocol):
    """A way of scoring. The constructor only stores its parameters; fitted state ends in `_`.

    Every back-end is inductive: the score of a clip depends on the bank and that clip alone.
    """

    def fit(self, bank: Bank) -> Self:
        """Learn from the bank and return self.

        Raises:
            BankError: The bank is too small for the parameters (for example k larger than its rows).
        """
        ...

    def score(self, embeddings: Float32) -> Float64:
        """Return the anomaly score of each query, float64[Q], from float32[Q, H, D]; larger is more anomalous."""
        ...

    def self_scores(self) -> Float64:
        """Return the score of each bank row against the bank without the rows of its own group, float64[N]."""
        ...

    @property
    def has_rows(self) -> bool:
        """Whether a score comes from rows of the bank, rather than from a model of them."""
        ...

    def nearest(self, embeddings: Float32) -> Int64:
        """Return the row of the bank that is nearest to each query, in the bank's own metric, int64[Q].

        The mean distance over bands counts, and of rows that are equally near the lower one.
        """
        ...

    def ranked(self, embedding: Float32) -> Int64:
        """Return the rows from the nearest to the farthest of one query float32[H, D], int64[N]."""
        ...

    def others(self) -> tuple[Float64, Int64]:
        """Return the nearest row of another group of each bank row: distances float64[N] and rows int64[N].

        Raises:
            BankError: The bank has one group only.
        """
        ...


class RowsOfBank:
    """What all back-ends have in common that keep their bank: an index of its rows.

    Attributes:
        bank_: The bank, set by `fit`.
        metric: "cosine" or "euclidean".
    """

    bank_: Bank
    metric: str
    has_rows = False
    _rows: tuple[Bank, Index] | None = None

    def nearest(self, embeddings: Float32) -> Int64:
        """Return the nearest row of each query, int64[Q]."""
        return self.rows_().closest(embeddings)[1]

    def ranked(self, embedding: Float32) -> Int64:
        """Return the rows from the nearest to the farthest, int64[N]."""
        distances = self.rows_().distances(embedding[None])[0].mean(axis=0)
        return np.argsort(distances, kind="stable").astype(np.int64)

    def others(self) -> tuple[Float64, Int64]:
        """Return distance and number of the nearest row of another group of each row."""
        return self.rows_().closest(self.bank_.vectors, self.bank_.groups, self.bank_.groups)

    def rows_(self) -> Index:
        """Return the index of the bank's rows; made on first use."""
        if self._rows is None or self._rows[0] is not self.bank_:
            self._rows = (self.bank_, Index(self.bank_.vectors, self.metric, self.bank_.lengths))
        return self._rows[1]
