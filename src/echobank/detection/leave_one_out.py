"""What a bank says of itself: the score of each row without its group, and of windows that only calibrate."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class SelfScores:
    """Scores of a bank's rows, each against the bank without it.

    Attributes:
        scores: Without the row's group, float64[N].
        states: Without the row's operating state, float64[N]; None where that was not asked for.
        nearest: Nearest row of another group, int64[N]; None where that is not known.
        distances: How far that one is, in the bank's metric, float64[N]; None as `nearest`.
    """

    scores: Float64
    states: Float64 | None = None
    nearest: Int64 | None = None
    distances: Float64 | None = None


@dataclass(frozen=True)
class Dropped:
    """Windows that only calibrate: the bank was compacted, and they are not among its rows.

    Attributes:
        scores: Score of each against the rows of other groups, float64[M].
        groups: Group of each, M names.
    """

    scores: Float64 = field(default_factory=lambda: np.zeros(0))
    groups: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.groups)
