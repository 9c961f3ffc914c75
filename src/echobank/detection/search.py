"""Exact nearest neighbours in a bank: float32 matrix products choose candidates, float64 decides among them.

Both metrics are one search. The cosine distance of a and b is half the squared Euclidean distance of a / |a| and
b / |b|, and neither changes when the origin moves to the middle of the bank, where float32 has the most to give.

Why it is exact: with q and b in float32 around that origin, `|b|^2 - 2 q.b` is off by at most
`e = (D + 8) u (|b|^2 + 2 |q| |b|)`, u = 2^-24, whatever the order of summation (Higham, Accuracy and Stability of
Numerical Algorithms, section 3.1). If c is the k-th least value that was computed, the k-th least true value is at
most c + e, so each of the true k nearest was computed as at most c + 2e. All rows up to there are measured in float64
and sorted by distance, then by row. Neither blocks nor batches enter into the result.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echobank.errors import BankError, ConfigError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

METRICS = ("cosine", "euclidean")

_ROWS = 16384
_QUERIES = 256  # a tile of 256 x 16384 float32 is 16 MB; of fewer rows, more queries at a time
_KEPT = 64 << 20  # bytes of a bank that is also held in float64; of a larger one rows are taken as they are wanted
_PAIRS = 512  # pairs measured at once in float64: 3 MB at D = 768, within the cache
_SET = 16  # rows whose least value is taken first
_CANCELLED = 1e-4  # a square so small against its parts has lost digits in a matrix product, and is taken again
_UNIT_ROUNDOFF = 2.0**-24
_LARGEST = torch.finfo(torch.float32).max

with warnings.catch_warnings():  # torch says once that its sparse matrices are young; nobody has to hear it
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
    torch.zeros(1, 1).to_sparse_csr()


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
        step = _QUERIES * max(1, _ROWS // (4 * self.shape[0]))
        for h, band in enumerate(self._bands):
            for start in range(0, len(queries), step):
                part = slice(start, start + step)
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
        self._rows = torch.from_numpy(np.ascontiguousarray(rows))
        self._scale = self._scales(self._rows)
        placed = self._placed(self._rows, self._scale, silent=(0.0, 1.0))
        self._origin = placed.mean(dim=0)
        placed -= self._origin
        self._squares = torch.linalg.vector_norm(placed, dim=1).square_()
        self._reach = float(self._squares.max().sqrt())
        self._moved = torch.empty(len(placed), placed.shape[1] + 1)
        self._moved[:, :-1].copy_(placed).mul_(-2)
        self._moved[:, -1] = self._squares
        self._exact = placed if placed.nbytes <= _KEPT else None

    def nearest(self, queries: Float32, k: int, own: Int64 | None, groups: Int64 | None) -> tuple[Float64, Int64]:
        asking = torch.from_numpy(np.ascontiguousarray(queries))
        scale = self._scales(asking)
        moved = self._placed(asking, scale, silent=(1.0, 0.0)).sub_(self._origin)
        far = torch.linalg.vector_norm(moved, dim=1)
        error = (moved.shape[1] + 8) * _UNIT_ROUNDOFF * (self._reach**2 + 2 * far * self._reach)
        asked, found = self._candidates(moved, k, 2 * error.float(), own, groups)
        squares = self._squared(moved, far.square_(), scale, asked, found)
        order = np.lexsort((squares.numpy(), asked.numpy()))  # stable: the lower row stays first
        first = np.searchsorted(asked.numpy(), np.arange(len(queries)))
        best = order[first[:, None] + np.arange(k)]
        distances = squares.numpy()[best]
        return distances / 2 if self._cosine else np.sqrt(distances), found.numpy()[best]

    def distances(self, queries: Float32) -> Float64:
        asking = torch.from_numpy(np.ascontiguousarray(queries))
        scale = self._scales(asking)
        moved = self._placed(asking, scale, silent=(1.0, 0.0)).sub_(self._origin)
        sizes = torch.linalg.vector_norm(moved, dim=1).square_()
        parts = []
        for start in range(0, len(self._rows), _ROWS):
            part = slice(start, start + _ROWS)
            rows = self._around_origin(part)
            size = sizes[:, None] + self._squares[part]
            squares = torch.addmm(size, moved, rows.T, alpha=-2)
            asked, near = torch.nonzero(squares < _CANCELLED * size, as_tuple=True)
            squares[asked, near] = self._apart(moved, asked, near + start)
            parts.append(squares)
        whole = torch.cat(parts, dim=1)
        if self._cosine:
            whole[scale == 0] = 2.0
            whole[:, self._scale == 0] = 2.0
        return np.asarray((whole / 2 if self._cosine else whole.sqrt()).numpy())

    def _scales(self, x: Tensor) -> Tensor:
        """Return what brings each vector to its place: 1 / length for cosine, 0 for a silent one; otherwise 1."""
        if not self._cosine:
            return torch.ones(len(x), dtype=torch.float64)
        lengths = torch.linalg.vector_norm(x, dim=1, dtype=torch.float64)
        return torch.where(lengths > 0, 1 / lengths, 0.0)

    def _placed(self, x: Tensor, scale: Tensor, silent: tuple[float, float]) -> Tensor:
        """Return points in float64 whose squared distance is that of the metric, or twice it for cosine.

        Silent queries and silent rows get a coordinate of their own, at right angles to all others: 1 from everything.
        """
        size = x.shape[1]
        placed = torch.empty(len(x), size + 2 * self._cosine, dtype=torch.float64)
        placed[:, :size].copy_(x).mul_(scale[:, None])
        placed[:, size:] = (scale == 0)[:, None] * torch.tensor(silent[: 2 * self._cosine], dtype=torch.float64)
        return placed

    def _candidates(
        self, queries: Tensor, k: int, slack: Tensor, own: Int64 | None, groups: Int64 | None
    ) -> tuple[Tensor, Tensor]:
        """Return pairs (query, row) that hold the k nearest of each query: all up to the k-th least plus the slack.

        The k-th least of minima over sets of rows is at least the k-th least value, and far quicker to find. The pairs
        come sorted by query, then by row.
        """
        points = torch.ones(len(queries), queries.shape[1] + 1)
        points[:, :-1] = queries
        least = torch.empty(len(queries), 0)
        parts = []
        for start in range(0, len(self._rows), _ROWS):
            part = slice(start, start + _ROWS)
            tile = points @ self._moved[part].T
            if own is not None and groups is not None:
                tile.masked_fill_(torch.from_numpy(own)[:, None] == torch.from_numpy(groups[part]), torch.inf)
            minima = torch.cat([least, _minima(tile, k)], dim=1)
            least = minima.topk(min(k, minima.shape[1]), largest=False, sorted=True).values
            limit = (least[:, -1] + slack).clamp(max=_LARGEST)
            pairs = torch.from_numpy(np.flatnonzero((tile <= limit[:, None]).numpy()))  # far quicker than torch's
            asked = pairs.div(tile.shape[1], rounding_mode="floor")
            parts.append((asked, pairs - asked * tile.shape[1] + start, tile.view(-1)[pairs]))
        asked, found, values = (torch.cat(columns) for columns in zip(*parts, strict=True))
        if len(parts) > 1:  # earlier tiles had wider limits, and their pairs come first
            keep = values <= limit[asked]
            asked, order = asked[keep].sort(stable=True)
            found = found[keep][order]
        return asked, found

    def _squared(self, moved: Tensor, sizes: Tensor, scale: Tensor, asked: Tensor, found: Tensor) -> Tensor:
        """Return the squared distance of each pair in float64, between unit vectors for cosine; 0 for equal vectors.

        Args:
            moved: The queries, around the origin.
            sizes: The squares of their lengths.
            scale: What brought them to their place.
            asked: Query of each pair, ascending.
            found: Row of each pair.
        """
        rows, column = self._exact, found
        if rows is None:
            needed, column = torch.unique(found, return_inverse=True)
            rows = self._around_origin(needed)
        size = sizes[asked] + self._squares[found]
        squares: Tensor = size - 2 * _dots(moved, rows, asked, column)
        close = torch.nonzero(squares < _CANCELLED * size)[:, 0]
        squares[close] = self._apart(moved, asked[close], found[close])
        if self._cosine:
            squares[(scale[asked] == 0) | (self._scale[found] == 0)] = 2.0
        return squares

    def _apart(self, moved: Tensor, asked: Tensor, found: Tensor) -> Tensor:
        """Return the same by differences, which lose no digits: for pairs that lie close together."""
        result = torch.empty(len(asked), dtype=torch.float64)
        for start in range(0, len(asked), _PAIRS):
            part = slice(start, start + _PAIRS)
            step = self._around_origin(found[part]) - moved[asked[part]]
            torch.sum(step.square_(), dim=1, out=result[part])
        return result

    def _around_origin(self, rows: Tensor | slice) -> Tensor:
        if self._exact is not None:
            exact: Tensor = self._exact[rows]
            return exact
        placed: Tensor = self._placed(self._rows[rows], self._scale[rows], silent=(0.0, 1.0)).sub_(self._origin)
        return placed


def points(vectors: Float32, metric: str) -> Float64:
    """Return float64 vectors as a metric sees them, float[..., D]: of unit length for cosine, zero ones left alone."""
    exact = vectors.astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(exact, axis=-1, keepdims=True)
        np.divide(exact, lengths, out=exact, where=lengths > 0)
    return exact


def _minima(tile: Tensor, k: int) -> Tensor:
    """Return minima over disjoint sets of columns, at least 4 k sets where there are as many columns."""
    columns = tile.shape[1]
    sets = max(columns // _SET, min(columns, 4 * k))
    size = columns // sets
    folded = tile[:, : sets * size].reshape(len(tile), size, sets).amin(dim=1)
    return torch.cat([folded, tile[:, sets * size :]], dim=1)


def _dots(a: Tensor, b: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return a[row] . b[column] for pairs sorted by row: a matrix product where only those are computed."""
    starts = torch.zeros(len(a) + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(row, minlength=len(a)), dim=0, out=starts[1:])
    zeros, shape = torch.zeros(len(row), dtype=torch.float64), (len(a), len(b))
    wanted = torch.sparse_csr_tensor(starts, column, zeros, shape, check_invariants=False)
    dots: Tensor = torch.sparse.sampled_addmm(wanted, a, b.T, beta=0.0).values()
    return dots
