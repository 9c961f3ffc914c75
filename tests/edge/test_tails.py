"""Back-ends as graphs score as the back-ends do, also where the bank has more rows than are measured exactly."""

import numpy as np
import onnxruntime
import pytest

from echobank.detection.backends import make_backend
from echobank.detection.bank import Row, build_bank
from echobank.edge.neighbours import CANDIDATES
from echobank.edge.nodes import Graph
from echobank.edge.parity import distances_of
from echobank.edge.tails import Tails


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(0)
    centres = 3 + rng.normal(size=(40, 3, 24))
    vectors = (centres[rng.integers(40, size=900)] + 0.3 * rng.normal(size=(900, 3, 24))).astype(np.float32)
    vectors[[100, 400]] = vectors[5]
    return build_bank(vectors, [Row(f"{i:03d}.wav", "pump", group=f"{i // 2}") for i in range(len(vectors))])


@pytest.mark.parametrize("metric", ("cosine", "euclidean"))
@pytest.mark.parametrize(
    ("name", "k", "params"),
    [
        ("knn", 3, {}),
        ("ldn", 1, {"K": 16}),
        ("ldn", 2, {"K": 16, "form": "log"}),
        ("ldn", 1, {"form": "difference"}),
        ("mahalanobis", 1, {}),
        ("mean_fusion", 1, {"members": "ldn:K=16+knn", "z": "robust"}),
    ],
)
def test_a_bank_of_many_rows(bank, name, k, params, metric, tmp_path):
    assert len(bank) > CANDIDATES
    backend = make_backend(name, k=k, metric=metric, params=params).fit(bank)
    graph = Graph()
    graph.inputs.append(("query", "float32", list(bank.vectors.shape[1:])))
    tails = Tails(graph)
    graph.result("score", tails.score(backend, "query"))
    graph.result("nearest", tails.nearest(backend, "query"))
    graph.outputs += [("score", "float64", [1]), ("nearest", "int64", [1])]
    graph.save(tmp_path / "tail.onnx", {}, "a tail")
    session = onnxruntime.InferenceSession(tmp_path / "tail.onnx")
    rng = np.random.default_rng(1)
    queries = np.concatenate([bank.vectors[[400, 7]], bank.vectors[:20] + rng.normal(0, 0.2, (20, 3, 24))])
    queries = np.concatenate([queries, np.zeros((1, 3, 24))]).astype(np.float32)
    found = [session.run(None, {"query": query}) for query in queries]
    np.testing.assert_allclose([one[0][0] for one in found], backend.score(queries), rtol=1e-9, atol=1e-12)
    assert [one[1][0] for one in found] == backend.nearest(queries).tolist()
    near = np.array([distances_of(backend, query).argmin() for query in queries[:-1]])
    assert np.array_equal(near, backend.nearest(queries)[:-1])
