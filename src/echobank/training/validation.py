"""Validation on normal clips only: which are held out, and how well neighbours agree by leave-one-out."""

import numpy as np
from numpy.typing import NDArray


def hold_out(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Return the positions of the clips that are not learned from, int64, ascending: a share of each label.

    Labels with fewer than 1 / share clips keep all of theirs: the few target clips are worth more to learn from.

    Args:
        labels: Label of each clip, int64[N].
        share: Share of each label.
        seed: Of the choice.
    """
    rng = np.random.default_rng([seed, 1])
    held: list[int] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        held += rng.permutation(members)[: int(share * len(members))].tolist()
    return np.array(sorted(held), dtype=np.int64)


def validation_set(
    labels: NDArray[np.int64], held: NDArray[np.int64], limit: int, seed: int
) -> tuple[NDArray[np.int64], int]:
    """Return the clips that validation embeds, the queries first, and how many are queries.

    The queries are the held-out clips; where there are none, every clip is one and only leaves itself out. The others
    are drawn from the rest, so that a validation costs no more than `limit` clips.

    Args:
        labels: Label of each clip, int64[N].
        held: What `hold_out` gave.
        limit: Most clips.
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, 2])
    rest = rng.permutation(np.setdiff1d(np.arange(len(labels)), held))
    first = _one_each(labels, rest)
    rest = np.concatenate([first, rest[~np.isin(rest, first)]])
    if not len(held):
        chosen = rest[:limit]
        return chosen, len(chosen)
    queries = rng.permutation(held)[: limit // 2]
    return np.concatenate([queries, rest[: limit - len(queries)]]), len(queries)


def neighbour_ratio(vectors: NDArray[np.float32], labels: NDArray[np.int64], queries: int) -> float:
    """Return the mean over queries of d_own / (d_own + d_other), in 0..1; lower is better.

    d_own is the cosine distance to the nearest other clip of the query's label, d_other to the nearest of another
    label: normals of other labels stand in for the anomalies that are never looked at.

    Args:
        vectors: float32[N, D], the queries first.
        labels: int64[N].
        queries: How many are queries.
    """
    unit = vectors.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    distances = np.maximum(1.0 - unit[:queries] @ unit.T, 0.0)
    same = labels[:queries, None] == labels[None]
    itself = np.arange(queries)[:, None] == np.arange(len(labels))[None]
    own = np.where(same & ~itself, distances, np.inf).min(axis=1)
    other = np.where(same, np.inf, distances).min(axis=1)
    known = np.isfinite(own) & np.isfinite(other)
    if not known.any():
        return 0.5
    return float(np.mean(own[known] / np.maximum(own[known] + other[known], 1e-12)))


def _one_each(labels: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    return positions[np.sort(np.unique(labels[positions], return_index=True)[1])]
