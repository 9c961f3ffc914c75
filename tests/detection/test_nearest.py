"""The nearest row is that of the bank's own metric, for every back-end."""

import numpy as np
import pytest

from echobank.detection.backends import BACKENDS, make_backend
from echobank.detection.bank import Bank, Row
from tests.detection.banks import distance, make, make_bank
from tests.headers import joined_header

QUERIES = np.random.default_rng(5).standard_normal((7, 2, 6)).astype(np.float32) + 1


def slow(queries, bank, metric, apart=None):
    """Return mean distances over bands, pair by pair, float64[Q, N]."""
    rows = [[np.mean([distance(q[h], v[h], metric) for h in range(len(q))]) for v in bank.vectors] for q in queries]
    return np.where(apart, rows, np.inf) if apart is not None else np.array(rows)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", BACKENDS)
def test_nearest_ranked_and_others_are_those_of_pairs(name, metric):
    bank = make_bank(24, group=2)
    backend = make(name, metric=metric).fit(bank)
    expected = slow(QUERIES, bank, metric)
    near = backend.nearest(QUERIES)
    assert np.array_equal(near, expected.argmin(axis=1))
    ranked = backend.ranked(QUERIES[0])
    assert sorted(ranked) == list(range(24)) and np.all(np.diff(expected[0][ranked]) >= -1e-9)
    apart = bank.groups[:, None] != bank.groups
    distances, rows = backend.others()
    pairs = slow(bank.vectors, bank, metric, apart)
    np.testing.assert_allclose(distances, pairs.min(axis=1), atol=1e-9)
    np.testing.assert_allclose(pairs[np.arange(24), rows], pairs.min(axis=1), atol=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_of_one_band_the_search_for_scores_finds_the_others(metric):
    bank = make_bank(24, group=2, bands=1)
    backend = make("knn", k=3, metric=metric).fit(bank)
    backend.self_scores()
    fresh = make("knn", k=3, metric=metric).fit(bank)
    for found, expected in zip(backend.others(), fresh.others(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_fusion_shows_the_row_of_its_first_member_that_has_rows():
    rng = np.random.default_rng(0)
    parts = {"a": (1, 3), "b": (1, 4)}
    vectors = rng.standard_normal((20, 1, 7)).astype(np.float32)
    rows = [Row(f"{i}", "m", group=f"{i}") for i in range(20)]
    bank = Bank(vectors, rows, joined_header(parts, bands=False))
    params = {"members": "mahalanobis@a+knn@b"}
    fused = make_backend("min_fusion", k=1, metric="euclidean", params=params).fit(bank)
    asked = rng.standard_normal((5, 1, 7)).astype(np.float32)
    expected = np.linalg.norm(asked[:, None, 0, 3:] - vectors[None, :, 0, 3:], axis=2).argmin(axis=1)
    assert np.array_equal(fused.nearest(asked), expected) and fused.has_rows
    assert fused.ranked(asked[0])[0] == expected[0]
    models = make_backend("min_fusion", k=1, metric="euclidean", params={"members": "mahalanobis@a+pca@b"}).fit(bank)
    first = np.linalg.norm(asked[:, None, 0, :3] - vectors[None, :, 0, :3], axis=2).argmin(axis=1)
    assert np.array_equal(models.nearest(asked), first) and not models.has_rows
