"""What holds for every back-end: exact leave-one-out, and what must not change a score."""

import dataclasses

import numpy as np
import pytest

from echobank.detection.backends import BACKENDS
from echobank.errors import BankError
from tests.detection.banks import make, make_bank

VARIANTS = [
    *((name, {}) for name in BACKENDS),
    ("ldn", {"K": 3}),
    ("ldn", {"form": "difference"}),
    ("ldn", {"form": "log", "K": 2}),
    ("varmin", {"form": "log", "K": 1}),
    ("domain_ld", {"K_source": 3, "K_target": 2}),
    ("mahalanobis", {"selective": False}),
    ("pca", {"variance": 0.5}),
    ("coreset", {"rows": 3}),
    ("mahalanobis", {"covariance": "source"}),
    ("mahalanobis", {"covariance": "source", "level": "remove"}),
    ("min_fusion", {"members": "ldn:K=2+mahalanobis:metric=euclidean"}),
    ("mean_fusion", {"members": "ldn:K=2+knn:metric=euclidean", "z": "plain"}),
]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("n", "one_domain", "group"),
    [(2, True, 1), (3, True, 1), (3, False, 1), (18, False, 1), (18, True, 2), (18, False, 3)],
)
@pytest.mark.parametrize(("name", "params"), VARIANTS)
def test_a_row_scores_itself_as_a_bank_without_its_group_would(name, params, n, one_domain, group, metric):
    bank = make_bank(n, one_domain=one_domain, group=group)
    rests = [bank.select(bank.groups != group) for group in bank.groups]
    try:
        expected = [
            make(name, metric=metric, **params).fit(rest).score(x[None])
            for rest, x in zip(rests, bank.vectors, strict=True)
        ]
    except BankError:
        with pytest.raises(BankError):  # what cannot be done without a row cannot be done by a shorter way
            make(name, metric=metric, **params).fit(bank).self_scores()
        assert n <= 3 or (name == "enlarged" and one_domain)
        return
    own = make(name, metric=metric, **params).fit(bank).self_scores()
    np.testing.assert_allclose(own, np.concatenate(expected), rtol=1e-5, atol=1e-9)


FUSIONS = ("min_fusion", "mean_fusion", "max_fusion")
REFITTED = ("kmeans", "coreset", "gmm", "enlarged", *FUSIONS)  # above 256 groups (32: fusions) in parts


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in REFITTED])
@pytest.mark.parametrize(("group", "dimension"), [(1, 6), (3, 6), (1, 400)])
def test_large_banks_leave_rows_out_exactly_too(name, group, dimension):
    bank = make_bank(300, group=group, dimension=dimension)
    own = make(name).fit(bank).self_scores()
    for i in (0, 1, 3, 5, 7, 150, 299):  # 1, 3 and 7 are duplicates, 5 is silence
        expected = make(name).fit(bank.select(bank.groups != bank.groups[i])).score(bank.vectors[i : i + 1])
        np.testing.assert_allclose(own[i : i + 1], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("variance", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["random", "repeated", "axes", "same"])
def test_principal_axes_without_a_row_are_those_found_again(kind, variance):
    rng = np.random.default_rng(5)
    vectors = {
        "random": rng.standard_normal((300, 1, 9)) * np.arange(1, 10),
        "repeated": np.repeat(rng.standard_normal((30, 1, 7)), 10, axis=0),
        "axes": np.tile(np.eye(12)[:, None], (25, 1, 1)),  # all but one of the scatters are the same
        "same": np.ones((300, 1, 4)),
    }[kind]
    bank = make_bank(300, bands=1, dimension=vectors.shape[2])
    bank = dataclasses.replace(bank, vectors=vectors.astype(np.float32))
    own = make("pca", metric="euclidean", variance=variance).fit(bank).self_scores()
    for i in range(0, 300, 7):
        rest = make("pca", metric="euclidean", variance=variance).fit(bank.select(np.arange(300) != i))
        np.testing.assert_allclose(own[i : i + 1], rest.score(bank.vectors[i : i + 1]), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", BACKENDS)
def test_tiny_banks_give_finite_scores_or_say_why(name, n):
    bank, queries = make_bank(n), make_bank(4, seed=1).vectors
    try:
        assert np.isfinite(make(name).fit(bank).score(queries)).all()
    except BankError as error:
        assert len(str(error)) > 20


ORDERED = [name for name in BACKENDS if name not in ("kmeans", "gmm")]  # they begin at rows drawn by number
DISTINCT = 8  # so few rows have no duplicates: which of equally near rows is nearest goes by order


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", ORDERED)
def test_the_order_of_rows_and_the_company_of_a_clip_change_nothing(name, metric):
    n = DISTINCT if name in ("varmin", "enlarged") else 16
    bank, queries = make_bank(n), make_bank(5, seed=1).vectors
    expected = make(name, metric=metric).fit(bank).score(queries)
    order = np.random.default_rng(2).permutation(n)
    mixed = make(name, metric=metric).fit(bank.select(order))
    np.testing.assert_allclose(mixed.score(queries), expected, rtol=1e-6)
    own = make(name, metric=metric).fit(bank).self_scores()
    np.testing.assert_allclose(mixed.self_scores(), own[order], rtol=1e-5, atol=1e-9)
    one_by_one = np.concatenate([make(name, metric=metric).fit(bank).score(q[None]) for q in queries])
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-9)


UNEVEN = ("enlarged", "gmm")  # the first mixes vectors as they are, the second climbs to another peak by rounding


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in UNEVEN])
def test_the_length_of_vectors_does_not_change_a_cosine(name):
    n = DISTINCT if name == "varmin" else 16
    bank, queries = make_bank(n), make_bank(5, seed=1).vectors
    expected = make(name).fit(bank).score(queries)
    lengths = np.random.default_rng(3).uniform(0.1, 100, (n, 2, 1)).astype(np.float32)
    scaled = make(name).fit(dataclasses.replace(bank, vectors=bank.vectors * lengths))
    np.testing.assert_allclose(scaled.score(3 * queries), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "gmm"])  # its variances belong to the axes
def test_turning_all_vectors_alike_changes_nothing(name, metric):
    n = DISTINCT if name in ("varmin", "enlarged") else 16
    bank, queries = make_bank(n), make_bank(5, seed=1).vectors
    expected = make(name, metric=metric).fit(bank).score(queries)
    turn = np.linalg.qr(np.random.default_rng(4).standard_normal((6, 6)))[0]
    turned = make(name, metric=metric).fit(dataclasses.replace(bank, vectors=(bank.vectors @ turn).astype(np.float32)))
    found = turned.score((queries @ turn).astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["knn", "kmeans", "coreset"])
def test_a_euclidean_distance_grows_with_the_vectors(name):
    bank, queries = make_bank(16), make_bank(5, seed=1).vectors
    expected = 4 * make(name, metric="euclidean").fit(bank).score(queries)
    larger = make(name, metric="euclidean").fit(dataclasses.replace(bank, vectors=4 * bank.vectors))
    np.testing.assert_allclose(larger.score(4 * queries), expected, rtol=1e-6)
