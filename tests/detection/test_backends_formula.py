"""Every back-end against a slow version from its formula, and its leave-one-out against fitting again."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from echobank.detection.backends import BACKENDS, make_backend
from echobank.detection.backends.coreset import greedy_centres
from echobank.detection.bank import Bank, Row
from echobank.errors import BankError, ConfigError


def make_bank(n, *, one_domain=False, group=1, seed=0, bands=2, dimension=6):
    """Random rows; many enough have duplicates and silence."""
    vectors = (np.random.default_rng(seed).standard_normal((n, bands, dimension)) + 1).astype(np.float32)
    if n > 8:
        vectors[3], vectors[7], vectors[5] = vectors[1], vectors[1], 0
    domains = ["source" if one_domain or i % 3 else "target" for i in range(n)]
    return Bank(vectors, tuple(Row(f"{i}", "m", domain=domains[i], group=f"g{i // group}") for i in range(n)))


def make(name, *, k=1, metric="cosine", **params):
    return make_backend(name, k=k, metric=metric, params=params)


def distance(a, b, metric):
    a, b = a.astype(np.float64), b.astype(np.float64)
    if metric == "euclidean":
        return math.sqrt(((a - b) ** 2).sum())
    if not a.any() or not b.any():
        return 1.0
    return ((a / np.sqrt(a @ a) - b / np.sqrt(b @ b)) ** 2).sum() / 2


class Slow:
    """One band of a bank; everything by loops over pairs."""

    def __init__(self, bank, band, metric):
        self.x, self.metric = bank.vectors[:, band], metric
        self.groups, self.domains, self.n = bank.groups, bank.domains, len(bank)

    def to(self, q):
        return [distance(q, row, self.metric) for row in self.x]

    def others(self, y, domain=None):
        """(distance, row) of the rows of other groups, nearest first."""
        rows = [i for i in range(self.n) if self.groups[i] != self.groups[y] and domain in (None, self.domains[i])]
        return sorted((distance(self.x[y], self.x[i], self.metric), i) for i in rows)

    def density(self, y, K, domain=None):
        return sum(d for d, _ in self.others(y, domain)[:K])


def least(values, k):
    return sum(sorted(values)[:k]) / k


def slow_knn(s, q, k):
    return least(s.to(q), k)


def slow_ldn(s, q, k, form="ratio", K=1):
    pairs = [(d, s.density(y, K)) for y, d in enumerate(s.to(q))]
    if form == "difference":
        return least([d - r for d, r in pairs], k)
    ratios = [max(d, 1e-12 if form == "log" else 0) / max(r, 1e-12) for d, r in pairs]
    return least([math.log(x) for x in ratios] if form == "log" else ratios, k)


def slow_varmin(s, q, k, form="difference", K=4):
    def log(x):
        return math.log(max(x, 1e-12)) if form == "log" else x

    b = [log(s.density(y, K) / (1 if form == "log" else K)) for y in range(s.n)]
    near = [s.others(y)[0] for y in range(s.n)]
    a, bn = np.array([log(d) for d, _ in near]), np.array([b[i] for _, i in near])
    variance = bn.var()
    alpha = min(max(((a - a.mean()) * (bn - bn.mean())).mean() / variance, 0), 1) if variance > 0 else 0
    return least([log(d) - alpha * b[y] for y, d in enumerate(s.to(q))], k)


def slow_domain_ld(s, q, k, K_source=16, K_target=9):
    count = {"source": K_source, "target": K_target}
    return least([d / max(s.density(y, count[s.domains[y]], s.domains[y]), 1e-12) for y, d in enumerate(s.to(q))], k)


def own_distances(s, k, name):
    return np.array([s.density(y, k, name) / k for y in range(s.n) if s.domains[y] == name])


def slow_domain_z(s, q, k):
    to, found = np.array(s.to(q)), []
    for name in set(s.domains):
        own = own_distances(s, k, name)
        found.append((least(to[s.domains == name], k) - own.mean()) / max(own.std(), 1e-12))
    return min(found)


def slow_domain_conformal(s, q, k):
    to = np.array(s.to(q))
    d, name = min((least(to[s.domains == name], k), name) for name in sorted(set(s.domains)))
    own = own_distances(s, k, name)
    sizes = sorted((int((s.domains == name).sum()) + 1 for name in set(s.domains)), reverse=True)[:2]
    return 1 - (1 + (own >= d).sum()) / (len(own) + 1) + 0.5 / np.prod(sizes) * d / (1 + d)


FORMULAS = [
    ("knn", slow_knn, {}),
    ("ldn", slow_ldn, {}),
    ("ldn", slow_ldn, {"K": 3}),
    ("ldn", slow_ldn, {"form": "difference"}),
    ("ldn", slow_ldn, {"form": "log", "K": 2}),
    ("varmin", slow_varmin, {}),
    ("varmin", slow_varmin, {"form": "log", "K": 1}),
    ("domain_ld", slow_domain_ld, {"K_source": 3, "K_target": 2}),
    ("domain_z", slow_domain_z, {}),
    ("domain_conformal", slow_domain_conformal, {}),
]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("name", "formula", "params"), FORMULAS)
@pytest.mark.parametrize(("k", "one_domain", "group"), [(1, False, 1), (2, False, 2), (1, True, 1)])
def test_neighbour_scores_are_their_formula(name, formula, params, metric, k, one_domain, group):
    bank = make_bank(20, one_domain=one_domain, group=group)
    queries = make_bank(5, seed=1).vectors
    queries[0], queries[1] = bank.vectors[2], 0
    slow = [Slow(bank, band, metric) for band in range(2)]
    expected = [np.mean([formula(s, q[band], k, **params) for band, s in enumerate(slow)]) for q in queries]
    np.testing.assert_allclose(make(name, k=k, metric=metric, **params).fit(bank).score(queries), expected, rtol=1e-7)


def unit(x):
    x = x.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-300)


@pytest.mark.parametrize(("one_domain", "dimension"), [(True, 6), (False, 6), (False, 40)])
def test_mahalanobis_is_that_of_scikit_learn(one_domain, dimension):
    bank = make_bank(24, one_domain=one_domain, bands=1, dimension=dimension)
    queries = make_bank(6, seed=1, bands=1, dimension=dimension).vectors
    rows, asked = unit(bank.vectors[:, 0]), unit(queries[:, 0])
    models = [LedoitWolf().fit(rows[bank.domains == name]) for name in np.unique(bank.domains)]
    expected = np.sqrt(np.min([model.mahalanobis(asked) for model in models], axis=0))
    np.testing.assert_allclose(make("mahalanobis").fit(bank).score(queries), expected, rtol=1e-7)


def test_pca_residual_is_that_of_scikit_learn():
    bank, queries = make_bank(24, bands=1), make_bank(6, seed=1, bands=1).vectors
    model = PCA(0.9, svd_solver="full").fit(unit(bank.vectors[:, 0]))
    asked = unit(queries[:, 0])
    expected = np.linalg.norm(asked - model.inverse_transform(model.transform(asked)), axis=1)
    np.testing.assert_allclose(make("pca").fit(bank).score(queries), expected, rtol=1e-9)


def test_greedy_centres_are_each_the_farthest():
    vectors = make_bank(30).vectors
    chosen = greedy_centres(vectors, 6, "euclidean")
    flat = vectors.reshape(30, -1).astype(np.float64)
    for i in range(1, 6):
        reach = np.min([np.linalg.norm(flat - flat[c], axis=1) for c in chosen[:i]], axis=0)
        assert chosen[i] == reach.argmax()
    assert len(greedy_centres(vectors, 30, "euclidean")) == 28  # rows 3 and 7 are duplicates of row 1


def test_min_fusion_takes_the_least_z():
    bank, queries = make_bank(20), make_bank(5, seed=1).vectors
    members = [make(name).fit(bank) for name in ("knn", "pca")]
    z = [(m.score(queries) - m.self_scores().mean()) / m.self_scores().std() for m in members]
    fused = make("min_fusion", members="knn+pca").fit(bank).score(queries)
    np.testing.assert_allclose(fused, np.min(z, axis=0), rtol=1e-12)


def test_kmeans_and_coreset_of_many_centres_are_nearest_neighbour():
    bank, queries = make_bank(20), make_bank(5, seed=1).vectors
    expected = make("knn").fit(bank).score(queries)
    np.testing.assert_allclose(make("kmeans", centres=20).fit(bank).score(queries), expected, rtol=1e-5)
    np.testing.assert_allclose(make("coreset", rows=20).fit(bank).score(queries), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "one_domain", "group"), [(3, True, 1), (18, False, 1), (18, True, 2), (18, False, 3)])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_row_scores_itself_as_a_bank_without_its_group_would(name, n, one_domain, group, metric):
    bank = make_bank(n, one_domain=one_domain, group=group)
    try:
        own = make(name, metric=metric).fit(bank).self_scores()
    except BankError as error:
        assert n == 3 or (name == "enlarged" and one_domain), error  # cannot be done, and said so
        return
    for i in range(n):
        rest = bank.select(bank.groups != bank.groups[i])
        expected = make(name, metric=metric).fit(rest).score(bank.vectors[i : i + 1])
        np.testing.assert_allclose(own[i : i + 1], expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("name", BACKENDS)
def test_tiny_banks_give_finite_scores_or_say_why(name, n):
    bank, queries = make_bank(n), make_bank(4, seed=1).vectors
    try:
        assert np.isfinite(make(name).fit(bank).score(queries)).all()
    except BankError as error:
        assert len(str(error)) > 20


def test_k_larger_than_the_bank_names_both():
    with pytest.raises(BankError, match=r"k = 4 .* 3 rows"):
        make("knn", k=4).fit(make_bank(3))
    with pytest.raises(BankError, match=r"k = 3 .* 3 rows, 2 of them"):
        make("knn", k=3).fit(make_bank(3)).self_scores()


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in ("kmeans", "gmm", "enlarged")])
def test_order_and_length_of_vectors_change_nothing(name):
    n = 8 if name == "varmin" else 16  # 8 rows have no duplicates: which of equally near rows is nearest goes by order
    bank, queries = make_bank(n), make_bank(5, seed=1).vectors
    expected = make(name).fit(bank).score(queries)
    order = np.random.default_rng(2).permutation(n)
    np.testing.assert_allclose(make(name).fit(bank.select(order)).score(queries), expected, rtol=1e-6)
    scaled = dataclasses.replace(bank, vectors=bank.vectors * np.arange(1, n + 1, dtype=np.float32)[:, None, None])
    np.testing.assert_allclose(make(name).fit(scaled).score(3 * queries), expected, rtol=1e-4, atol=1e-6)
    one_by_one = np.concatenate([make(name).fit(bank).score(q[None]) for q in queries])
    np.testing.assert_allclose(one_by_one, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("knm", {}, "did you mean knn"),
        ("ldn", {"frm": "log"}, "did you mean form"),
        ("ldn", {"form": "quotient"}, "ratio, difference, log"),
        ("ldn", {"K": 1.5}, "whole number"),
        ("min_fusion", {"members": "knn+lnd"}, "did you mean ldn"),
        ("knn", {"x": 1}, "allowed: none"),
    ],
)
def test_what_does_not_exist_is_refused(name, params, words):
    with pytest.raises(ConfigError, match=words):
        make(name, **params)
