"""One band of a bank, prepared for the search of `search`: float32 products choose candidates, float64 decides."""

import numpy as np
from numpy.typing import NDArray

from echobank.detection import tiles
from echobank.detection.rowwise import PREPARED, blocks, dots, lengths_of

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

ROWS = 4096
_KEPT = 64 << 20  # bytes of a bank that is also held in float64; of a larger one rows are taken as they are needed
_PAIRS = 512  # pairs measured at once in float64: 3 MB at D = 768, within the cache
_SET = 16  # rows whose least value is taken first
_CANCELLED = 1e-4  # a square so small against its parts has lost digits in a matrix product, and is taken again
_UNIT_ROUNDOFF = 2.0**-24
_LARGEST = np.finfo(np.float32).max
_SILENT_ROW, _SILENT_QUERY = (0.0, 1.0), (1.0, 0.0)  # coordinates of their own, see `Band._placed`


class Band:
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
        """Return distances and rows of the k nearest of each query, float64 and int64[Q, k], as `search.Index`."""
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
        """Return the distance of each query to every row, float64[Q, N]."""
        scale, moved, sizes = self._asked(queries)
        whole = np.empty((len(queries), len(self._rows)))
        for part in blocks(len(self._rows), ROWS):
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
        for part in blocks(len(self._rows), ROWS):
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
