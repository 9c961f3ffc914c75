"""Back-ends that make a model of the bank, each against a slow version from its formula, down to banks of one row."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from echobank.detection.backends.coreset import greedy_centres
from echobank.errors import BankError
from tests.detection.banks import distance, make, make_bank, unit

BANKS = [(1, True), (1, False), (2, True), (2, False), (3, True), (3, False), (20, True), (20, False)]


def seen(x, metric):
    """Vectors as a metric sees them."""
    return unit(x) if metric == "cosine" else x.astype(np.float64)


def by_domain(bank):
    return [np.flatnonzero(bank.domains == name) for name in sorted(set(bank.domains))]


def slow_mahalanobis(rows, q):
    """Ledoit and Wolf (2004) by outer products; the floors are those that the back-end states."""
    n, size = rows.shape
    mean = sum(rows) / n
    outer = [np.outer(x - mean, x - mean) for x in rows]
    sample = sum(outer) / n
    mu = np.trace(sample) / size
    delta = ((sample - mu * np.eye(size)) ** 2).sum()
    beta = sum(((o - sample) ** 2).sum() for o in outer) / n**2
    shrinkage = min(max(beta / delta, 1e-6), 1) if delta > 0 else 1
    ridge = max(shrinkage * mu, 1e-12)
    covariance = (1 - shrinkage) * sample + ridge * np.eye(size)
    return math.sqrt((q - mean) @ np.linalg.solve(covariance, q - mean))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "one_domain"), BANKS)
@pytest.mark.parametrize("selective", [True, False])
def test_mahalanobis_is_its_formula(n, one_domain, metric, selective):
    bank, queries = make_bank(n, one_domain=one_domain), make_bank(5, seed=1).vectors
    rows, asked = seen(bank.vectors, metric), seen(queries, metric)
    parts = by_domain(bank) if selective else [np.arange(n)]
    expected = [
        np.mean([min(slow_mahalanobis(rows[part, h], q[h]) for part in parts) for h in range(2)]) for q in asked
    ]
    found = make("mahalanobis", metric=metric, selective=selective).fit(bank).score(queries)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("one_domain", "dimension"), [(True, 6), (False, 6), (False, 40)])
def test_mahalanobis_is_that_of_scikit_learn(one_domain, dimension):
    bank = make_bank(24, one_domain=one_domain, bands=1, dimension=dimension)
    queries = make_bank(6, seed=1, bands=1, dimension=dimension).vectors
    rows, asked = unit(bank.vectors[:, 0]), unit(queries[:, 0])
    models = [LedoitWolf().fit(rows[bank.domains == name]) for name in np.unique(bank.domains)]
    expected = np.sqrt(np.min([model.mahalanobis(asked) for model in models], axis=0))
    np.testing.assert_allclose(make("mahalanobis").fit(bank).score(queries), expected, rtol=1e-7)


def slow_pca(rows, q, variance):
    """Residual after the fewest axes that explain more than the share, by singular values."""
    mean = rows.mean(axis=0)
    _, values, axes = np.linalg.svd(rows - mean)
    residual, explained = q - mean, 0.0
    for value, axis in zip(values, axes, strict=False):
        if values[0] ** 2 == 0 or value**2 <= 1e-10 * values[0] ** 2 or explained >= variance * (values**2).sum():
            break
        residual = residual - (residual @ axis) * axis
        explained += value**2
    return np.linalg.norm(residual)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "one_domain"), BANKS)
@pytest.mark.parametrize("variance", [0.5, 0.9])
def test_pca_residual_is_its_formula(n, one_domain, metric, variance):
    bank, queries = make_bank(n, one_domain=one_domain), make_bank(5, seed=1).vectors
    rows, asked = seen(bank.vectors, metric), seen(queries, metric)
    expected = [np.mean([slow_pca(rows[:, h], q[h], variance) for h in range(2)]) for q in asked]
    found = make("pca", metric=metric, variance=variance).fit(bank).score(queries)
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_pca_residual_is_that_of_scikit_learn():
    bank, queries = make_bank(24, bands=1), make_bank(6, seed=1, bands=1).vectors
    model = PCA(0.9, svd_solver="full").fit(unit(bank.vectors[:, 0]))
    asked = unit(queries[:, 0])
    expected = np.linalg.norm(asked - model.inverse_transform(model.transform(asked)), axis=1)
    np.testing.assert_allclose(make("pca").fit(bank).score(queries), expected, rtol=1e-9)


def log_likelihood(model, x):
    """Sum over components of weight times Gaussian with a variance a dimension."""
    total = 0.0
    for weight, mean, variances in zip(model.weights_, model.means_, model.covariances_, strict=True):
        exponent = sum(-((a - m) ** 2) / (2 * v) for a, m, v in zip(x, mean, variances, strict=True))
        total += weight * math.exp(exponent) / math.sqrt(math.prod(2 * math.pi * v for v in variances))
    return math.log(total)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "one_domain"), BANKS)
def test_gmm_is_its_formula_and_has_settled(n, one_domain, metric):
    bank = make_bank(n, one_domain=one_domain)
    near = bank.vectors[[0, n // 2, n - 1]] + np.float32(0.01)
    if n == 1:
        with pytest.raises(BankError, match="two rows"):
            make("gmm", metric=metric).fit(bank)
        return
    backend = make("gmm", metric=metric).fit(bank)
    rows, asked = seen(bank.vectors, metric), seen(near, metric)
    expected = [-np.mean([log_likelihood(backend.models_[h], q[h]) for h in range(2)]) for q in asked]
    np.testing.assert_allclose(backend.score(near), expected, rtol=1e-7)
    for h, model in enumerate(backend.models_):  # means are those of the rows that each component answers for
        shares = model.predict_proba(rows[:, h])
        again = (shares.T @ rows[:, h]) / shares.sum(axis=0)[:, None]
        np.testing.assert_allclose(model.means_, again, atol=2e-2 * np.abs(rows).max())


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "one_domain"), BANKS)
@pytest.mark.parametrize("centres", [1, 3, 16])
def test_kmeans_is_the_nearest_of_centres_that_have_settled(n, one_domain, metric, centres):
    bank, queries = make_bank(n, one_domain=one_domain), make_bank(5, seed=1).vectors
    backend = make("kmeans", metric=metric, centres=centres).fit(bank)
    rows, settled = seen(bank.vectors, metric), []
    for h in range(2):
        found = [backend._centres(rows[part, h]) for part in by_domain(bank)]
        for part, own in zip(by_domain(bank), found, strict=True):
            assert len(own) == min(centres, len(part))
            nearest = [min(range(len(own)), key=lambda c: np.linalg.norm(own[c] - x)) for x in rows[part, h]]
            for c in set(nearest):  # each is the mean of the rows that are nearest to it: Lloyd has nothing to do
                mean = rows[part, h][np.array(nearest) == c].mean(axis=0)
                np.testing.assert_allclose(own[c], mean, atol=1e-6)
        settled.append(np.concatenate(found).astype(np.float32))
    expected = [np.mean([min(distance(q[h], c, metric) for c in settled[h]) for h in range(2)]) for q in queries]
    np.testing.assert_allclose(backend.score(queries), expected, rtol=1e-6)


def slow_greedy(flat, count):
    """Gonzalez (1985): begin next to the mean, then always the row that is farthest from those chosen."""
    chosen = [int(np.argmin([round(np.linalg.norm(x - flat.mean(axis=0)), 9) for x in flat]))]
    while len(chosen) < count:
        reach = [min(np.linalg.norm(x - flat[c]) for c in chosen) for x in flat]
        if max(reach) <= 1e-6 * max(np.linalg.norm(x - flat.mean(axis=0)) for x in flat):
            break  # all others are duplicates
        chosen.append(int(np.argmax(reach)))
    return chosen


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("n", "one_domain"), BANKS)
@pytest.mark.parametrize("count", [1, 4, 100])
def test_coreset_is_the_nearest_of_greedy_centres(n, one_domain, metric, count):
    bank, queries = make_bank(n, one_domain=one_domain), make_bank(5, seed=1).vectors
    chosen = []
    for part in by_domain(bank):
        flat = seen(bank.vectors[part], metric).reshape(len(part), -1)
        picked = slow_greedy(flat, min(count, len(part)))
        assert greedy_centres(bank.vectors[part], count, metric).tolist() == picked
        chosen += part[picked].tolist()
    rows = bank.vectors[chosen]
    expected = [np.mean([min(distance(q[h], x[h], metric) for x in rows) for h in range(2)]) for q in queries]
    np.testing.assert_allclose(make("coreset", metric=metric, rows=count).fit(bank).score(queries), expected, rtol=1e-7)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("n", [2, 3, 20])
def test_enlarged_is_the_nearest_of_rows_and_mixtures(n, metric):
    bank, queries = make_bank(n), make_bank(5, seed=1).vectors
    target, source = (np.flatnonzero((bank.domains == "target") == which) for which in (True, False))
    flat = bank.vectors.reshape(n, -1)
    mixtures = [
        np.float32(0.9) * bank.vectors[t] + np.float32(0.1) * bank.vectors[s]
        for t in target
        for s in sorted(source, key=lambda s: (distance(flat[t], flat[s], metric), s))[:5]
    ]
    rows = [*bank.vectors, *mixtures]
    expected = [np.mean([min(distance(q[h], x[h], metric) for x in rows) for h in range(2)]) for q in queries]
    np.testing.assert_allclose(make("enlarged", metric=metric).fit(bank).score(queries), expected, rtol=1e-5)


def slow_z(member, queries, z):
    own = member.self_scores()
    if z == "plain":
        return (member.score(queries) - own.mean()) / own.std()
    ordered = sorted(own)
    median, upper = (np.interp(share * (len(own) - 1), range(len(own)), ordered) for share in (0.5, 0.75))
    return (member.score(queries) - median) / ((upper - median) / 0.6745)


@pytest.mark.parametrize("n", [3, 20])
@pytest.mark.parametrize(
    ("name", "z", "combine"),
    [
        ("min_fusion", "plain", np.min),
        ("mean_fusion", "robust", np.mean),
        ("mean_fusion", "plain", np.mean),
        ("max_fusion", "robust", np.max),
    ],
)
def test_fusions_combine_the_z_scores_of_their_members(n, name, z, combine):
    bank, queries = make_bank(n, one_domain=n == 3), make_bank(5, seed=1).vectors
    members = [make(member).fit(bank) for member in ("knn", "ldn", "mahalanobis", "pca")]
    expected = combine([slow_z(member, queries, z) for member in members], axis=0)
    fused = make(name, members="knn+ldn+mahalanobis+pca", z=z).fit(bank).score(queries)
    np.testing.assert_allclose(fused, expected, rtol=1e-9)
    default = make(name, members="knn+ldn+mahalanobis+pca").fit(bank).score(queries)
    assert np.array_equal(default, fused) == (z == ("plain" if name == "min_fusion" else "robust"))


def test_a_member_whose_scores_hardly_vary_does_not_blow_up_a_robust_fusion():
    bank = make_bank(20, one_domain=True)
    same = dataclasses.replace(bank, vectors=np.repeat(bank.vectors[:1], 20, axis=0))
    assert np.isfinite(make("mean_fusion", members="knn+ldn").fit(bank).score(bank.vectors)).all()
    assert np.isfinite(make("mean_fusion", members="knn+knn:metric=euclidean").fit(same).score(same.vectors)).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("level", ["keep", "remove"])
def test_mahalanobis_with_the_covariance_of_the_source_and_a_centre_per_domain(metric, level):
    """s = min_D (x - mu_D)' inv(Sigma_source) (x - mu_D), here its root, mean over bands."""
    bank, queries = make_bank(21, dimension=9), make_bank(5, seed=1, dimension=9).vectors

    def placed(x):
        x = seen(x, metric)
        return x - x.mean(axis=-1, keepdims=True) if level == "remove" else x

    rows, asked = placed(bank.vectors), placed(queries)
    parts = by_domain(bank)
    source = max(parts, key=len)
    assert set(bank.domains[source]) == {"source"} and len(parts) == 2
    expected = []
    for q in asked:
        bands = []
        for h in range(rows.shape[1]):
            centre = rows[source, h].mean(axis=0)  # Sigma is of the source alone, wherever it is centred
            shifted = [q[h] - rows[part, h].mean(axis=0) + centre for part in parts]
            bands.append(min(slow_mahalanobis(rows[source, h], x) for x in shifted))
        expected.append(np.mean(bands))
    found = make("mahalanobis", metric=metric, covariance="source", level=level).fit(bank).score(queries)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_without_level_a_gain_in_decibels_changes_nothing():
    bank, queries = make_bank(21, dimension=9), make_bank(5, seed=1, dimension=9).vectors
    fitted = make("mahalanobis", metric="euclidean", covariance="source", level="remove").fit(bank)
    np.testing.assert_allclose(fitted.score(queries + np.float32(6)), fitted.score(queries), rtol=1e-4)
