import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobank.machines.checkup.martingale import POWERS, conformal_p_values, watch_for_change


def none(count):
    return np.zeros(count, np.int64)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=40))
def test_p_values_count_what_was_as_large_in_the_class_so_far(pairs):
    values, classes = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    found = conformal_p_values(values, classes)
    for i, (value, name) in enumerate(zip(values, classes, strict=True)):
        earlier = values[: i + 1][classes[: i + 1] == name]
        above, equal = (earlier > value).sum(), (earlier == value).sum()
        assert above / len(earlier) <= found[i] <= (above + equal) / len(earlier)


def test_p_values_of_exchangeable_values_are_uniform_and_independent():
    rng = np.random.default_rng(0)
    values = rng.gamma(0.5, size=(300, 40)) * rng.choice([1.0, 50.0], size=(300, 1))  # any distribution
    found = np.array([conformal_p_values(row, none(40), seed) for seed, row in enumerate(values)])
    for moment, exact in ((1, 1 / 2), (2, 1 / 3), (3, 1 / 4)):
        assert (found**moment).mean() == pytest.approx(exact, abs=0.01)
    neighbours = np.corrcoef(found[:, 1:-1].ravel(), found[:, 2:].ravel())[0, 1]
    assert abs(neighbours) < 0.03


def test_the_statistic_is_the_mean_of_the_bets_carried_on():
    values = np.random.default_rng(1).standard_normal(30)
    found = watch_for_change(values, none(30), 1e9)
    carried = {(power, up): 0.0 for power in POWERS for up in (True, False)}
    for i, p in enumerate(found.p_values):
        for (power, up), before in carried.items():
            carried[power, up] = (before + 1) * power * (p if up else 1 - p) ** (power - 1)
        assert 10 ** found.evidence[i] == pytest.approx(np.mean(list(carried.values())))


def test_false_alarms_are_no_more_often_than_the_bound_says():
    rng = np.random.default_rng(2)
    bound, length, runs = 500.0, 500, 200
    alarms = sum(
        watch_for_change(rng.standard_normal(length), none(length), bound).alarm is not None for _ in range(runs)
    )
    assert alarms <= 1.2 * runs * length / bound / 2  # exact on average: at most one per bound; here far fewer


def test_a_class_of_its_own_for_each_time_of_day_is_no_change():
    rng = np.random.default_rng(3)
    classes = np.arange(24 * 200) % 24
    values = 5 * np.sin(2 * np.pi * classes / 24) + 0.1 * rng.standard_normal(len(classes))
    assert watch_for_change(values, classes, 24 * 365 / 0.1).alarm is None
    values[24 * 100 :] += 0.2
    alarm = watch_for_change(values, classes, 24 * 365 / 0.1).alarm
    assert 24 * 100 <= alarm < 24 * 104


@pytest.mark.parametrize("direction", [1, -1])
def test_changes_up_and_down_are_found(direction):
    values = np.random.default_rng(4).standard_normal(400)
    values[100:] += direction * 2
    assert 100 <= watch_for_change(values, none(400), 1e4).alarm < 130


def test_equal_values_are_no_change():
    assert watch_for_change(np.ones(3000), none(3000), 1e4).alarm is None
