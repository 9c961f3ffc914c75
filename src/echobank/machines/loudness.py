"""Level alone beside the scores of a machine: which windows loudness would call anomalous by itself.

It is calibrated as the score is, on the bank's own windows with their recording left out. A detector that alarms where
level alone does cannot tell a fault from a change of the microphone's gain or distance.
"""

import numpy as np
from numpy.typing import NDArray

from echobank.detection.calibration import calibrate
from echobank.errors import InputError
from echobank.evaluation.level_alone import FOLLOWS, rank_correlation
from echobank.machines.gain import LEVEL
from echobank.machines.machine import Machine

Float64 = NDArray[np.float64]
_FEWEST = 10  # windows from which a rank correlation is worth a sentence


def level_beside(machine: Machine, levels: Float64, scores: Float64) -> tuple[str, ...]:
    """Return in words what level alone says of the windows that were scored; nothing where the bank holds no levels.

    Args:
        machine: The machine, at the rate in force.
        levels: Level of each window, dB of full scale, float64[W].
        scores: Its score, float64[W].
    """
    kept = machine.bank.extras.get(LEVEL)
    if kept is None or not len(levels):
        return ()
    known: Float64 = kept.astype(np.float64)
    groups = machine.bank.groups
    try:
        threshold = calibrate(nearest_other(known, groups), [str(group) for group in groups]).threshold(machine.rate)
    except InputError:  # windows that `compact` took away calibrate the score, and their levels are gone
        return ()
    called, odd = nearest_level(known, levels) > threshold, scores > machine.threshold
    both = int((called & odd).sum())
    said = [
        f"Level alone, the distance in dB to the nearest healthy window, would call {called.sum()} of {len(levels)} "
        f"windows anomalous, {both} of the {odd.sum()} that the score calls."
    ]
    if both and both == odd.sum():
        said.append(
            "So level alone does as well here: a change of the microphone's gain or distance would look the same."
        )
    correlation = rank_correlation(scores.tolist(), nearest_level(known, levels).tolist())
    if len(levels) >= _FEWEST and correlation >= FOLLOWS:
        said.append(
            f"The scores mostly follow level (rank correlation {correlation:.2f}): a change of the microphone's gain "
            "or distance would look the same."
        )
    return tuple(said)


def nearest_level(known: Float64, levels: Float64) -> Float64:
    """Return the distance in dB of each level float64[W] to the nearest of those known, float64[N]."""
    ordered = np.concatenate(([-np.inf], np.sort(known), [np.inf]))
    at = np.searchsorted(ordered, levels)
    distances: Float64 = np.minimum(levels - ordered[at - 1], ordered[at] - levels)
    return distances


def nearest_other(levels: Float64, groups: NDArray[np.int64]) -> Float64:
    """Return the distance in dB of each level to the nearest of another group, float64[N]; inf where there is none."""
    best = np.full(len(levels), np.inf)
    order = np.argsort(levels, kind="stable")
    for way in (order, order[::-1]):
        last = other = -1  # the last row that was passed, and the last one of another group than that
        for i in way:
            near = last if last < 0 or groups[last] != groups[i] else other
            if near >= 0:
                best[i] = min(best[i], abs(levels[i] - levels[near]))
            if last < 0 or groups[last] != groups[i]:
                other = last
            last = i
    return best
