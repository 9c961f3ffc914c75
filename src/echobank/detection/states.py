"""Operating states: what a machine's bank would say of a state that it had never heard."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from echobank.detection.backends.base import Backend
from echobank.detection.bank import Bank, Row
from echobank.errors import BankError

Float64 = NDArray[np.float64]
Names = NDArray[np.str_]

FOLDS = 32  # most times that a back-end is fitted; more states than that are left out several at a time


def states_of(bank: Bank) -> Names:
    """Return the operating state of each row, str[N]: its attributes, or the row's group where it has none."""
    return np.array([_state(row) or f"\0{group}" for row, group in zip(bank.rows, bank.groups, strict=True)])


def _state(row: Row) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(row.attributes.items()))


def state_scores(bank: Bank, make: Callable[[], Backend]) -> Float64:
    """Return the score of each row against the bank without its operating state, float64[N].

    Beside the rows of a state, those of the same group (copies, identical files) are left out. The back-end is fitted
    again on what is left, so that nothing it learned knows the state.

    Args:
        bank: The bank.
        make: Gives an unfitted back-end.

    Raises:
        BankError: The bank has one state only, or too few rows are left without one for the back-end.
    """
    states = np.unique(states_of(bank), return_inverse=True)[1]
    if states.max() == 0:
        raise BankError(
            "the bank holds one operating state: what another would score is unknown",
            hint="set decision.leave_out to clip, or fit on recordings of several states",
        )
    folds = states % min(FOLDS, states.max() + 1)
    scores = np.empty(len(bank))
    for fold in np.unique(folds):
        out = folds == fold
        apart = ~np.isin(bank.groups, bank.groups[out])
        scores[out] = make().fit(bank.select(apart)).score(bank.vectors[out])
    return scores
