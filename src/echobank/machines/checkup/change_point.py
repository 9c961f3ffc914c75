"""Change points: since when, sudden or slow, by how much, with the interval of the time.

A step and a ramp are fitted by least squares. The interval of a step is the set of times whose log-likelihood is
within 2.97 of the best, which holds 90 %: for small changes the difference has the distribution (1 - e^-x)^2 (Yao,
Ann. Statist. 15, 1987; Hansen, Econometrica 68, 2000), for large ones the interval is wider than it must be.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

WITHIN = 2.97  # difference of log-likelihoods that holds 90 %
_GRID = 60
_LEAST = 3  # values on either side


@dataclass(frozen=True)
class ChangePoint:
    """A change of a series.

    Attributes:
        slow: Whether it came as a ramp, not as a step.
        begins: Index at which it begins.
        low: Earliest and ...
        high: ... latest index of its beginning, 90 % interval.
        ends: Index from which on the series stays where it is; that of the last value where it still moves.
        size: By how much the mean changed by the end.
        deviation: Standard deviation of the values around it.
    """

    slow: bool
    begins: int
    low: int
    high: int
    ends: int
    size: float
    deviation: float


def find_change(values: Float64, *, least_ramp: float = 2.0) -> ChangePoint | None:
    """Return the change of a series that explains it best, None where it is too short.

    Args:
        values: float64[T], in the order of time, independent but for the change.
        least_ramp: A ramp that is shorter, in values, counts as a step.
    """
    count = len(values)
    if count < 2 * _LEAST + 2:
        return None
    step, losses = _best_step(values)
    begins, ends, loss = _best_ramp(values)
    variance = max(min(loss, float(losses.min())) / count, 1e-24)
    better = (float(losses.min()) - loss) / (2 * variance)
    if better > WITHIN and ends - begins > least_ramp:
        low, high = _ramp_interval(values, begins, ends, loss, variance)
        size, deviation = _ramp_size(values, begins, ends)
        return ChangePoint(True, begins, low, high, ends, size, deviation)
    inside = np.flatnonzero((losses - losses.min()) / (2 * variance) <= WITHIN) + _LEAST
    before, after = values[:step], values[step:]
    size, deviation = float(after.mean() - before.mean()), float(np.sqrt(variance))
    return ChangePoint(False, step, int(inside[0]), int(inside[-1]), step, size, deviation)


def _best_step(values: Float64) -> tuple[int, Float64]:
    """Return where a step is best, and the sum of squares of each place from `_LEAST` on."""
    count = len(values)
    sums, squares = np.cumsum(values), float(np.sum(values**2))
    places = np.arange(_LEAST, count - _LEAST + 1)
    left = sums[places - 1]
    losses = squares - left**2 / places - (sums[-1] - left) ** 2 / (count - places)
    return int(places[np.argmin(losses)]), losses


def _best_ramp(values: Float64) -> tuple[int, int, float]:
    """Return begin and end of the best ramp, and its sum of squares; places on a grid, then finer around the best."""
    count = len(values)
    places = np.unique(np.linspace(_LEAST, count - 1, min(_GRID, count - _LEAST)).astype(int))
    best = _search(values, places, places)
    spacing = max(1, int(np.ceil((count - _LEAST) / _GRID)))
    if spacing > 1:
        near = [np.arange(max(_LEAST, at - spacing), min(count - 1, at + spacing) + 1) for at in best[:2]]
        fine = [np.unique(np.linspace(each[0], each[-1], 25).astype(int)) for each in near]
        best = min(best, _search(values, fine[0], fine[1]), key=lambda found: found[2])
    return best


def _search(values: Float64, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[int, int, float]:
    best = (int(begins[0]), int(ends[-1]), float("inf"))
    for begin in begins.tolist():
        later = ends[ends > begin]
        if not len(later):
            continue
        losses = _ramp_losses(values, begin, later)
        at = int(np.argmin(losses))
        if losses[at] < best[2]:
            best = (begin, int(later[at]), float(losses[at]))
    return best


def _ramp_losses(values: Float64, begin: int, ends: NDArray[np.int64]) -> Float64:
    """Return the sums of squares around ramps that begin at one place and end at several."""
    time = np.arange(len(values))
    shapes = np.clip((time - begin) / (ends[:, None] - begin), 0.0, 1.0)
    centred = values - values.mean()
    shapes = shapes - shapes.mean(axis=1, keepdims=True)
    power = np.maximum((shapes**2).sum(axis=1), 1e-12)
    losses: Float64 = float(np.sum(centred**2)) - (shapes @ centred) ** 2 / power
    return losses


def _ramp_interval(values: Float64, begins: int, ends: int, loss: float, variance: float) -> tuple[int, int]:
    """Return the earliest and the latest beginning of a ramp, its end free, that is nearly as good as the best."""
    count = len(values)
    coarse = np.linspace(_LEAST, count - 2, min(_GRID, count - _LEAST)).astype(int)
    spacing = max(1, count // _GRID)
    fine = np.linspace(begins - 2 * spacing, begins + 2 * spacing, 33).astype(int)
    places = np.unique(np.clip(np.concatenate((coarse, fine)), _LEAST, count - 2))
    later = np.unique(np.concatenate((coarse, np.clip(np.arange(ends - 8, ends + 9), _LEAST, count - 1), [count - 1])))
    good = [begins]
    for begin in places.tolist():
        after = later[later > begin]
        if len(after) and (_ramp_losses(values, begin, after).min() - loss) / (2 * variance) <= WITHIN:
            good.append(begin)
    return min(good), max(good)


def _ramp_size(values: Float64, begin: int, end: int) -> tuple[float, float]:
    shape = np.clip((np.arange(len(values)) - begin) / (end - begin), 0.0, 1.0)
    moved = shape - shape.mean()
    size = float(moved @ values / (moved @ moved))
    rest = values - values.mean() - size * moved
    return size, float(np.sqrt(np.mean(rest**2)))
