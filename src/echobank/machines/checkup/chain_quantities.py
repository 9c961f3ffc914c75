"""Quantities of the recording chain that are watched, hour by hour."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.data.sound_facts import NAMES, OTHER, THIRDS
from echobank.machines.checkup.hourly import Hours

Float64 = NDArray[np.float64]

_EDGE_BANDS = 5  # thirds at either end that count as treble and bass


@dataclass(frozen=True)
class ChainQuantity:
    """A quantity of the recording chain that is watched.

    Attributes:
        read: Hours to one value each, dB.
        least: Change in dB that is worth a sentence.
    """

    read: Callable[[Hours], Float64]
    least: float


def _fact(name: str) -> Callable[[Hours], Float64]:
    at = NAMES.index(name)
    return lambda hours: np.asarray(hours.facts[:, at], np.float64)


def _tilt(end: int) -> Callable[[Hours], Float64]:
    """Return what reads the level of the highest (-1) or the lowest (1) thirds over the level of all, dB."""

    def read(hours: Hours) -> Float64:
        thirds = hours.facts[:, THIRDS].astype(np.float64)
        used = np.flatnonzero((~np.isnan(thirds)).mean(axis=0) > 0.5)
        if len(used) < 3 * _EDGE_BANDS:
            return np.full(len(hours), np.nan)
        edge = used[:_EDGE_BANDS] if end > 0 else used[-_EDGE_BANDS:]
        rest = used[_EDGE_BANDS:-_EDGE_BANDS]
        return np.asarray(thirds[:, edge].mean(axis=1) - thirds[:, rest].mean(axis=1))

    return read


QUANTITIES = {
    "level": ChainQuantity(lambda hours: hours.level, 1.0),
    "floor": ChainQuantity(_fact("floor"), 1.5),
    "offset": ChainQuantity(_fact("offset"), 6.0),
    "clipped": ChainQuantity(_fact("clipped"), 6.0),
    "hum 50": ChainQuantity(_fact("hum 50"), 6.0),
    "hum 60": ChainQuantity(_fact("hum 60"), 6.0),
    "dead": ChainQuantity(_fact("dead"), 6.0),
    "treble": ChainQuantity(_tilt(-1), 1.5),
    "bass": ChainQuantity(_tilt(1), 2.0),
    "beside": ChainQuantity(lambda hours: hours.level - _fact(OTHER)(hours), 1.0),
}
