"""Nearest rows in a graph: exact, ties to the lower row, silence at distance 1, small banks and large ones."""

import numpy as np
import pytest

from echobank.detection.search import Index
from echobank.edge import neighbours
from echobank.edge.neighbours import BankRows
from echobank.edge.nodes import Graph


def searched(vectors, metric, queries, k, folder):
    """Return mean distance to the k nearest and the nearest row of each query."""
    import onnxruntime

    graph = Graph()
    graph.inputs.append(("query", "float32", list(vectors.shape[1:])))
    rows = BankRows(graph, vectors, metric)
    sums = []
    for band in range(vectors.shape[1]):
        near = "" if rows.small else rows.least(rows.rough("query", band))
        found = graph.add(
            "TopK", rows.distances("query", band, near), graph.constant([k], np.int64), results=2, largest=0
        )
        sums.append(graph.mean(found, 0, keep=True))
    graph.result("distance", graph.add("Sum", *sums))
    graph.result("nearest", rows.nearest("query"))
    graph.outputs += [("distance", "float64", [1]), ("nearest", "int64", [1])]
    graph.save(folder / "rows.onnx", {}, "rows")
    session = onnxruntime.InferenceSession(folder / "rows.onnx")
    found = [session.run(None, {"query": query}) for query in queries]
    return np.array([one[0] for one, _ in found]) / vectors.shape[1], np.array([near[0] for _, near in found])


@pytest.mark.parametrize("metric", ("cosine", "euclidean"))
@pytest.mark.parametrize("bands", (1, 3))
@pytest.mark.parametrize("candidates", (512, 40))
def test_as_the_search_of_the_bank(metric, bands, candidates, tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "CANDIDATES", candidates)
    monkeypatch.setattr(BankRows.least, "__defaults__", (candidates,))
    rng = np.random.default_rng(1)
    vectors = (5 + rng.normal(size=(300, bands, 24))).astype(np.float32)
    vectors[[7, 90, 200]] = vectors[3]  # ties
    vectors[50] = 0  # silence
    queries = np.concatenate([vectors[[200, 90, 50, 11]], 5 + rng.normal(size=(20, bands, 24))]).astype(np.float32)
    index = Index(vectors, metric)
    distances, rows = searched(vectors, metric, queries, 3, tmp_path)
    np.testing.assert_allclose(distances, index.nearest(queries, 3)[0].mean(axis=(1, 2)), rtol=1e-9, atol=1e-12)
    assert np.array_equal(rows, index.closest(queries)[1])
    assert rows[:2].tolist() == [3, 3]
