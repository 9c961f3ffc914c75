"""Transport: exact for families of location and scale, refused where nothing can be lent, the same in any order."""

import itertools

import numpy as np
import pytest

from echobank.detection.transport import DRAWS, transported
from echobank.errors import InputError


def slow_pivots(reference, n):
    """Every way to draw n scores, every other score in their mean and deviation; from the formula, by counting."""
    found = []
    for drawn in itertools.combinations(range(len(reference)), n):
        sample = [reference[i] for i in drawn]
        m = sum(sample) / n
        s = (sum((x - m) ** 2 for x in sample) / (n - 1)) ** 0.5
        found += [(reference[i] - m) / s for i in range(len(reference)) if i not in drawn]
    return np.sort(found)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.5])
def test_it_is_the_quantile_over_all_ways_to_draw(rate):
    rng = np.random.default_rng(3)
    reference, own = rng.gamma(2, 1, 12), rng.gamma(2, 3, 4)
    value = transported(reference, own, rate)[0]
    c = (value - own.mean()) / own.std(ddof=1)
    pivots = slow_pivots(reference, 4)
    assert abs(np.mean(pivots > c) - rate) < 3 * (0.25 / DRAWS) ** 0.5


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.2])
def test_the_rate_holds_for_ten_clips_of_a_moved_and_stretched_domain(rate):
    rng, rates = np.random.default_rng(0), []
    for _ in range(100):
        reference, own = rng.gamma(3, 1, 200), 7 + 2.5 * rng.gamma(3, 1, 10)
        value, low, high = transported(reference, own, rate)
        rates.append(np.mean(7 + 2.5 * rng.gamma(3, 1, 2000) > value))
        assert low <= rate <= high
    assert abs(np.mean(rates) - rate) < 0.2 * rate + 0.006
    assert 0.8 < np.mean([low <= x <= high for x in rates]) < 0.99  # nine chances in ten, and the reference is a sample


def test_the_mean_and_deviation_alone_would_raise_too_many():
    rng, plain, wanted = np.random.default_rng(0), [], 0.01
    for _ in range(300):
        reference, own = rng.gamma(3, 1, 400), rng.gamma(3, 1, 10)
        c = (np.quantile(reference, 1 - wanted) - reference.mean()) / reference.std(ddof=1)
        plain.append(np.mean(rng.gamma(3, 1, 2000) > own.mean() + c * own.std(ddof=1)))
    assert np.mean(plain) > 2 * wanted


def test_it_moves_and_stretches_with_the_domain_and_not_with_the_reference():
    rng = np.random.default_rng(0)
    reference, own = rng.gamma(3, 1, 60), rng.gamma(3, 1, 10)
    value, low, high = transported(reference, own, 0.05)
    np.testing.assert_allclose(transported(reference, 4 + 3 * own, 0.05), [4 + 3 * value, low, high], rtol=1e-9)
    np.testing.assert_allclose(transported(5 + 9 * reference, own, 0.05), [value, low, high], rtol=1e-9)
    np.testing.assert_array_equal(transported(rng.permutation(reference), own, 0.05), [value, low, high])


def test_a_huge_reference_is_thinned_and_changes_little():
    rng = np.random.default_rng(0)
    reference, own = rng.gamma(3, 1, 50_000), rng.gamma(3, 1, 10)
    near = transported(reference[:2000], own, 0.05)[0]
    assert abs(transported(reference, own, 0.05)[0] / near - 1) < 0.05


@pytest.mark.parametrize(
    ("reference", "own", "message"),
    [
        (np.arange(50.0), np.array([1.0]), "transport needs 2"),
        (np.arange(19.0), np.arange(10.0), "twice as many"),
        (np.arange(50.0), np.ones(10), "do not vary"),
        (np.repeat([0.0, 1.0], [60, 1]), np.arange(2.0), None),
        (np.repeat([0.0, 1.0], [10, 10]), np.arange(2.0), "do not vary"),
    ],
)
def test_scores_that_lend_nothing_are_refused(reference, own, message):
    if message is None:
        assert np.isfinite(transported(reference, own, 0.05)[0])
    else:
        with pytest.raises(InputError, match=message):
            transported(reference, own, 0.05, "target")
