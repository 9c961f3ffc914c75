"""Exact nearest neighbours in a bank: float32 matrix products choose candidates, float64 decides among them.

Both metrics are one search. The cosine distance of a and b is half the squared Euclidean distance of a / |a| and
b / |b|, and neither changes when the origin moves to the middle of the bank, where float32 has the most to give.

Why it is exact: with q and b in float32 around that origin, `|b|^2 - 2 q.b` is off by at most
`e = (D + 8) u (|b|^2 + 2 |q| |b|)`, u = 2^-24, whatever the order of summation (Higham, Accuracy and Stability of
Numerical Algorithms, section 3.1). If c is the k-th least value that was computed, the k-th least true value is at
most c + e, so each of the true k nearest was computed as at most c + 2e. All rows up to there are measured in float64
and sorted by distance, then by row. Neither blocks nor batches enter into the result.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from echobank.errors import BankError, ConfigError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

METRICS = ("cosine", "euclidean")

_QUERIES = 256  # a tile of 256 x 16384 float32 is 16 MB
_ROWS = 16384
_PAIRS = 512  # pairs measured at once in float64: 3 MB at D = 768, within the cache
_SET = 16  # rows whose least value is taken first
_CANCELLED = 1e-4  # a square so small against its parts has lost digits in a matrix product, and is taken again
_UNIT_ROUNDOFF = 2.0**-24
_LARGEST = torch.finfo(torch.float32).max


class Index:
    """A bank prepared for search.

    Args:
        bank: float32[N, H, D].
        metric: "cosine", `1 - cos`, where a zero vector (silence) is at distance 1 from everything; or "euclidean".

    Raises:
        ConfigError: Another metric.
    """

    def __init__(self, bank: Float32, metric: str = "cosine") -> None:
        if metric not in METRICS:
            raise ConfigError("unknown metric", value=metric, hint=f"allowed: {', '.join(METRICS)}")
        self.metric = metric
        self.shape = bank.shape
        self._bands = [_Band(bank[:, band], metric) for band in range(bank.shape[1])]

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
        for h, band in enumerate(self._bands):
            for start in range(0, len(queries), _QUERIES):
                part = slice(start, start + _QUERIES)
                own = None if query_groups is None else query_groups[part]
                distances[part, h], indices[part, h] = band.nearest(queries[part, h], k, own, bank_groups)
        return distances, indices

    def distances(self, queries: Float32) -> Float64:
        """Return the distance of each query to every row, float64[Q, H, N]; the caller bounds Q."""
        return np.stack([band.distances(queries[:, h]) for h, band in enumerate(self._bands)], axis=1)


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


class _Band:
    """One band of a bank: its rows, and a float32 copy of them around their mean."""

    def __init__(self, rows: Float32, metric: str) -> None:
        self._cosine = metric == "cosine"
        self._rows = np.ascontiguousarray(rows)
        self._scale = self._scales(rows)
        placed = self._placed(rows, self._scale, silent=(0.0, 1.0))
        self._origin = placed.mean(axis=0)
        placed -= self._origin
        squares = np.einsum("nd,nd->n", placed, placed)
        self._reach = float(np.sqrt(squares.max()))
        self._moved = torch.from_numpy(placed.astype(np.float32))
        self._squares = torch.from_numpy(squares.astype(np.float32))

    def nearest(self, queries: Float32, k: int, own: Int64 | None, groups: Int64 | None) -> tuple[Float64, Int64]:
        scale = self._scales(queries)
        moved = self._placed(queries, scale, silent=(1.0, 0.0)) - self._origin
        far = np.sqrt(np.einsum("qd,qd->q", moved, moved))
        error = (moved.shape[1] + 8) * _UNIT_ROUNDOFF * (self._reach**2 + 2 * far * self._reach)
        asked, found = self._candidates(moved.astype(np.float32), k, 2 * error, own, groups)
        squares = self._squared(queries, scale, asked, found)
        order = np.lexsort((found, squares, asked))
        first = np.searchsorted(asked[order], np.arange(len(queries)))
        best = order[first[:, None] + np.arange(k)]
        return squares[best] / 2 if self._cosine else np.sqrt(squares[best]), found[best]

    def distances(self, queries: Float32) -> Float64:
        scale = self._scales(queries)
        moved = self._placed(queries, scale, silent=(1.0, 0.0)) - self._origin
        squares = np.empty((len(queries), len(self._rows)))
        for start in range(0, len(self._rows), _ROWS):
            part = slice(start, start + _ROWS)
            rows = self._placed(self._rows[part], self._scale[part], silent=(0.0, 1.0)) - self._origin
            size = np.einsum("qd,qd->q", moved, moved)[:, None] + np.einsum("nd,nd->n", rows, rows)
            squares[:, part] = size - 2 * (moved @ rows.T)
            close = np.nonzero(squares[:, part] < _CANCELLED * size)
            pairs = close[0], close[1] + start
            squares[pairs] = self._squared(queries, scale, *pairs)
        squares[scale == 0] = 2.0
        squares[:, self._scale == 0] = 2.0
        return np.asarray(squares / 2 if self._cosine else np.sqrt(squares))

    def _scales(self, x: Float32) -> Float64:
        """Return what brings each vector to its place: 1 / length for cosine, 0 for a silent one; otherwise 1."""
        if not self._cosine:
            return np.ones(len(x))
        lengths = np.sqrt(np.einsum("nd,nd->n", x, x, dtype=np.float64))
        scales: Float64 = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return scales

    def _placed(self, x: Float32, scale: Float64, silent: tuple[float, float]) -> Float64:
        """Return points whose squared distance is that of the metric, or twice it for cosine.

        Silent queries and silent rows get a coordinate of their own, at right angles to all others: 1 from everything.
        """
        placed: Float64 = x * scale[:, None]
        if self._cosine:
            placed = np.concatenate([placed, (scale == 0)[:, None] * np.array([silent])], axis=1)
        return placed

    def _candidates(
        self, queries: Float32, k: int, slack: Float64, own: Int64 | None, groups: Int64 | None
    ) -> tuple[Int64, Int64]:
        """Return pairs (query, row) that hold the k nearest of each query: all up to the k-th least plus the slack.

        The k-th least of minima over sets of rows is at least the k-th least value, and far quicker to find.
        """
        points, margin = torch.from_numpy(queries), torch.from_numpy(slack).float()
        least = torch.empty(len(queries), 0)
        parts = []
        for start in range(0, len(self._rows), _ROWS):
            part = slice(start, start + _ROWS)
            tile = torch.addmm(self._squares[part], points, self._moved[part].T, alpha=-2)
            if own is not None and groups is not None:
                tile.masked_fill_(torch.from_numpy(own)[:, None] == torch.from_numpy(groups[part]), torch.inf)
            minima = torch.cat([least, _minima(tile, k)], dim=1)
            least = minima.topk(min(k, minima.shape[1]), largest=False, sorted=True).values
            limit = (least[:, -1] + margin).clamp(max=_LARGEST)
            asked, row = torch.nonzero(tile <= limit[:, None], as_tuple=True)
            parts.append((asked, row + start, tile[asked, row]))
        asked, found, values = (torch.cat(columns) for columns in zip(*parts, strict=True))
        keep = values <= limit[asked]
        return asked[keep].numpy(), found[keep].numpy()

    def _squared(self, queries: Float32, scale: Float64, asked: Int64, found: Int64) -> Float64:
        """Return the squared distance of each pair in float64, between unit vectors for cosine; 0 for equal vectors."""
        exact = torch.from_numpy(queries).double().mul_(torch.from_numpy(scale)[:, None])
        rows, factors = torch.from_numpy(self._rows), torch.from_numpy(self._scale)
        result = torch.empty(len(asked), dtype=torch.float64)
        for start in range(0, len(asked), _PAIRS):
            part = slice(start, start + _PAIRS)
            row = torch.from_numpy(found[part])
            step = rows[row].double().mul_(factors[row, None]).sub_(exact[torch.from_numpy(asked[part])])
            torch.sum(step.square_(), dim=1, out=result[part])
        squares: Float64 = result.numpy()
        squares[(scale[asked] == 0) | (self._scale[found] == 0)] = 2.0
        return squares


def points(vectors: Float32, metric: str) -> Float64:
    """Return float64 vectors as a metric sees them, float[..., D]: of unit length for cosine, zero ones left alone."""
    exact = vectors.astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(exact, axis=-1, keepdims=True)
        np.divide(exact, lengths, out=exact, where=lengths > 0)
    return exact


def _minima(tile: torch.Tensor, k: int) -> torch.Tensor:
    """Return minima over disjoint sets of columns, at least 4 k sets where there are as many columns."""
    columns = tile.shape[1]
    sets = max(columns // _SET, min(columns, 4 * k))
    size = columns // sets
    folded = tile[:, : sets * size].reshape(len(tile), size, sets).amin(dim=1)
    return torch.cat([folded, tile[:, sets * size :]], dim=1)
