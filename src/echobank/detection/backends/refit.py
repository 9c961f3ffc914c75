"""Leave-one-out by fitting again, for back-ends that have no shorter way."""

import dataclasses
from typing import Any

import numpy as np

from echobank.detection.backends.base import Float64
from echobank.detection.bank import Bank
from echobank.errors import BankError
from echobank.models.workers import single_threaded, start_workers

LIMIT = 256  # groups up to which each is left out on its own
FOLDS = 32  # above, as many parts of the groups are left out one after the other


def refit_scores(backend: Any, bank: Bank, limit: int = LIMIT, folds: int = FOLDS) -> Float64:
    """Return the score of each row by a back-end fitted without its group, float64[N].

    Exact up to `limit` groups. Above, the groups are dealt into `folds` parts and a row is scored without its part: a
    slightly smaller bank than without its group alone, so that scores tend to be slightly larger.

    Args:
        backend: A dataclass; its copies are fitted.
        bank: The bank.
        limit: Most groups that are left out one by one.
        folds: Parts otherwise.

    Raises:
        BankError: The bank has one group only, or without a group it is too small.
    """
    parts = bank.groups if bank.groups.max() < limit else bank.groups % folds
    if parts.max() == 0:
        raise BankError(
            "a bank of one group cannot score itself", value=f"{len(bank)} rows", hint="add healthy recordings"
        )
    scores = np.empty(len(bank))

    def leave_out(part: int) -> None:
        out = parts == part
        scores[out] = dataclasses.replace(backend).fit(bank.select(~out)).score(bank.vectors[out])

    with single_threaded(), start_workers() as workers:  # threads inside small products would only wait
        for _ in workers.map(leave_out, np.unique(parts)):
            pass
    return scores
