"""The default of own machines, local density normalisation with K = 16 (docs/results.md), and banks it does not suit.

The density of a row is that of its K nearest rows of other groups, and leave-one-out takes another group away. A bank
of a few recordings has fewer than 16 such rows, and a bank of very many takes too long: one place decides what is done
instead, when a bank is fitted or has lost rows, and the header of the bank says it from then on.
"""

from dataclasses import replace

import numpy as np

from echobank.detection.bank import Bank
from echobank.detection.header import Scoring

BACKEND = "ldn"
K = 16
MOST_ROWS = 5000  # leave-one-out is quadratic: 6 s and 0.8 GB at 5000 rows of 1024 values, 23 s and 1.9 GB at 10,000


def is_default(scoring: Scoring | None) -> bool:
    """Return whether this is the back-end that `fit` takes by itself, whatever its metric and k."""
    return scoring is not None and scoring.backend == BACKEND and dict(scoring.params) == {"K": K}


def supported(bank: Bank) -> int:
    """Return the largest K of the bank: rows that are left of any row's others when another group is taken away."""
    sizes = np.sort(np.bincount(bank.groups))
    return int(len(bank) - sizes[-2:].sum())


def within_means(bank: Bank) -> tuple[Bank, str]:
    """Return a bank of LDN with as many neighbours as it supports, and a notice for the user; empty where it does.

    Nearest neighbours take the place of LDN where no row has a neighbour to spare, and of the default in a bank of
    more than `MOST_ROWS` rows.
    """
    scoring = bank.header.scoring
    if scoring is None or scoring.backend != BACKEND:
        return bank, ""
    most, wanted = supported(bank), int(scoring.params.get("K", 1))
    if is_default(scoring) and len(bank) > MOST_ROWS:
        why = f"{len(bank)} windows are many: scored by nearest neighbours (knn), not by ldn, whose time is quadratic"
        return _scored(bank, replace(scoring, backend="knn", params={})), f"{why}; bank compact makes a smaller bank"
    if wanted <= most:
        return bank, ""
    if most < 1:
        why = "the bank is too small for the densities of ldn: scored by nearest neighbours (knn)"
        return _scored(bank, replace(scoring, backend="knn", params={})), f"{why}; fit again with more recordings"
    why = f"the bank is small: ldn takes K={most} neighbours, not {wanted}"
    params = {**scoring.params, "K": most}
    return _scored(bank, replace(scoring, params=params)), f"{why}; fit again with more recordings for more"


def _scored(bank: Bank, scoring: Scoring) -> Bank:
    return replace(bank, header=replace(bank.header, scoring=scoring))
