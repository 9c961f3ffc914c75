"""Regimes: the changes of a series of blocks, one after another, found by the sequential test and then described."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from echobank.machines.checkup.blocks import DAY, FIRST_DAYS, Blocks, typical
from echobank.machines.checkup.change_point import find_change
from echobank.machines.checkup.martingale import watch_for_change

Float64 = NDArray[np.float64]

LEAST_BLOCKS = 20  # blocks below which nothing is said
_LOOK_BACK = 365  # days before an alarm in which its beginning is sought
_LOOK_ON = 60  # days after an alarm that describe it
_UNKNOWN = 14  # days before an alarm in which a change that no fit finds may have begun
_STILL = 2  # days before the end in which a slow change counts as going on
_MOST = 40  # changes of a series; more are noise that no test was made for


@dataclass(frozen=True)
class Shift:
    """A change of a series; times are milliseconds since 1970.

    Attributes:
        alarm: When the test found it.
        slow: Whether it came as a ramp.
        since: When it began ...
        low: ... at the earliest ...
        high: ... and at the latest, 90 % interval.
        ends: From when on the series stays where it is.
        going_on: Whether a slow one had not ended when the series did.
        size: By how much the series moved.
        deviation: Standard deviation of the series around it.
    """

    alarm: int
    slow: bool
    since: int
    low: int
    high: int
    ends: int
    going_on: bool
    size: float
    deviation: float


def shifts_of(values: Float64, blocks: Blocks, false_alarms: float) -> list[Shift]:
    """Return the changes of a series, in the order of time.

    Args:
        values: One per block, float64[B]; NaN where it has none.
        blocks: The blocks.
        false_alarms: Bound on false alarms per year, on average.
    """
    new = blocks.innovations(values)
    known = np.flatnonzero(~np.isnan(new))
    new = new[known]
    series, begins, slots = values[known], blocks.begins[known], blocks.slots[known]
    bound = blocks.a_year / false_alarms
    found: list[Shift] = []
    start = 0
    while len(series) - start >= LEAST_BLOCKS and len(found) < _MOST:
        alarm = watch_for_change(new[start:], slots[start:], bound, seed=start).alarm
        if alarm is None:
            break
        alarm += start
        shift, start_next = _described(series, begins, slots, start, alarm, blocks.length)
        start = max(start_next, start + 1)
        if found and _same(found[-1], shift):
            shift = replace(
                found[-1], ends=shift.ends, going_on=shift.going_on, size=found[-1].size + shift.size, slow=True
            )
            found.pop()
        found.append(shift)
    return found


def _described(
    series: Float64, begins: NDArray[np.int64], slots: NDArray[np.int64], start: int, alarm: int, length: int
) -> tuple[Shift, int]:
    """Return the change that led to an alarm, and where the next regime starts."""
    first = max(start, int(np.searchsorted(begins, begins[alarm] - _LOOK_BACK * DAY)))
    last = int(np.searchsorted(begins, begins[alarm] + _LOOK_ON * DAY))
    early = min(int(np.searchsorted(begins, begins[first] + FIRST_DAYS * DAY)), first + max(1, (alarm - first) // 2))
    usual = typical(series[first:early], slots[first:early])
    missing = np.zeros(int(slots.max()) + 1 - len(usual))
    rest = series[first:last] - np.append(usual, missing + np.median(usual))[slots[first:last]]
    spread = max(float(np.median(np.abs(np.diff(rest)))) * 1.4826, 1e-9)
    low, high = np.quantile(rest, (0.1, 0.9))
    rest = np.clip(rest, low - 10 * spread, high + 10 * spread)  # a single wild block is no change
    least = max(2.0, 48 / length)
    change = find_change(rest, least_ramp=least)
    if change is not None and change.begins + first > alarm:  # a greater one came later: what was before it
        last = first + change.begins
        change = find_change(rest[: change.begins], least_ramp=least)
    end = int(begins[-1])
    if change is None or change.begins + first > alarm:
        at = int(begins[alarm])
        size = float(np.median(rest[alarm - first : last - first]) - np.median(rest[: max(1, alarm - first)]))
        low = max(int(begins[start]), at - _UNKNOWN * DAY)
        return Shift(at, False, at, low, at, at, False, size, spread), alarm + 1
    since, low, high = (int(begins[first + place]) for place in (change.begins, change.low, change.high))
    ends = int(begins[min(first + change.ends, len(begins) - 1)])
    going_on = change.slow and (ends >= end - _STILL * DAY)
    shift = Shift(int(begins[alarm]), change.slow, since, low, high, ends, going_on, change.size, change.deviation)
    after = first + (min(change.ends, last - first - 1) if change.slow else change.begins)
    return shift, max(after, start + 1)


def _same(before: Shift, after: Shift) -> bool:
    """Return whether a change only goes on with a slow one before it."""
    near = after.low <= before.ends + 30 * DAY
    return before.slow and near and np.sign(before.size) == np.sign(after.size) and (after.slow or before.going_on)
