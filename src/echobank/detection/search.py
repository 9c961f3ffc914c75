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

from echobank.detection import tiles
from echobank.detection.rowwise import PREPARED, blocks, dots, lengths_of
from echobank.errors import BankError, ConfigError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

METRICS = ("cosine", "euclidean")

_ROWS = 4096
_QUERIES = 256  # a tile of 256 x 4096 float32 is 4 MB; of fewer rows, more queries at a time
_KEPT = 64 << 20  # bytes of a bank that is also held in float64; of a larger one rows are taken as they are needed
_PAIRS = 512  # pairs measured at once in float64: 3 MB at D = 768, within the cache
_SET = 16  # rows whose least value is taken first
_CANCELLED = 1e-4  # a square so small against its parts has lost digits in a matrix product, and is taken again
_UNIT_ROUNDOFF = 2.0**-24
_LARGEST = np.finfo(np.float32).max
_MEASURED = 1 << 21  # distances to every row that are held at once: 16 MB
_SILENT_ROW, _SILENT_QUERY = (0.0, 1.0), (1.0, 0.0)  # coordinates of their own, see `_Band._placed`


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
    def _bands(self) -> list["_Band"]:
        """The rows of each band, prepared when first searched: a copy of the bank, which exports never need."""
        bank, lengths = self._of
        each = [None if lengths is None else lengths[:, band] for band in range(bank.shape[1])]
        return [_Band(bank[:, band], self.metric, own) for band, own in enumerate(each)]

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


class _Band:
    """One band of a bank: its rows, and around their mean a float32 copy times -2, with the squares of lengths."""

    def __init__(self, rows: Float32, metric: str, lengths: Float64 | None) -> None:
        self._cosine = metric == "cosine"
        self._rows = rows
        self._scale = self._scales(rows, lengths)
        size = rows.shape[1] + 2 * self._cosine
        self._origin = np.zeros(size)
        for part in blocks(len(rows), PREPARED):
            self._origin += self._placed(rows[part], self._scale[part], _SILENT_ROW).sum(axis=0)
        self._origin /= len(rows)
        self._squares = np.empty(len(rows))
        self._moved = np.empty((len(rows), size + 1), dtype=np.float32)
        exact = np.empty((len(rows), size)) if 8 * len(rows) * size <= _KEPT else None
        for part in blocks(len(rows), PREPARED):
            placed = self._placed(rows[part], self._scale[part], _SILENT_ROW)
            placed -= self._origin
            self._squares[part] = dots(placed, placed)
            self._moved[part, :-1] = placed
            if exact is not None:
                exact[part] = placed
        self._moved[:, :-1] *= -2
        self._moved[:, -1] = self._squares
        self._reach = float(np.sqrt(self._squares.max()))
        self._exact = exact

    def nearest(self, queries: Float32, k: int, own: Int64 | None, groups: Int64 | None) -> tuple[Float64, Int64]:
        scale, moved, sizes = self._asked(queries)
        error = (moved.shape[1] + 8) * _UNIT_ROUNDOFF * (self._reach**2 + 2 * np.sqrt(sizes) * self._reach)
        asked, found = self._candidates(moved, k, (2 * error).astype(np.float32), own, groups)
        squares = self._squared(moved, sizes, scale, asked, found)
        order = np.lexsort((found, squares, asked))
        first = np.searchsorted(asked[order], np.arange(len(queries)))
        best = order[first[:, None] + np.arange(k)]
        distances = squares[best]
        return distances / 2 if self._cosine else np.sqrt(distances), found[best]

    def distances(self, queries: Float32) -> Float64:
        scale, moved, sizes = self._asked(queries)
        whole = np.empty((len(queries), len(self._rows)))
        for part in blocks(len(self._rows), _ROWS):
            size = sizes[:, None] + self._squares[part]
            squares = size - 2 * tiles.product(moved, self._around_origin(part))
            asked, near = np.nonzero(squares < _CANCELLED * size)
            squares[asked, near] = self._apart(moved, asked, near + part.start)
            whole[:, part] = squares
        if self._cosine:
            whole[scale == 0] = 2.0
            whole[:, self._scale == 0] = 2.0
        return whole / 2 if self._cosine else np.sqrt(whole)

    def _asked(self, queries: Float32) -> tuple[Float64, Float64, Float64]:
        """Return the scale of each query, the queries around the origin, and the squares of their lengths there."""
        scale = self._scales(queries, None)
        moved = self._placed(queries, scale, _SILENT_QUERY)
        moved -= self._origin
        return scale, moved, dots(moved, moved)

    def _scales(self, x: Float32, lengths: Float64 | None) -> Float64:
        """Return what brings each vector to its place: 1 / length for cosine, 0 for a silent one; otherwise 1."""
        if not self._cosine:
            return np.ones(len(x))
        known = lengths_of(x) if lengths is None else lengths
        return np.divide(1.0, known, out=np.zeros(len(x)), where=known > 0)

    def _placed(self, x: Float32, scale: Float64, silent: tuple[float, float]) -> Float64:
        """Return points in float64 whose squared distance is that of the metric, or twice it for cosine.

        Silent queries and silent rows get a coordinate of their own, at right angles to all others: 1 from everything.
        """
        size = x.shape[1]
        placed = np.empty((len(x), size + 2 * self._cosine))
        np.multiply(x, scale[:, None], out=placed[:, :size])
        placed[:, size:] = (scale == 0)[:, None] * np.array(silent[: 2 * self._cosine])
        return placed

    def _candidates(
        self, queries: Float64, k: int, slack: Float32, own: Int64 | None, groups: Int64 | None
    ) -> tuple[Int64, Int64]:
        """Return pairs (query, row) that hold the k nearest of each query: all up to the k-th least plus the slack.

        The k-th least of minima over sets of rows is at least the k-th least value, and far quicker to find; a set
        whose minimum is above the limit holds no candidate.
        """
        points = np.ones((len(queries), queries.shape[1] + 1), dtype=np.float32)
        points[:, :-1] = queries
        nearest = np.empty((len(queries), 0), dtype=np.float32)
        limit = np.empty(0, dtype=np.float32)
        parts = []
        for part in blocks(len(self._rows), _ROWS):
            tile = tiles.product(points, self._moved[part])
            if own is not None and groups is not None:
                tiles.leave_out(tile, own, groups[part])
            sets = max(tile.shape[1] // _SET, min(tile.shape[1], 4 * k))
            minima = tiles.minima(tile, sets)
            nearest = tiles.least(np.concatenate([nearest, minima], axis=1), k)
            limit = np.minimum(nearest.max(axis=1) + slack, _LARGEST)
            asked, found = tiles.within(tile, minima, sets, limit)
            parts.append((asked, found + part.start, tile[asked, found]))
        asked, found, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        keep = values <= limit[asked]  # earlier tiles had wider limits
        return asked[keep], found[keep]

    def _squared(self, moved: Float64, sizes: Float64, scale: Float64, asked: Int64, found: Int64) -> Float64:
        """Return the squared distance of each pair in float64, between unit vectors for cosine; 0 for equal vectors.

        Args:
            moved: The queries, around the origin.
            sizes: The squares of their lengths.
            scale: What brought them to their place.
            asked: Query of each pair.
            found: Row of each pair.
        """
        products = np.empty(len(asked))
        for part in blocks(len(asked), _PAIRS):
            products[part] = dots(moved[asked[part]], self._around_origin(found[part]))
        size = sizes[asked] + self._squares[found]
        squares = size - 2 * products
        close = np.flatnonzero(squares < _CANCELLED * size)
        squares[close] = self._apart(moved, asked[close], found[close])
        if self._cosine:
            squares[(scale[asked] == 0) | (self._scale[found] == 0)] = 2.0
        return squares

    def _apart(self, moved: Float64, asked: Int64, found: Int64) -> Float64:
        """Return the same by differences, which lose no digits: for pairs that lie close together."""
        result = np.empty(len(asked))
        for part in blocks(len(asked), _PAIRS):
            step = self._around_origin(found[part]) - moved[asked[part]]
            result[part] = dots(step, step)
        return result

    def _around_origin(self, rows: Int64 | slice) -> Float64:
        if self._exact is not None:
            return self._exact[rows]
        placed = self._placed(self._rows[rows], self._scale[rows], _SILENT_ROW)
        placed -= self._origin
        return placed


def points(vectors: Float32, metric: str) -> Float64:
    """Return float64 vectors as a metric sees them, float[..., D]: of unit length for cosine, zero ones left alone."""
    exact = vectors.astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(exact, axis=-1, keepdims=True)
        np.divide(exact, lengths, out=exact, where=lengths > 0)
    return exact
