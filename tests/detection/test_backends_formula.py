"""Back-ends that look at neighbours, each against a slow version from its formula, down to banks of one row."""

import math

import numpy as np
import pytest

from echobank.errors import BankError, ConfigError
from tests.detection.banks import distance, make, make_bank


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


def least_rows(name, params, one_domain):
    """Rows of `make_bank` from which the formula can be computed for k = 1."""
    if name == "knn":
        return 1
    if name in ("ldn", "varmin"):
        return params.get("K", {"ldn": 1, "varmin": 4}[name]) + 1
    return 2 if one_domain else 5  # each domain needs two rows; of five the first and the fourth are target


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("name", "formula", "params"), FORMULAS)
@pytest.mark.parametrize("one_domain", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_smallest_banks_score_by_the_formula_or_say_why_not(name, formula, params, metric, one_domain, n):
    bank, queries = make_bank(n, one_domain=one_domain), make_bank(4, seed=1).vectors
    if n < least_rows(name, params, one_domain):
        with pytest.raises(BankError, match="more than the bank can give"):
            make(name, metric=metric, **params).fit(bank)
        return
    slow = [Slow(bank, band, metric) for band in range(2)]
    expected = [np.mean([formula(s, q[band], 1, **params) for band, s in enumerate(slow)]) for q in queries]
    np.testing.assert_allclose(make(name, metric=metric, **params).fit(bank).score(queries), expected, rtol=1e-6)


def test_k_larger_than_the_bank_names_both():
    with pytest.raises(BankError, match=r"k = 4 .* 3 rows"):
        make("knn", k=4).fit(make_bank(3))
    with pytest.raises(BankError, match=r"k = 3 .* 3 rows, 2 of them"):
        make("knn", k=3).fit(make_bank(3)).self_scores()


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
