"""Episodes: changes of scores and of quantities of the sound that came together, and what they most likely are."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.machines.checkup.blocks import DAY, Blocks, independent_blocks
from echobank.machines.checkup.chain_quantities import QUANTITIES
from echobank.machines.checkup.hourly import Hours
from echobank.machines.checkup.recording_chain import cause_of
from echobank.machines.checkup.regimes import Shift, shifts_of
from echobank.machines.checkup.sound_change import Cause, Sides

Float64 = NDArray[np.float64]

SCORE = "score"
ALARMS = "alarms"
FALSE_ALARMS = 0.1  # a year, of all tests of a checkup together
_OF_SCORES = 0.5  # share of it that the scores have
_CHAIN_HOURS = 6  # blocks of the quantities of the sound are no shorter
_BEFORE_DAYS, _AFTER_DAYS = 28, 14
_TOGETHER_DAYS = 3  # changes whose intervals come so near are one
_LEAST = {SCORE: 0.03, ALARMS: 0.03}  # of the logarithm of the score; of the share of windows that alarm


@dataclass(frozen=True)
class Episode:
    """Changes that came together.

    Attributes:
        shifts: By the name of what changed: `SCORE`, `ALARMS`, or one of `QUANTITIES`.
        cause: What it most likely is.
    """

    shifts: Mapping[str, Shift]
    cause: Cause

    @property
    def leading(self) -> Shift:
        """The change that dates it: the sudden one whose time is known best, else that of the scores."""
        sudden = [shift for shift in self.shifts.values() if not shift.slow]
        if sudden:
            return min(sudden, key=lambda shift: shift.high - shift.low)
        return self.judged or min(self.shifts.values(), key=lambda shift: shift.since)

    @property
    def judged(self) -> Shift | None:
        """The change of the scores, or of the share that alarms; None where neither moved."""
        return self.shifts.get(SCORE) or self.shifts.get(ALARMS)

    @property
    def found(self) -> int:
        """When the first test found it, milliseconds since 1970."""
        return min(shift.alarm for shift in self.shifts.values())


def log_scores(hours: Hours) -> Float64:
    """Return the natural logarithm of the median score of each hour, float64[T]."""
    return np.asarray(np.log(np.maximum(hours.score, 1e-12)))


def score_shifts(hours: Hours, false_alarms: float = FALSE_ALARMS) -> tuple[Blocks, list[tuple[str, Shift]]]:
    """Return the blocks of the scores, and the changes of their median and of the share that alarms, by name.

    A state that is new, and there for a part of the time, moves no median.

    Args:
        hours: Hours that one revision of the bank judged, sorted by time.
        false_alarms: As `FALSE_ALARMS`.
    """
    values = log_scores(hours)
    blocks = independent_blocks(hours, values)
    rate = false_alarms * _OF_SCORES / 2
    found = [(SCORE, shift) for shift in shifts_of(blocks.medians(values), blocks, rate)]
    shares = hours.anomalous / np.maximum(hours.windows, 1)
    of_shares = independent_blocks(hours, shares, _CHAIN_HOURS)
    found += [(ALARMS, shift) for shift in shifts_of(of_shares.means(shares), of_shares, rate)]
    return blocks, [(name, shift) for name, shift in found if abs(shift.size) >= _LEAST[name]]


def sound_shifts(hours: Hours, false_alarms: float = FALSE_ALARMS) -> list[tuple[str, Shift]]:
    """Return the changes of the quantities of the sound, by name; those that are too small for a sentence are not."""
    found: list[tuple[str, Shift]] = []
    for name, quantity in QUANTITIES.items():
        values = quantity.read(hours)
        if (~np.isnan(values)).sum() < 2:
            continue
        known = hours.take(~np.isnan(values))
        values = values[~np.isnan(values)]
        blocks = independent_blocks(known, values, _CHAIN_HOURS)
        rate = false_alarms * (1 - _OF_SCORES) / len(QUANTITIES)
        shifts = shifts_of(blocks.means(values), blocks, rate)
        found += [(name, shift) for shift in shifts if abs(shift.size) >= quantity.least]
    return found


def episodes_of(hours: Hours, shifts: list[tuple[str, Shift]]) -> list[Episode]:
    """Return the changes that came together, in the order of time, each with its most likely cause.

    Args:
        hours: All hours, of every revision, sorted by time.
        shifts: Changes by name, of the scores and of the quantities of the sound.
    """
    every = sorted(shifts, key=lambda pair: pair[1].since)
    groups: list[dict[str, Shift]] = []
    for name, shift in every:
        home = next((group for group in groups if name not in group and _together(group, shift)), None)
        if home is None:
            groups.append({name: shift})
        else:
            home[name] = shift
    return [Episode(group, cause_of(_sides(hours, group, groups))) for group in groups]


def _together(group: Mapping[str, Shift], shift: Shift) -> bool:
    margin = _TOGETHER_DAYS * DAY
    for other in group.values():
        apart = max(shift.low, other.low) - min(shift.high, other.high)
        both_slow = shift.slow and other.slow
        overlap = min(shift.ends, other.ends) - max(shift.since, other.since)
        if apart <= margin or (both_slow and overlap > 0):
            return True
    return False


def _sides(hours: Hours, group: Mapping[str, Shift], groups: list[dict[str, Shift]]) -> Sides:
    """Return the sound before and after an episode, up to its neighbours."""
    begin = min(shift.low for shift in group.values())
    slow = all(shift.slow for shift in group.values())
    end = max(shift.ends if shift.slow else shift.high for shift in group.values())
    others = [shift for other in groups if other is not group for shift in other.values()]
    first = max([begin - _BEFORE_DAYS * DAY, *(it.ends for it in others if it.ends < begin - DAY)])
    last = min([end + _AFTER_DAYS * DAY, *(it.low for it in others if it.low > end + DAY)])
    newest = int(hours.begins[-1])
    if last > newest:  # it goes on, or has just ended
        last, end = newest + 1, min(end, newest - 3 * DAY)
    before = _mean(hours, first, begin)
    return Sides(before, _mean(hours, max(end, begin + 1), last + 1), slow)


def _mean(hours: Hours, first: int, last: int) -> Float64:
    """Return the means of the facts of some hours, dB; NaN where there are none."""
    chosen = (hours.begins >= first) & (hours.begins < last)
    facts = hours.facts[chosen].astype(np.float64)
    known = ~np.isnan(facts)
    count = known.sum(axis=0)
    sums = np.where(known, facts, 0.0).sum(axis=0)
    return np.where(count >= max(1, len(facts) // 4), sums / np.maximum(count, 1), np.nan)
