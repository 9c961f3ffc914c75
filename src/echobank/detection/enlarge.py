"""More target rows: mixtures of the few there are, with source rows or with each other.

A mixture is marked by `Row.augmentation` and is of the group of the target row that it is mostly made of, so that the
two never count as neighbours. Rows without a group get one.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echobank.detection.bank import Bank, Row
from echobank.detection.search import nearest
from echobank.errors import BankError

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


def memmixup(bank: Bank, *, neighbours: int = 5, share: float = 0.9, metric: str = "cosine") -> Bank:
    """Add `share t + (1 - share) s` for each target row t and each of its nearest source rows s.

    Args:
        bank: With target rows and others.
        neighbours: Source rows per target row; as many as there are when there are fewer.
        share: Of the target row; 0.9 as published (MemMixup).
        metric: Says which rows are near, by the mean over bands.

    Raises:
        BankError: There are no target rows, or nothing but them.
    """
    target, source = _split(bank)
    if not len(source):
        raise BankError("MemMixup mixes target rows with source rows, and there are none", value=len(bank))
    near, mixed = mixtures(bank.vectors[target], bank.vectors[source], neighbours, share, metric)
    parents, others = np.repeat(target, near.shape[1]), source[near.ravel()]
    return _grown(bank, parents, mixed, [f"memmixup={share:g}:{bank.rows[int(i)].file}" for i in others])


def mixtures(
    few: Float32, many: Float32, neighbours: int = 5, share: float = 0.9, metric: str = "cosine"
) -> tuple[Int64, NDArray[np.floating]]:
    """Return mixtures of each vector with its nearest among others: `share` of itself, the rest of the other.

    Args:
        few: float32[n, H, D].
        many: Those it is mixed with, float32[N, H, D].
        neighbours: As many of `many` for each; all of them when there are fewer.
        share: Of itself.
        metric: Says which are near; bands are compared as one long vector.

    Returns:
        Which of `many` each was mixed with, int64[n, k], and the mixtures, float[n k, H, D], in that order.
    """
    asked, among = (vectors.reshape(len(vectors), 1, -1) for vectors in (few, many))
    near = nearest(asked, among, min(neighbours, len(many)), metric)[1][:, 0]
    mixed = share * np.repeat(few, near.shape[1], axis=0) + (1 - share) * many[near.ravel()]
    return near, mixed


def smote(bank: Bank, *, ratio: float = 0.2, neighbours: int = 2, metric: str = "cosine", seed: int = 0) -> Bank:
    """Add `t + u (t' - t)`, t' one of the nearest other target rows and u uniform in 0..1 (SMOTE, JAIR 16, 2002).

    Args:
        bank: With two target rows or more, of different groups.
        ratio: Target rows to have in the end, as a share of the others.
        neighbours: Target rows to choose t' from; as many as there are when there are fewer.
        metric: Says which rows are near, by the mean over bands.
        seed: Of the choices.

    Raises:
        BankError: There are fewer than two target rows, or all are of one group.
    """
    target, source = _split(bank)
    groups = bank.groups[target]
    different = len(target) - int(np.bincount(groups).max())
    if different < 1:
        raise BankError("SMOTE mixes target rows of two groups, and there is one", value=len(target))
    flat = bank.vectors[target].reshape(len(target), 1, -1)
    near = nearest(flat, flat, min(neighbours, different), metric, groups, groups)[1][:, 0]
    wanted = max(0, round(ratio * len(source)) - len(target))
    rng = np.random.default_rng(seed)
    first = np.arange(wanted) % len(target)  # each parent equally often
    second = near[first, rng.integers(near.shape[1], size=wanted)]
    step = rng.random(wanted)[:, None, None]
    parents, others = target[first], target[second]
    mixed = bank.vectors[parents] + step * (bank.vectors[others] - bank.vectors[parents])
    notes = [f"smote={u:.3f}:{bank.rows[i].file}" for u, i in zip(step.ravel(), others, strict=True)]
    return _grown(bank, parents, mixed, notes)


def _split(bank: Bank) -> tuple[Int64, Int64]:
    target = bank.domains == "target"
    if not target.any():
        raise BankError("there are no target rows to make more of", value=len(bank), hint="use the back-end itself")
    return np.flatnonzero(target), np.flatnonzero(~target)


def _grown(bank: Bank, parents: Int64, mixed: NDArray[np.floating], notes: Sequence[str]) -> Bank:
    rows = tuple(dataclasses.replace(row, group=row.group or f"row {i}: {row.file}") for i, row in enumerate(bank.rows))
    made: tuple[Row, ...] = tuple(
        dataclasses.replace(rows[parent], augmentation=note) for parent, note in zip(parents, notes, strict=True)
    )
    vectors = np.concatenate([bank.vectors, mixed.astype(np.float32)])
    extras = {name: np.concatenate([array, array[parents]]) for name, array in bank.extras.items()}
    return dataclasses.replace(bank, vectors=vectors, rows=rows + made, extras=extras, own=None)
