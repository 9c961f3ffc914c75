"""Enlargement of the target bank: each new row against its formula, and that it is no neighbour of its parent."""

import numpy as np
import pytest

from echobank.detection.bank import Bank, Row
from echobank.detection.enlarge import memmixup, smote
from echobank.errors import BankError


def make_bank(source=60, target=4):
    vectors = np.random.default_rng(0).standard_normal((source + target, 1, 5)).astype(np.float32)
    domains = ["source"] * source + ["target"] * target
    return Bank(vectors, tuple(Row(f"{i}", "m", domain=name) for i, name in enumerate(domains)))


def test_memmixup_mixes_each_target_with_its_nearest_sources():
    bank = make_bank()
    larger = memmixup(bank, neighbours=2, metric="euclidean")
    source, new = bank.vectors[:60, 0], iter(larger.vectors[64:, 0])
    for i in range(60, 64):
        near = np.argsort(np.linalg.norm(source - bank.vectors[i, 0], axis=1))[:2]
        for j in near:
            np.testing.assert_allclose(next(new), 0.9 * bank.vectors[i, 0] + 0.1 * source[j], rtol=1e-5, atol=1e-6)
    assert len(larger) == 64 + 8


def test_smote_lies_between_a_target_and_one_of_its_two_nearest():
    bank = make_bank()
    larger = smote(bank, ratio=0.2, metric="euclidean", seed=3)
    assert (larger.domains == "target").sum() == 12
    target = bank.vectors[60:, 0]
    for n, (vector, row) in enumerate(zip(larger.vectors[64:, 0], larger.rows[64:], strict=True)):
        parent, share = n % 4, float(row.augmentation.split("=")[1].split(":")[0])
        other = int(row.augmentation.split(":")[1]) - 60
        gaps = np.linalg.norm(target - target[parent], axis=1)
        assert other in np.argsort(gaps)[1:3]
        np.testing.assert_allclose(vector, target[parent] + share * (target[other] - target[parent]), atol=5e-3)
    assert np.array_equal(smote(bank, seed=3).vectors, smote(bank, seed=3).vectors)


@pytest.mark.parametrize("enlarge", [memmixup, smote])
def test_new_rows_are_marked_and_of_their_parents_group(enlarge):
    larger = enlarge(make_bank())
    assert all(row.augmentation and row.domain == "target" for row in larger.rows[64:])
    assert set(larger.groups[64:]) <= set(larger.groups[60:64]) and len(set(larger.groups[:64])) == 64


@pytest.mark.parametrize(
    ("enlarge", "shape"), [(memmixup, (5, 0)), (memmixup, (0, 3)), (smote, (5, 1)), (smote, (5, 0))]
)
def test_too_few_rows_are_refused(enlarge, shape):
    with pytest.raises(BankError):
        enlarge(make_bank(*shape))
