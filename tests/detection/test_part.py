"""Back-ends on one part of a joined embedding, and min-fusion over parts."""

import dataclasses

import numpy as np
import pytest

from echobank.detection.backends import BACKENDS, make_backend, parse_backend
from echobank.detection.bank import Bank, Row
from echobank.errors import BankError, ConfigError
from tests.headers import joined_header

BANDS = {"a": (2, 3), "beats_iter3_plus_as2m": (1, 5)}


def joined_bank(n=18, seed=0):
    """A bank of two parts, and each part alone."""
    rng = np.random.default_rng(seed)
    alone = {name: rng.standard_normal((n, *shape)).astype(np.float32) + 1 for name, shape in BANDS.items()}
    rows = tuple(Row(f"{i}", "m", domain="source" if i % 3 else "target", group=f"g{i // 2}") for i in range(n))
    flat = np.concatenate([x.reshape(n, 1, -1) for x in alone.values()], axis=2)
    return Bank(flat, rows, joined_header(BANDS, bands=True)), {name: Bank(x, rows) for name, x in alone.items()}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_part_scores_as_a_bank_of_its_own(name):
    bank, alone = joined_bank()
    queries, asked = joined_bank(6, seed=1)
    for given, part in (("a", "a"), ("beats_base", "beats_iter3_plus_as2m")):
        made = make_backend(f"{name}@{given}", k=1, metric="euclidean", params={}).fit(bank)
        own = make_backend(name, k=1, metric="euclidean", params={}).fit(alone[part])
        np.testing.assert_array_equal(made.score(queries.vectors), own.score(asked[part].vectors))
        np.testing.assert_array_equal(made.self_scores(), own.self_scores())


def test_bands_that_were_not_kept_are_none():
    bank, alone = joined_bank()
    vectors = np.concatenate([alone["a"].vectors[:, 0], bank.vectors[:, 0, 6:]], axis=1)[:, None]
    pooled = dataclasses.replace(bank, vectors=vectors, header=joined_header(BANDS, bands=False))
    made = make_backend("knn@beats_base", k=1, metric="cosine", params={}).fit(pooled)
    own = make_backend("knn", k=1, metric="cosine", params={}).fit(alone["beats_iter3_plus_as2m"])
    np.testing.assert_array_equal(made.score(vectors), own.score(alone["beats_iter3_plus_as2m"].vectors))


@pytest.mark.parametrize("n", [18, 80])  # above 64 rows there are more than 32 groups
def test_members_have_their_own_parts_parameters_metric_and_k(n):
    bank, alone = joined_bank(n)
    queries, asked = joined_bank(6, seed=1)
    members = "ldn@a:K=2:form=log:k=2+mahalanobis@beats_base:metric=euclidean:selective=false"
    fused = make_backend("min_fusion", k=1, metric="cosine", params={"members": members}).fit(bank)
    own = [
        ("a", make_backend("ldn", k=2, metric="cosine", params={"K": 2, "form": "log"})),
        ("beats_iter3_plus_as2m", make_backend("mahalanobis", k=1, metric="euclidean", params={"selective": False})),
    ]
    z = []
    for part, backend in own:
        usual = backend.fit(alone[part]).self_scores()
        z.append((backend.score(asked[part].vectors) - usual.mean()) / usual.std())
    np.testing.assert_allclose(fused.score(queries.vectors), np.min(z, axis=0), rtol=1e-12)
    assert np.isfinite(fused.self_scores()).all()


def test_fusion_of_parts_leaves_rows_out_exactly():
    bank, _ = joined_bank()
    params = {"members": "knn@a+mahalanobis@beats_base"}
    own = make_backend("min_fusion", k=1, metric="cosine", params=params).fit(bank).self_scores()
    for i in range(len(bank)):
        rest = make_backend("min_fusion", k=1, metric="cosine", params=params)
        expected = rest.fit(bank.select(bank.groups != bank.groups[i])).score(bank.vectors[i : i + 1])
        np.testing.assert_allclose(own[i : i + 1], expected, rtol=1e-9)


def test_what_is_not_there_is_refused():
    bank, alone = joined_bank()
    with pytest.raises(BankError, match="its parts are a, beats"):
        make_backend("knn@soundnet", k=1, metric="cosine", params={}).fit(bank)
    with pytest.raises(BankError, match="leave out @a"):
        make_backend("knn@a", k=1, metric="cosine", params={}).fit(alone["a"])
    for members, words in (
        ("knn+min_fusion@a", "member of a fusion"),
        ("knn+ldn:K", "key=value"),
        ("ldn:k=1.5", "whole number"),
        ("ldn:metric=cosin", "did you mean cosine"),
        ("ldn:kk=2", "no such parameter"),
    ):
        with pytest.raises(ConfigError, match=words):
            make_backend("min_fusion", k=1, metric="cosine", params={"members": members})
    assert parse_backend("ldn@a:K=16:form=log") == ("ldn@a", {"K": 16, "form": "log"})


def test_a_part_in_decibels_is_compared_as_it_is_whatever_the_metric():
    rng = np.random.default_rng(0)
    levels = rng.normal(-40, 3, (18, 1, 1)).astype(np.float32)
    rows = tuple(Row(f"{i}", "m", group=f"g{i}") for i in range(18))
    header = joined_header({"a": (1, 4), "level": (1, 1)}, bands=False)
    bank = Bank(np.concatenate((rng.standard_normal((18, 1, 4)).astype(np.float32), levels), axis=2), rows, header)
    asked = bank.vectors + np.float32(1.5)
    expected = np.abs(asked[:, 0, 4, None].astype(float) - levels[:, 0, 0].astype(float)).min(axis=1)
    for metric in ("cosine", "euclidean"):
        fitted = make_backend("knn@level", k=1, metric=metric, params={}).fit(bank)
        np.testing.assert_allclose(fitted.score(asked), expected, rtol=1e-5)
