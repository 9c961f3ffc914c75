"""The rows of a bank as a graph: exact distances of one embedding, among candidates where the bank is large."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echobank.detection.rowwise import row_lengths
from echobank.edge.nodes import Graph

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

CANDIDATES = 512  # rows that are measured in float64; in a bank of no more rows, all
_PART = 4096


@dataclass
class BankRows:
    """The rows of a bank in a graph, prepared once for scores and nearest rows.

    Of a large bank a float32 product chooses `CANDIDATES` rows, around the middle of the bank, where float32 has the
    most to give; they are measured by differences in float64, in order of their numbers, so that of rows equally near
    the lower one comes first.

    Attributes:
        graph: Where the nodes go.
        vectors: float32[N, H, D].
        metric: "cosine" or "euclidean".
    """

    graph: Graph
    vectors: Float32
    metric: str
    _bands: dict[int, "_BandRows"] = field(default_factory=dict)

    @property
    def small(self) -> bool:
        """Whether every row is measured."""
        return len(self.vectors) <= CANDIDATES

    def distances(self, embedding: str, band: int, rows: str = "") -> str:
        """Return the distance of band h of an embedding float32[H, D] to all rows, or to some, float64[C].

        Args:
            embedding: Its name.
            band: h.
            rows: Name of the numbers of the rows, int64[C]; empty for all of a small bank.
        """
        graph, held = self.graph, self._band(band)
        point, silent = self._point(embedding, band)
        if rows:
            near = graph.cast(graph.add("Gather", graph.constant_of(held.rows), rows, axis=0), "float64")
            scale = graph.add("Gather", graph.constant_of(held.scale), rows, axis=0)
            near = graph.add("Mul", near, graph.add("Unsqueeze", scale, graph.constant([1], np.int64)))
            quiet = graph.add("Gather", graph.constant_of(held.quiet), rows, axis=0)
        else:
            near, quiet = graph.constant_of(held.placed), graph.constant_of(held.quiet)
        squares = graph.add("ReduceSumSquare", graph.add("Sub", near, point), axes=[1], keepdims=0)
        if self.metric != "cosine":
            return graph.add("Sqrt", squares)
        one, half = graph.constant(1.0, np.float64), graph.constant(0.5, np.float64)
        return graph.add("Where", graph.add("Or", silent, quiet), one, graph.add("Mul", squares, half))

    def rough(self, embedding: str, band: int) -> str:
        """Return squared distances to all rows, less what is the same for all, float32[N]."""
        graph, held = self.graph, self._band(band)
        point, silent = self._point(embedding, band)
        moved = graph.cast(graph.add("Sub", point, graph.constant(held.origin)), "float32")
        column = graph.shape(moved, (-1, 1))
        dots = graph.shape(graph.add("MatMul", graph.constant_of(held.rows), column), (-1,))
        scaled = graph.add("Mul", dots, graph.constant(-2 * held.scale, np.float32))
        rough = graph.add("Add", scaled, graph.constant(held.squares, np.float32))
        if self.metric != "cosine":
            return rough
        return graph.add("Where", silent, graph.constant(0.0, np.float32), rough)  # silence is equally far from all

    def about(self, embedding: str, band: int) -> str:
        """Return distances to all rows as float32 has them, float64[N]."""
        graph, held = self.graph, self._band(band)
        point, _ = self._point(embedding, band)
        moved = graph.add("Sub", point, graph.constant(held.origin))
        beside = graph.add("ReduceSumSquare", moved, axes=[0], keepdims=1)
        squares = graph.add("Add", graph.cast(self.rough(embedding, band), "float64"), beside)
        positive = graph.add("Max", squares, graph.constant(0.0, np.float64))
        if self.metric != "cosine":
            return graph.add("Sqrt", positive)
        return graph.add("Mul", positive, graph.constant(0.5, np.float64))

    def least(self, rough: str, count: int = CANDIDATES) -> str:
        """Return the rows of the least values float32[N], int64[count], ascending."""
        graph = self.graph
        some = graph.constant([count], np.int64)
        found = graph.add("TopK", rough, some, results=2, largest=0)
        return graph.add("TopK", f"{found}.1", some, results=2, largest=0)

    def nearest(self, embedding: str) -> str:
        """Return the row of least mean distance over bands, int64[1]."""
        graph, bands = self.graph, range(self.vectors.shape[1])
        rows = ""
        if not self.small:
            rows = self.least(self._summed([self.rough(embedding, band) for band in bands]))
        place = graph.add(
            "TopK",
            self._summed([self.distances(embedding, band, rows) for band in bands]),
            graph.constant([1], np.int64),
            results=2,
            largest=0,
        )
        return graph.add("Gather", rows, f"{place}.1", axis=0) if rows else f"{place}.1"

    def _summed(self, values: list[str]) -> str:
        return values[0] if len(values) == 1 else self.graph.add("Sum", *values)

    def _point(self, embedding: str, band: int) -> tuple[str, str]:
        """Return the query as the metric sees it, float64[D], and whether it is silence, bool[1]."""
        graph = self.graph
        query = graph.cast(graph.shape(graph.slice(embedding, band, band + 1), (-1,)), "float64")
        length = graph.add("Sqrt", graph.add("ReduceSumSquare", query, axes=[0], keepdims=1))
        silent = graph.add("LessOrEqual", length, graph.constant(0.0, np.float64))
        if self.metric != "cosine":
            return query, silent
        divisor = graph.add("Where", silent, graph.constant(1.0, np.float64), length)
        return graph.add("Div", query, divisor), silent

    def _band(self, band: int) -> "_BandRows":
        if band not in self._bands:
            self._bands[band] = _BandRows.of(self.vectors[:, band], self.metric, self.small)
        return self._bands[band]


@dataclass(frozen=True)
class _BandRows:
    """One band of a bank; `placed` stands for all rows in float64 and is empty for a large bank."""

    rows: Float32
    scale: Float64
    quiet: NDArray[np.bool_]
    placed: Float64
    origin: Float64
    squares: Float64

    @classmethod
    def of(cls, rows: Float32, metric: str, small: bool) -> "_BandRows":
        """Prepare rows float32[N, D], of a large bank some at a time."""
        lengths = row_lengths(rows[:, None])[:, 0]
        quiet = (lengths == 0) & (metric == "cosine")
        scale = np.ones(len(rows))
        if metric == "cosine":
            scale = np.divide(1.0, lengths, out=np.zeros(len(rows)), where=lengths > 0)
        if small:
            placed = rows.astype(np.float64) * scale[:, None]
            return cls(rows, scale, quiet, placed, placed.mean(axis=0), np.zeros(0))
        parts = [slice(start, start + _PART) for start in range(0, len(rows), _PART)]
        origin = sum((rows[part].T @ scale[part] for part in parts), np.zeros(rows.shape[1])) / len(rows)
        squares = np.empty(len(rows))
        for part in parts:
            moved = rows[part].astype(np.float64) * scale[part, None] - origin
            squares[part] = np.einsum("nd,nd->n", moved, moved)
        return cls(rows, scale, quiet, np.zeros((0, rows.shape[1])), origin, squares)
