"""Back-ends as graphs: an embedding to its score and to the nearest healthy row, as fitted on the bank."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from echobank.detection.backends.base import Backend
from echobank.detection.backends.fusion import Fusion, MaxFusion, MinFusion
from echobank.detection.backends.knn import Knn
from echobank.detection.backends.ldn import Ldn
from echobank.detection.backends.mahalanobis import Mahalanobis, Spread
from echobank.detection.backends.neighbourhoods import FLOOR
from echobank.detection.backends.part import Part
from echobank.detection.backends.pca import Pca
from echobank.edge.neighbours import BankRows
from echobank.edge.nodes import Graph
from echobank.errors import ConfigError

GOES = "knn, ldn, mahalanobis, pca, min_fusion, mean_fusion and max_fusion of them, each also on a part (@encoder)"


@dataclass
class Tails:
    """What writes back-ends into a graph; rows of one bank are written once for each metric."""

    graph: Graph
    _known: dict[tuple[int, str], BankRows] = field(default_factory=dict)

    def score(self, backend: Backend, embedding: str) -> str:
        """Return the score, float64[1], of an embedding float32[H, D].

        Raises:
            ConfigError: The back-end has no graph.
        """
        if isinstance(backend, Part):
            return self.score(backend.fitted_, self._part(backend, embedding))
        if isinstance(backend, Fusion):
            return self._fused(backend, embedding)
        if isinstance(backend, Knn):
            return self._knn(backend, embedding)
        if isinstance(backend, Ldn):
            return self._ldn(backend, embedding)
        if isinstance(backend, Mahalanobis):
            return self._mahalanobis(backend, embedding)
        if isinstance(backend, Pca):
            return self._pca(backend, embedding)
        name = type(backend).__name__.lower()
        raise ConfigError("this back-end has no graph", value=name, hint=f"these can be exported: {GOES}")

    def nearest(self, backend: Backend, embedding: str) -> str:
        """Return the nearest row, int64[1], as the back-end's `nearest` does."""
        if isinstance(backend, Part):
            return self.nearest(backend.fitted_, self._part(backend, embedding))
        if isinstance(backend, Fusion):
            return self.nearest(backend.witness, embedding)
        return self._rows(backend).nearest(embedding)

    def _rows(self, backend: Any) -> BankRows:
        key = id(backend.bank_.vectors), backend.metric
        return self._known.setdefault(key, BankRows(self.graph, backend.bank_.vectors, backend.metric))

    def _part(self, part: Part, embedding: str) -> str:
        start, end = part.start_, part.start_ + part.bands_ * part.dimension_
        return self.graph.shape(self.graph.slice(embedding, start, end, axis=1), (part.bands_, part.dimension_))

    def _knn(self, backend: Knn, embedding: str) -> str:
        rows = self._rows(backend)
        means = []
        for band in range(rows.vectors.shape[1]):
            near = "" if rows.small else rows.least(rows.rough(embedding, band))
            means.append(self._least(rows.distances(embedding, band, near), backend.k))
        return self._mean(means)

    def _ldn(self, backend: Ldn, embedding: str) -> str:
        graph, rows = self.graph, self._rows(backend)
        means = []
        for band in range(rows.vectors.shape[1]):
            density = graph.constant(backend.learned_[0][:, band])
            near = "" if rows.small else rows.least(self._normalised(backend, rows.about(embedding, band), density))
            taken = graph.add("Gather", density, near, axis=0) if near else density
            values = self._normalised(backend, rows.distances(embedding, band, near), taken)
            means.append(self._least(values, backend.k))
        return self._mean(means)

    def _normalised(self, backend: Ldn, distances: str, density: str) -> str:
        """Return distances float64[C] by the density around each row, as `Ldn.combine` takes them."""
        graph, floor = self.graph, self.graph.constant(FLOOR, np.float64)
        if backend.form == "difference":
            return graph.add("Sub", distances, density)
        floored = graph.add("Max", density, floor)
        if backend.form == "ratio":
            return graph.add("Div", distances, floored)
        return graph.add("Sub", graph.add("Log", graph.add("Max", distances, floor)), graph.add("Log", floored))

    def _mahalanobis(self, backend: Mahalanobis, embedding: str) -> str:
        graph, placed = self.graph, self._placed(backend.metric, embedding)
        if backend.level == "remove":
            placed = graph.add("Sub", placed, graph.mean(placed, 1, keep=True))
        bands = []
        for band in range(backend.points_.shape[1]):
            each = []
            for number, part in enumerate(backend.parts_):
                known = backend.models_[backend.source_ if backend.shares_covariance else number][band].spread()
                mean = backend.points_[part, band].mean(axis=0) if backend.shares_covariance else known.mean
                moved = graph.add("Sub", graph.slice(placed, band, band + 1), graph.constant(mean))
                each.append(self._gaussian(moved, known))
            bands.append(each[0] if len(each) == 1 else graph.add("Min", *each))
        return self._mean(bands)

    def _pca(self, backend: Pca, embedding: str) -> str:
        graph, placed = self.graph, self._placed(backend.metric, embedding)
        bands = []
        for band, axes in enumerate(backend.axes_):
            moved = graph.add("Sub", graph.slice(placed, band, band + 1), graph.constant(backend.means_[band]))
            along = graph.add("MatMul", moved, graph.constant(np.ascontiguousarray(axes.T)))
            rest = graph.add("Sub", moved, graph.add("MatMul", along, graph.constant(axes)))
            bands.append(graph.add("Sqrt", graph.add("ReduceSumSquare", rest, axes=[1], keepdims=0)))
        return self._mean(bands)

    def _placed(self, metric: str, embedding: str) -> str:
        """Return what `search.points` makes of an embedding, float64[H, D]."""
        graph = self.graph
        exact = graph.cast(embedding, "float64")
        if metric != "cosine":
            return exact
        lengths = graph.add("Sqrt", graph.add("ReduceSumSquare", exact, axes=[1], keepdims=1))
        silent = graph.add("LessOrEqual", lengths, graph.constant(0.0, np.float64))
        return graph.add("Div", exact, graph.add("Where", silent, graph.constant(1.0, np.float64), lengths))

    def _gaussian(self, moved: str, known: Spread) -> str:
        """Return the length of a vector float64[1, D] in deviations, float64[1]."""
        graph = self.graph
        z = graph.add("MatMul", moved, graph.constant(np.ascontiguousarray(known.axes.T)))
        inside = graph.add("ReduceSumSquare", z, axes=[1], keepdims=0)
        whole = graph.add("ReduceSumSquare", moved, axes=[1], keepdims=0)
        zero = graph.constant(0.0, np.float64)
        beside = graph.add("Max", graph.add("Sub", whole, inside), zero)
        weighted = graph.total(graph.add("Mul", graph.add("Mul", z, z), graph.constant(1 / known.variances)), 1)
        squares = graph.add("Add", weighted, graph.add("Div", beside, graph.constant(known.ridge, np.float64)))
        return graph.add("Sqrt", graph.add("Max", squares, zero))

    def _fused(self, backend: Fusion, embedding: str) -> str:
        graph, (centre, spread) = self.graph, backend.normalisation()
        scores = []
        for number, member in enumerate(backend.members_):
            moved = graph.add("Sub", self.score(member, embedding), graph.constant(centre[number]))
            scores.append(graph.add("Div", moved, graph.constant(spread[number])))
        kind = "Min" if isinstance(backend, MinFusion) else "Max" if isinstance(backend, MaxFusion) else "Mean"
        return self._mean(scores) if kind == "Mean" else graph.add(kind, *scores)

    def _least(self, values: str, k: int) -> str:
        """Return the mean of the k least, float64[1]."""
        found = self.graph.add("TopK", values, self.graph.constant([k], np.int64), results=2, largest=0)
        return self.graph.mean(found, 0, keep=True)

    def _mean(self, values: list[str]) -> str:
        if len(values) == 1:
            return values[0]
        count = self.graph.constant(float(len(values)), np.float64)
        return self.graph.add("Div", self.graph.add("Sum", *values), count)
