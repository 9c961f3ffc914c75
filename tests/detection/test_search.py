"""Exact search: against distances taken one pair at a time, and what must not change them."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from echobank.detection import tiles
from echobank.detection.rowwise import row_lengths
from echobank.detection.search import Index, nearest
from echobank.errors import BankError, ConfigError

RNG = np.random.default_rng


def pair(a, b, metric):
    a, b = a.astype(np.float64), b.astype(np.float64)
    if metric == "euclidean":
        return np.sqrt(((a - b) ** 2).sum())
    if not a.any() or not b.any():
        return 1.0
    return (((a / np.sqrt((a * a).sum())) - (b / np.sqrt((b * b).sum()))) ** 2).sum() / 2


def slow(queries, bank, k, metric, query_groups=None, bank_groups=None):
    distances, rows = np.empty((len(queries), bank.shape[1], k)), np.empty((len(queries), bank.shape[1], k), int)
    for q in range(len(queries)):
        for h in range(bank.shape[1]):
            usable = [n for n in range(len(bank)) if query_groups is None or query_groups[q] != bank_groups[n]]
            found = sorted((pair(queries[q, h], bank[n, h], metric), n) for n in usable)[:k]
            distances[q, h], rows[q, h] = zip(*found, strict=True)
    return distances, rows


def awkward(n, seed, dimension=5, bands=2, offset=0.0):
    """Vectors with duplicates, scaled copies, silence, and rows that nearly agree far from the origin."""
    x = RNG(seed).standard_normal((n, bands, dimension)) + offset
    if n > 8:
        x[3], x[7], x[5] = x[1], x[1], 0
        x[8] = x[2] * (1 + 1e-6)
    return x.astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "k", "offset"), [(1, 1, 0), (2, 2, 0), (3, 1, 0), (40, 3, 0), (40, 40, 0), (60, 4, 1e3)])
def test_it_is_the_slow_search(metric, n, k, offset):
    bank, queries = awkward(n, 0, offset=offset), awkward(25, 1, offset=offset)
    queries[: min(n, 10)] = bank[: min(n, 10)]
    distances, rows = nearest(queries, bank, k, metric)
    expected, places = slow(queries, bank, k, metric)
    np.testing.assert_allclose(distances, expected, rtol=1e-9, atol=1e-12)
    assert (rows == places).mean() > 0.99  # exact ties of rounded sums may fall either way
    assert np.array_equal(np.sort(distances, axis=2), distances)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_group_is_no_neighbour_of_its_own(metric):
    bank, groups = awkward(50, 2), RNG(0).integers(0, 17, 50)
    distances, rows = nearest(bank, bank, 3, metric, groups, groups)
    expected, _ = slow(bank, bank, 3, metric, groups, groups)
    np.testing.assert_allclose(distances, expected, rtol=1e-9, atol=1e-12)
    assert (groups[rows] != groups[:, None, None]).all()


def test_equal_rows_come_in_order_and_many_of_them_too():
    bank = np.ones((600, 1, 8), np.float32)
    bank[::2] *= -1
    distances, rows = nearest(bank[1:2], bank, 20, "euclidean")
    assert rows.ravel().tolist() == list(range(1, 41, 2)) and not distances.any()


@pytest.mark.parametrize("dimension", [16, 768])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_blocks_and_batches_change_nothing(metric, dimension, monkeypatch):
    bank, queries = awkward(300, 3, dimension, 1), awkward(70, 4, dimension, 1)
    queries[60:] = bank[40:50]
    whole = nearest(queries, bank, 5, metric)
    one = [nearest(queries[i : i + 1], bank, 5, metric) for i in range(len(queries))]
    for module in ("search", "band"):
        monkeypatch.setattr(f"echobank.detection.{module}.ROWS", 37)
    monkeypatch.setattr("echobank.detection.search._QUERIES", 11)
    monkeypatch.setattr("echobank.detection.band._KEPT", 0)
    small = nearest(queries, bank, 5, metric)
    for part in (0, 1):
        assert np.array_equal(np.concatenate([x[part] for x in one]), whole[part])
        assert np.array_equal(small[part], whole[part])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_number_of_threads_changes_nothing(metric, monkeypatch):
    monkeypatch.setattr("echobank.detection.tiles._THREADED", 0)
    bank, queries = awkward(3000, 12, 150, 2, 1), awkward(400, 13, 150, 2, 1)
    index = Index(bank, metric)
    with threadpool_limits(1, user_api="blas"):
        alone = (*index.nearest(queries, 3), *index.closest(queries[:40]))
    with threadpool_limits(4, user_api="blas"):
        together = (*index.nearest(queries, 3), *index.closest(queries[:40]))
    for one, several in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, several, rtol=0, atol=0)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("bands", [1, 3])
def test_the_closest_row_is_that_of_the_least_mean_over_bands(metric, bands):
    bank, queries = awkward(50, 14, 6, bands), awkward(20, 15, 6, bands)
    queries[:10] = bank[:10]
    distances, rows = Index(bank, metric).closest(queries)
    expected = np.array([[[pair(q[h], b[h], metric) for h in range(bands)] for b in bank] for q in queries]).mean(
        axis=2
    )
    np.testing.assert_allclose(distances, expected.min(axis=1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(expected[np.arange(20), rows], expected.min(axis=1), rtol=1e-9, atol=1e-12)
    assert rows[3] == rows[7] == 1  # of equal rows the first


def test_lengths_that_are_known_change_nothing():
    bank, queries = awkward(60, 16, 7, 2, 1), awkward(9, 17, 7, 2, 1)
    known, found = Index(bank, lengths=row_lengths(bank)).nearest(queries, 4), nearest(queries, bank, 4)
    assert all(np.array_equal(a, b) for a, b in zip(known, found, strict=True))
    np.testing.assert_allclose(row_lengths(bank), np.linalg.norm(bank.astype(float), axis=2), rtol=1e-15)


@pytest.mark.parametrize(
    ("rows", "columns", "size"), [(1, 1, 3), (1, 900, 300), (70, 1, 5), (33, 65, 257), (3, 7, 200_000)]
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_product_in_pieces_is_the_product(rows, columns, size, kind):
    a, b = RNG(1).standard_normal((rows, size)).astype(kind), RNG(2).standard_normal((columns, size)).astype(kind)
    whole = tiles.product(a, b)
    assert whole.dtype == kind and whole.shape == (rows, columns)
    bound = size * np.finfo(kind).eps * np.abs(a).astype(float) @ np.abs(b).astype(float).T
    assert (np.abs(whole - a.astype(float) @ b.astype(float).T) <= bound).all()


def test_order_scale_and_rotation():
    bank, queries = awkward(80, 5, 6, 1), awkward(20, 6, 6, 1)
    distances, rows = nearest(queries, bank, 4)
    order = RNG(1).permutation(80)
    shuffled, places = nearest(queries, bank[order], 4)
    np.testing.assert_allclose(shuffled, distances, rtol=1e-12, atol=1e-15)
    scaled, _ = nearest(queries * np.float32(4), bank * np.float32(0.25), 4)
    assert np.array_equal(scaled, distances)
    turn = np.linalg.qr(RNG(2).standard_normal((6, 6)))[0]
    turned, _ = nearest((queries @ turn).astype(np.float32), (bank @ turn).astype(np.float32), 4)
    np.testing.assert_allclose(turned, distances, atol=1e-6)
    assert (np.sort(order[places]) == np.sort(rows)).mean() >= 0.9  # duplicates change places


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("offset", [0, 100])
def test_all_distances_agree_with_the_search(metric, offset):
    bank, queries = awkward(40, 7, offset=offset), awkward(12, 8, offset=offset)
    queries[:9] = bank[:9]
    every = Index(bank, metric).distances(queries)
    found, _ = nearest(queries, bank, 40, metric)
    np.testing.assert_allclose(np.sort(every, axis=2), found, rtol=1e-8, atol=1e-13)
    assert every[1, 0, 1] == 0 == every[1, 1, 7]


def test_vectors_too_short_or_too_long_for_float32_are_placed_in_float64():
    bank, queries = awkward(30, 10, 6, 1), awkward(10, 11, 6, 1)
    tiny, huge = np.float32(2.0**-140), np.float32(2.0**120)
    distances, rows = nearest(queries * huge, bank * huge, 3)
    expected, places = nearest(queries, bank, 3)
    assert np.array_equal(distances, expected) and np.array_equal(rows, places)
    small, _ = nearest(queries * tiny, bank, 3)
    np.testing.assert_allclose(small, slow(queries * tiny, bank, 3, "cosine")[0], rtol=1e-9, atol=1e-12)


def test_too_large_a_k_and_an_unknown_metric_are_refused():
    bank = awkward(6, 9)
    with pytest.raises(BankError, match=r"k = 7 .* it has 6 rows"):
        nearest(bank, bank, 7)
    groups = np.array([0, 0, 0, 0, 1, 1])
    with pytest.raises(BankError, match=r"k = 3 .* 2 of them outside"):
        nearest(bank, bank, 3, "cosine", groups, groups)
    with pytest.raises(ConfigError, match="manhattan"):
        Index(bank, "manhattan")
