"""Calibration: conformal p-values that keep their promise, counted in groups."""

import numpy as np
import pytest
from scipy import stats

from echobank.detection.calibration import beta_interval, calibrate
from echobank.errors import InputError


def own_groups(scores):
    return calibrate(np.asarray(scores, float), [str(i) for i in range(len(scores))])


def test_one_window_a_group_is_the_usual_conformal_p_value():
    rng = np.random.default_rng(0)
    scores, queries = rng.standard_normal(50), np.append(rng.standard_normal(200), [np.inf, -np.inf])
    expected = [(1 + (scores >= q).sum()) / 51 for q in queries]
    assert own_groups(scores).p_values(queries) == pytest.approx(expected)


def test_decisions_by_threshold_and_by_p_value_agree():
    rng = np.random.default_rng(1)
    groups = [f"g{i // 7}" for i in range(210)]
    scores = np.round(rng.standard_normal(210), 1)  # with ties
    calibration = calibrate(scores, groups)
    queries = np.round(rng.standard_normal(500) * 2, 1)
    for rate in (1 / 31, 0.05, 0.1, 0.5):
        by_p = calibration.p_values(queries) <= rate + 1e-12
        assert np.array_equal(queries > calibration.threshold(rate), by_p)


def test_windows_of_a_loud_recording_count_as_one_group():
    alone = calibrate(np.array([0.0, 1, 2, 3]), ["a", "b", "c", "d"])
    repeated = calibrate(np.array([0.0, 1, 2] + [3] * 100), ["a", "b", "c"] + ["d"] * 100)
    assert repeated.p_values(np.array([2.5])) == pytest.approx(alone.p_values(np.array([2.5])))
    assert repeated.smallest_rate == alone.smallest_rate == 0.2


def test_false_alarms_keep_to_the_rate_when_windows_of_a_recording_are_alike():
    rng = np.random.default_rng(2)
    alarms = []
    for _ in range(400):
        offsets = rng.standard_normal(40)  # a recording's own shade, shared by its windows
        scores = offsets.repeat(10) + 0.1 * rng.standard_normal(400)
        calibration = calibrate(scores, [str(i) for i in np.arange(40).repeat(10)])
        new = rng.standard_normal() + 0.1 * rng.standard_normal(10)
        alarms.append((new > calibration.threshold(0.1)).mean())
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.035)


def test_a_rate_that_is_not_supported_is_refused_with_the_smallest_that_is():
    with pytest.raises(InputError, match=r"10 independent .* a false-alarm rate of 9\.09 % at the least, not of 5 %"):
        own_groups(range(10)).threshold(0.05)
    assert own_groups(range(10)).usual_rate() == pytest.approx(1 / 11)
    assert own_groups(range(100)).usual_rate() == 0.05


def test_the_interval_is_the_beta_interval_of_the_field():
    low, high = own_groups(range(99)).interval(0.05)  # 2.0-9.0 % with 99 clips
    assert (round(100 * low, 1), round(100 * high, 1)) == (2.0, 9.0)


@pytest.mark.parametrize("n", [1, 2, 19, 100, 9999])
def test_the_interval_is_that_of_the_beta_distribution(n):
    for k in {0.05 * (n + 1), 0.3, 1, max(1, n // 10), n}:
        expected = stats.beta.ppf((0.05, 0.95), k, n + 1 - k)
        assert beta_interval(k, n + 1 - k) == pytest.approx(expected, rel=1e-12, abs=1e-12)
