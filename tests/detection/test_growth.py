"""A bank that has grown scores itself as one that was searched from scratch."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echobank.detection.backends import make_backend
from echobank.detection.bank import Bank, Row
from echobank.detection.growth import grown_scores
from echobank.detection.header import Scoring
from echobank.detection.leave_one_out import SelfScores


def bank_of(vectors, groups, scoring):
    bank = Bank(vectors, [Row(f"{i}", "m", group=group) for i, group in enumerate(groups)])
    backend = make_backend(scoring.backend, k=scoring.k, metric=scoring.metric, params={}).fit(bank)
    scores = backend.self_scores()
    distances, nearest = backend.others()
    return dataclasses.replace(bank, own=SelfScores(scores, nearest=nearest, distances=distances))


def near_ties(found, expected):
    """Whether rows that differ are equally near: the last digits of a distance depend on the rest of the bank."""
    differ = found.nearest != expected.nearest
    return np.abs(found.distances - expected.distances)[differ].max() < 1e-12


def grown(n, more, k, metric, seed, *, bands=1, backend="knn"):
    """Return the scores of a grown bank, and those of the same bank searched from scratch."""
    rng = np.random.default_rng(seed)
    scoring = Scoring(backend, metric, k)
    vectors = rng.standard_normal((n + more, bands, 3)).astype(np.float32).round(1)  # near ones, equal ones
    vectors[n] = vectors[0]
    groups = np.array([f"a{i // 2}" if i < n else f"b{i // 2}" for i in range(n + more)])
    order = rng.permutation(n + more)
    places = np.argsort(order)[:n]
    before = bank_of(vectors[:n], groups[:n], scoring)
    after = bank_of(vectors[order], groups[order], scoring)
    return grown_scores(before, dataclasses.replace(after, own=None), places, scoring), after.own


@settings(max_examples=60, deadline=None)
@given(
    st.integers(12, 40), st.integers(1, 12), st.integers(1, 4), st.sampled_from(["cosine", "euclidean"]), st.integers(0)
)
def test_scores_neighbours_and_distances_are_those_of_a_search_of_the_whole(n, more, k, metric, seed):
    found, expected = grown(n, more, k, metric, seed % 2**32)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=0, atol=1e-12)
    assert np.array_equal(found.nearest, expected.nearest) or near_ties(found, expected)


def test_only_rows_that_can_have_changed_are_searched(monkeypatch):
    from echobank.detection.search import Index

    asked = []
    real = Index.nearest
    monkeypatch.setattr(
        Index, "nearest", lambda self, q, k, *g: asked.append((len(q), self.shape[0])) or real(self, q, k, *g)
    )
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((400, 1, 4)).astype(np.float32)
    vectors[-2:] += 30  # far from all others
    scoring = Scoring("knn", "euclidean", 2)
    groups = [f"{i // 2}" for i in range(400)]
    before, after = bank_of(vectors[:398], groups[:398], scoring), bank_of(vectors, groups, scoring)
    asked.clear()
    found = grown_scores(before, after, np.arange(398), scoring)
    assert asked == [(398, 2), (2, 400)]
    np.testing.assert_allclose(found.scores, after.own.scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("change", [{"bands": 2}, {"backend": "ldn"}, {"backend": "mahalanobis"}])
def test_what_a_new_row_changes_everywhere_is_searched_anew(change):
    assert grown(20, 4, 1, "cosine", 0, **change)[0] is None


def test_a_new_row_of_a_group_that_is_there_is_searched_anew():
    scoring = Scoring("knn", "cosine", 1)
    vectors = np.random.default_rng(0).standard_normal((9, 1, 3)).astype(np.float32)
    before, after = (bank_of(vectors[:n], [f"{i % 4}" for i in range(n)], scoring) for n in (8, 9))
    assert grown_scores(before, after, np.arange(8), scoring) is None
    unknown = dataclasses.replace(before, own=SelfScores(before.own.scores))
    assert grown_scores(unknown, after, np.arange(8), scoring) is None
