"""Exact nearest neighbours in a bank: float32 matrix products choose candidates, float64 decides among them.

Both metrics are one search. The cosine distance of a and b is half the squared Euclidean distance of a / |a| and
b / |b|, and neither changes when the origin moves to the middle of the bank, where float32 has the most to give.

Why it is exact: with q and b in float32 around that origin, `|b|^2 - 2 q.b` is off by at most
`e = (D + 8) u (|b|^2 + 2 |q| |b|)`, u = 2^-24, whatever the order of summation (Higham, Accuracy and Stability of
Numerical Algorithms, section 3.1). If c is the k-th least value that was computed, the k-th least true value is at
most c + e, so each of the true k nearest was computed as at most c + 2e. All rows up to there are measured in float64
and sorted by distance, then by row. The result does not depend on blocks, batches or the number of threads: only the
float32 products are left to the library of linear algebra, and the float64 sums are taken pair by pair.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from echobank.detection.band import ROWS, Band
from echobank.errors import BankError, ConfigError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

METRICS = ("cosine", "euclidean")

_QUERIES = 256  # a tile of 256 x 4096 float32 is 4 MB; of fewer rows, more queries at a time
_MEASURED = 1 << 21  # distances to every row that are held at once: 16 MB


class Index:
    """A bank prepared for search.

    Args:
        bank: float32[N, H, D].
        metric: "cosine", `1 - cos`, where a zero vector (silence) is at distance 1 from everything; or "euclidean".
        lengths: What `rowwise.row_lengths` gives for the bank, float64[N, H], where it is known already.

    Raises:
        ConfigError: Another metric.
    """

    def __init__(self, bank: Float32, metric: str = "cosine", lengths: Float64 | None = None) -> None:
        if metric not in METRICS:
            raise ConfigError("unknown metric", value=metric, hint=f"allowed: {', '.join(METRICS)}")
        self.metric = metric
        self.shape = bank.shape
        self._of = bank, lengths

    @cached_property
    def _bands(self) -> list[Band]:
        """The rows of each band, prepared when first searched: a copy of the bank, which exports never need."""
        bank, lengths = self._of
        each = [None if lengths is None else lengths[:, band] for band in range(bank.shape[1])]
        return [Band(bank[:, band], self.metric, own) for band, own in enumerate(each)]

    def check(self, k: int, query_groups: Int64 | None = None, bank_groups: Int64 | None = None) -> None:
        """Refuse a k larger than the number of rows, or of rows outside the group of a query.

        Raises:
            BankError: It is.
        """
        rows, largest = self.shape[0], 0
        if query_groups is not None and bank_groups is not None:
            names, counts = np.unique(bank_groups, return_counts=True)
            largest = int(counts[np.isin(names, query_groups)].max(initial=0))
        if k > rows - largest:
            without = f", {rows - largest} of them outside a clip's own group" if largest else ""
            raise BankError(
                f"k = {k} neighbours are more than the bank can give: it has {rows} rows{without}",
                hint="take a smaller k or more healthy recordings",
            )

    def nearest(
        self, queries: Float32, k: int, query_groups: Int64 | None = None, bank_groups: Int64 | None = None
    ) -> tuple[Float64, Int64]:
        """Return the k nearest rows of each query, band by band.

        Args:
            queries: float32[Q, H, D].
            k: Neighbours, 1 or more.
            query_groups: Group of each query, int64[Q]; rows of the same group are no neighbours of it.
            bank_groups: Group of each row, int64[N].

        Returns:
            Distances float64[Q, H, k] in ascending order and row numbers int64[Q, H, k]; the lower row first where
            distances are equal.

        Raises:
            BankError: A query has fewer than k rows outside its group.
        """
        self.check(k, query_groups, bank_groups)
        distances = np.empty((len(queries), self.shape[1], k))
        indices = np.empty(distances.shape, dtype=np.int64)
        step = _QUERIES * max(1, ROWS // (4 * self.shape[0]))
        for h, band in enumerate(self._bands):
            for start in range(0, len(queries), step):
                part = slice(start, start + step)
                own = None if query_groups is None else query_groups[part]
                distances[part, h], indices[part, h] = band.nearest(queries[part, h], k, own, bank_groups)
        return distances, indices

    def distances(self, queries: Float32) -> Float64:
        """Return the distance of each query to every row, float64[Q, H, N]; the caller bounds Q."""
        return np.stack([band.distances(queries[:, h]) for h, band in enumerate(self._bands)], axis=1)

    def closest(
        self, queries: Float32, query_groups: Int64 | None = None, bank_groups: Int64 | None = None
    ) -> tuple[Float64, Int64]:
        """Return the row of least distance, mean over bands, of each query; the lower row where two are equal.

        Args:
            queries: float32[Q, H, D].
            query_groups: As `nearest`.
            bank_groups: As `nearest`.

        Returns:
            Distances float64[Q] and row numbers int64[Q].

        Raises:
            BankError: All rows are of the group of a query.
        """
        self.check(1, query_groups, bank_groups)
        if self.shape[1] == 1:
            distances, rows = self.nearest(queries, 1, query_groups, bank_groups)
            return distances[:, 0, 0], rows[:, 0, 0]
        least, places = np.empty(len(queries)), np.empty(len(queries), dtype=np.int64)
        step = max(1, _MEASURED // self.shape[0])
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            means = sum(band.distances(queries[part, h]) for h, band in enumerate(self._bands)) / self.shape[1]
            if query_groups is not None and bank_groups is not None:
                means[query_groups[part, None] == bank_groups] = np.inf
            places[part] = means.argmin(axis=1)
            least[part] = means.min(axis=1)
        return least, places


def nearest(
    queries: Float32,
    bank: Float32,
    k: int,
    metric: str = "cosine",
    query_groups: Int64 | None = None,
    bank_groups: Int64 | None = None,
) -> tuple[Float64, Int64]:
    """Return the k nearest rows of a bank that is searched once; arguments and result as of `Index`."""
    return Index(bank, metric).nearest(queries, k, query_groups, bank_groups)


def points(vectors: Float32, metric: str) -> Float64:
    """Return float64 vectors as a metric sees them, float[..., D]: of unit length for cosine, zero ones left alone."""
    exact = vectors.astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(exact, axis=-1, keepdims=True)
        np.divide(exact, lengths, out=exact, where=lengths > 0)
    return exact
