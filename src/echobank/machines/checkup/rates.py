"""Rates of alarms: what quiet times gave, beside what the rate in force promised; and when the scores are high."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.detection.calibration import beta_interval
from echobank.machines.checkup.blocks import Blocks
from echobank.machines.checkup.hourly import Hours

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SURE = 0.01  # of each of three questions: by hour, by weekday, by state
_FEW = 5  # hours of a part of the day or week


@dataclass(frozen=True)
class Observed:
    """How many windows alarmed.

    Attributes:
        share: Their share.
        low: 5th and ...
        high: ... 95th percentile of where the true share lies, by the spread of independent blocks.
        blocks: How many blocks that rests on.
    """

    share: float
    low: float
    high: float
    blocks: int


def observed(hours: Hours, blocks: Blocks, first: int, last: int) -> Observed | None:
    """Return the share of windows that alarmed between two times; None where there are fewer than two blocks."""
    windows = np.bincount(blocks.hours, hours.windows, len(blocks))
    anomalous = np.bincount(blocks.hours, hours.anomalous, len(blocks))
    chosen = (blocks.begins >= first) & (blocks.begins < last) & (windows > 0)
    count = int(chosen.sum())
    if count < 2:
        return None
    shares = anomalous[chosen] / windows[chosen]
    mean = float(anomalous[chosen].sum() / windows[chosen].sum())
    spread = float(shares.std(ddof=1)) / np.sqrt(count)
    if spread == 0:  # none at all, or all: as many blocks of which none, or all, alarmed
        low, high = beta_interval(mean * count + (mean > 0), (1 - mean) * count + 1) if mean == 1 else (0.0, 0.0)
        high = 1 - 0.05 ** (1 / count) if mean == 0 else max(high, mean)
        return Observed(mean, low, high, count)
    return Observed(mean, max(0.0, mean - 1.645 * spread), min(1.0, mean + 1.645 * spread), count)


def parts_of_time(values: Float64, begins: Int64, states: NDArray[np.str_], since: int) -> tuple[str, ...]:
    """Return when, of the hours since a change, the values are higher than at other times; nothing where it is chance.

    Args:
        values: One per hour, float64[T], larger is stranger.
        begins: When each hour begins, milliseconds since 1970.
        states: Operating state that each was nearest to.
        since: The change.
    """
    after, before = begins >= since, begins < since
    if after.sum() < 24 or before.sum() < 24:
        return ()
    number = begins // 3_600_000
    day = (number // 24 + 3) % 7  # 1 January 1970 was a Thursday
    said = [
        _strongest(values, number % 24, before, after, lambda part: f"between {part:02d}:00 and {part + 1:02d}:00 UTC"),
        _strongest(values, day, before, after, lambda part: f"on {_WEEKDAYS[part]}s"),
    ]
    names, codes = np.unique(states, return_inverse=True)
    if len(names) > 1:
        said.append(_strongest(values, codes, before, after, lambda part: f"in the state {names[part] or 'unknown'}"))
    return tuple(filter(None, said))


def _strongest(values: Float64, parts: Int64, before: NDArray[np.bool_], after: NDArray[np.bool_], name: object) -> str:
    """Return in which part the values rose most, where parts differ by more than chance."""
    from scipy.special import chdtrc

    assert callable(name)
    rises, errors, found = [], [], []
    for part in np.unique(parts).tolist():
        one, two = (values[side & (parts == part)] for side in (before, after))
        one, two = one[~np.isnan(one)], two[~np.isnan(two)]
        if len(one) >= _FEW and len(two) >= _FEW:
            rises.append(float(two.mean() - one.mean()))
            errors.append(float(one.var(ddof=1) / len(one) + two.var(ddof=1) / len(two)))
            found.append(part)
    if len(found) < 2:
        return ""
    rise, weight = np.array(rises), 1 / np.maximum(np.array(errors), 1e-12)
    mean = float((rise * weight).sum() / weight.sum())
    chance = float(chdtrc(len(found) - 1, float(((rise - mean) ** 2 * weight).sum())))
    strongest = int(np.argmax(rise))
    if chance > _SURE or rise[strongest] < abs(mean) + 0.1:
        return ""
    return (
        f"scores rose most {name(found[strongest])}: {np.exp(rise[strongest]):.2g} times, "
        f"{np.exp(mean):.2g} times on the whole"
    )
