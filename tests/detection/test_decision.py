"""Thresholds: conformal order statistics, the gamma of the baseline, and rates that cannot be had."""

import numpy as np
import pytest
from scipy import stats

from echobank.detection.decision import ASSUMES, FEW, METHODS, calibrate, decide, p_values
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


@pytest.mark.parametrize("seed", range(6))
def test_a_gamma_fit_that_runs_away_is_taken_again_from_zero(seed):
    scores = np.random.default_rng(seed).gamma(3.5, 7e-5, 200)
    free = stats.gamma.ppf(0.9, *stats.gamma.fit(scores))
    (threshold,) = calibrate(scores, np.full(200, "source"), "gamma", 0.1)
    assert (free > scores.max()) == (seed in (0, 1)) == (threshold.value != free)
    assert 0.05 < (scores > threshold.value).mean() < 0.15
    (rarer,) = calibrate(scores, np.full(200, "source"), "gamma", 0.01)
    assert threshold.value < rarer.value < 2 * scores.max()


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


def state_p(x, scores, states):
    """The p-value of a clip of a new state, from the formula: the share of each state that scores x or more."""
    shares = [np.mean([score >= x for score in scores[states == name]]) for name in sorted(set(states))]
    return (1 + sum(shares)) / (len(shares) + 1)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("method", ["quantile", "pooled"])
def test_with_states_left_out_it_alarms_just_where_the_p_value_of_a_new_state_is_at_most_the_rate(method, seed):
    rng = np.random.default_rng(seed)
    states = np.sort(rng.choice(list("abcdefghi"), 40))
    scores = np.round(rng.gamma(3, 1, 40), int(rng.integers(0, 3)))  # some with many ties
    for rate in (0.1, 0.25, 0.5, 0.9):
        (threshold,) = calibrate(scores, np.full(40, ""), method, rate, states)
        asked = np.concatenate([scores, scores + 1e-9, scores - 1e-9, [-1.0]])
        allowed = np.array([state_p(x, scores, states) <= rate + 1e-9 for x in asked])
        assert np.array_equal(decide(asked, None, [threshold]) == 1, allowed)
        assert (threshold.n, threshold.states) == (40, len(set(states)))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.37])
def test_where_each_clip_is_a_state_both_ways_of_leaving_out_agree(rate):
    scores, domains = scores_of()
    states = np.array([f"{i}" for i in range(len(scores))])
    for clip, state in zip(
        calibrate(scores, domains, "quantile", rate), calibrate(scores, domains, "quantile", rate, states), strict=True
    ):
        assert (clip.value, clip.low, clip.high) == (state.value, state.low, state.high)


def test_few_states_refuse_what_their_many_clips_would_support():
    scores, states = np.arange(100.0), np.repeat(list("abcd"), 25)
    assert calibrate(scores, np.full(100, ""), "quantile", 0.2, states)[0].states == 4
    with pytest.raises(InputError, match=r"4 operating states.* 0\.2 at the least"):
        calibrate(scores, np.full(100, ""), "quantile", 0.19, states)


def test_transport_takes_the_large_domains_as_they_are_and_moves_only_the_few():
    rng = np.random.default_rng(0)
    scores = rng.gamma(3, 1, 100 + FEW + 10)
    domains = np.repeat(["large", "medium", "small"], [100, FEW, 10])
    found = {t.domain: t for t in calibrate(scores, domains, "transport", 0.05)}
    plain = calibrate(scores[:-10], domains[:-10], "quantile", 0.05)
    assert [found[t.domain].value for t in plain] == [t.value for t in plain]
    assert found["small"].n == 10 and 0 <= found["small"].low < 0.05 < found["small"].high
    with pytest.raises(InputError, match="100 normal clips"):
        calibrate(scores, domains, "transport", 0.005)


def test_transport_with_states_left_out_allows_for_as_many_clips_as_there_are_states():
    rng = np.random.default_rng(0)
    scores, domains = rng.gamma(3, 1, 130), np.repeat(["source", "target"], [120, 10])
    states = np.array([f"{i % 12}" for i in range(120)] + [f"t{i % 5}" for i in range(10)])
    clips = calibrate(scores, domains, "transport", 0.05)
    source, target = calibrate(scores, domains, "transport", 0.05, states)
    assert (source.states, target.states, source.n) == (12, 5, 120)
    assert source.value == clips[0].value and source.high > clips[0].high
    np.testing.assert_allclose([source.low, source.high], stats.beta.ppf([0.05, 0.95], 0.65, 12.35))


@pytest.mark.parametrize("method", METHODS)
def test_no_order_of_the_clips_changes_a_threshold(method):
    scores, domains = scores_of(source=60, target=10)
    states = np.array([f"{i % 13}" for i in range(70)])
    order = np.random.default_rng(1).permutation(70)
    for groups in (None, states):
        shuffled = calibrate(scores[order], domains[order], method, 0.2, None if groups is None else groups[order])
        for a, b in zip(calibrate(scores, domains, method, 0.2, groups), shuffled, strict=True):
            assert a.domain == b.domain and np.isclose(a.value, b.value, rtol=1e-9)


def test_every_method_says_what_it_assumes():
    assert ASSUMES.keys() == METHODS.keys() and all(ASSUMES.values())
