import numpy as np
import pytest

from echobank.machines.checkup.change_point import find_change


def test_a_step_is_where_the_squares_are_least():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(80)
    values[50:] += 2.5
    found = find_change(values)
    losses = [
        ((values[:i] - values[:i].mean()) ** 2).sum() + ((values[i:] - values[i:].mean()) ** 2).sum()
        for i in range(3, 78)
    ]
    assert not found.slow and found.begins == int(np.argmin(losses)) + 3
    assert found.size == pytest.approx(values[found.begins :].mean() - values[: found.begins].mean())
    assert found.low <= found.begins <= found.high


def test_a_ramp_is_slow_and_a_step_is_not():
    rng = np.random.default_rng(1)
    time = np.arange(300)
    ramps = [find_change(rng.standard_normal(300) + 5 * np.clip((time - 100) / 100, 0, 1)) for _ in range(20)]
    steps = [find_change(rng.standard_normal(300) + 5 * (time >= 100)) for _ in range(20)]
    assert all(change.slow for change in ramps) and sum(change.slow for change in steps) <= 1
    assert np.median([change.begins for change in ramps]) == pytest.approx(100, abs=8)
    assert np.median([change.ends for change in ramps]) == pytest.approx(200, abs=8)
    assert np.median([change.size for change in ramps]) == pytest.approx(5, abs=0.4)


@pytest.mark.parametrize("size", [1.0, 2.0, 4.0])
def test_the_interval_holds_the_step_in_nine_of_ten(size):
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        values = rng.standard_normal(150)
        values[90:] += size
        change = find_change(values)
        held += change.low <= 90 <= change.high
    assert held >= 172  # 90 %, less three deviations


def test_the_interval_holds_the_beginning_of_a_ramp():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(60):
        values = rng.standard_normal(200) + 5 * np.clip((np.arange(200) - 80) / 60, 0, 1)
        change = find_change(values)
        held += change.low <= 80 <= change.high
    assert held >= 47


def test_too_few_values_have_no_change():
    assert find_change(np.arange(7.0)) is None
    assert find_change(np.zeros(30)) is not None


def test_the_interval_is_around_the_estimate():
    rng = np.random.default_rng(4)
    for i in range(30):
        change = find_change(rng.standard_normal(60 + 10 * i))
        assert 0 < change.low <= change.begins <= change.high < 60 + 10 * i
