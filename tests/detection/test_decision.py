"""Thresholds: conformal order statistics, the gamma of the baseline, and rates that cannot be had."""

import numpy as np
import pytest
from scipy import stats

from echobank.detection.decision import METHODS, calibrate, decide, p_values
from echobank.errors import ConfigError, InputError


def scores_of(seed=0, source=99, target=19):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.gamma(3, 1, source), rng.gamma(3, 2, target)])
    return scores, np.array(["source"] * source + ["target"] * target)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.37])
def test_a_quantile_alarms_just_where_the_p_value_is_at_most_the_rate(rate):
    scores, domains = scores_of()
    for threshold in calibrate(scores, domains, "quantile", rate):
        own = scores[domains == threshold.domain]
        asked = np.concatenate([own, own + 1e-9, own - 1e-9])
        assert np.array_equal(decide(asked, None, [threshold]) == 1, p_values(asked, own) <= rate + 1e-12)


def test_the_true_rate_is_the_one_stated():
    rng, rates = np.random.default_rng(0), []
    for _ in range(2000):
        (threshold,) = calibrate(rng.random(19), np.full(19, ""), "quantile", 0.1)
        rates.append(1 - threshold.value)  # of uniform scores
    assert abs(np.mean(rates) - 0.1) < 0.005
    np.testing.assert_allclose(np.quantile(rates, [0.05, 0.95]), [threshold.low, threshold.high], atol=0.02)


def test_an_unknown_domain_is_held_against_the_largest():
    scores, domains = scores_of()
    thresholds = calibrate(scores, domains, "quantile", 0.1)
    low, high = sorted(threshold.value for threshold in thresholds)
    between = np.full(3, (low + high) / 2)
    assert decide(between, None, thresholds).tolist() == [0, 0, 0]
    assert decide(between, ["source", "target", "elsewhere"], thresholds).tolist() == [1, 0, 0]


def test_gamma_is_that_of_the_baseline():
    scores, domains = scores_of()
    (threshold,) = calibrate(scores, domains, "gamma", 0.1)
    assert threshold.value == stats.gamma.ppf(0.9, *stats.gamma.fit(scores))
    assert calibrate(np.ones(4), np.full(4, "source"), "gamma", 0.1)[0].value == 1.0


@pytest.mark.parametrize("method", ["quantile", "pooled"])
def test_a_rate_below_one_in_n_plus_one_is_refused(method):
    scores, domains = scores_of(source=10, target=0)
    assert calibrate(scores, domains, method, 1 / 11)
    with pytest.raises(InputError, match=r"10 normal clips.* 0\.0909"):
        calibrate(scores, domains, method, 0.09)


@pytest.mark.parametrize("method", METHODS)
def test_bad_input_is_one_line(method):
    for scores, rate in (
        (np.array([1.0, np.nan]), 0.1),
        (np.array([]), 0.1),
        (np.arange(9.0), 0.0),
        (np.arange(9.0), 1),
    ):
        with pytest.raises(InputError):
            calibrate(scores, np.full(len(scores), "source"), method, rate)


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean gamma"):
        calibrate(np.arange(9.0), np.full(9, ""), "gama", 0.1)
