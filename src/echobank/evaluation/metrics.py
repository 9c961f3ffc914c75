"""The official metric of DCASE Task 2 (2023 to 2026): AUC per domain, pAUC, decisions, and their means.

Definitions follow the official evaluator (nttcslab/dcase2024_task2_evaluator): the normal clips of one domain are
set against ALL anomalous clips of the machine; pAUC is McClish-standardised (chance 0.5); harmonic means floor
each value at the float epsilon.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echobank.errors import InputError
from echobank.evaluation.tables import Key
from echobank.evaluation.truth import LabelledScores, Truth, join

Float64 = NDArray[np.float64]

MAX_FPR = 0.1  # false-positive rate up to which pAUC looks
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class DomainResult:
    """Figures of one domain of a machine; NaN where the clips for it are lacking."""

    normals: int
    anomalies: int
    auc: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class MachineResult:
    """Figures of one machine and section; `auc` and `pauc` are over all its clips."""

    machine: str
    section: str
    auc: float
    pauc: float
    source: DomainResult
    target: DomainResult


@dataclass(frozen=True)
class Means:
    """One row of means: AUC, pAUC, precision, recall and F1."""

    auc: float
    pauc: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """Everything the official evaluator reports, as fractions.

    Attributes:
        machines: One result per machine and section, sorted.
        official_score: Harmonic mean of AUC source, AUC target and pAUC over all machines and sections.
        notes: Figures that could not be computed and why; they are left out of the means.
        labelled: The clips the figures come from.
    """

    machines: tuple[MachineResult, ...]
    official_score: float
    notes: tuple[str, ...]
    labelled: tuple[LabelledScores, ...]


def evaluate(
    scores: Mapping[Key, Mapping[str, float]],
    decisions: Mapping[Key, Mapping[str, int]] | None,
    truth: Truth,
) -> Evaluation:
    """Join scores with the truth by name and compute every figure.

    Raises:
        InputError: A machine or clip is missing or unknown, or no figure of the official score can be computed.
    """
    return evaluate_labelled(join(scores, decisions, truth))


def evaluate_labelled(labelled: Sequence[LabelledScores]) -> Evaluation:
    """Compute every figure of clips whose truth is known.

    Raises:
        InputError: No figure of the official score can be computed.
    """
    results = tuple(_machine(item) for item in labelled)
    notes = tuple(note for result in results for note in _notes(result))
    parts = official_parts(results)
    if not np.isfinite(parts).any():
        raise InputError("the official score needs at least one machine with normal and anomalous clips")
    return Evaluation(results, harmonic_mean(parts), notes, tuple(labelled))


def official_parts(results: Iterable[MachineResult]) -> Float64:
    """Return what the official score is the harmonic mean of: AUC source, AUC target, pAUC, float64[M, 3]."""
    return np.array([(r.source.auc, r.target.auc, r.pauc) for r in results], dtype=np.float64).reshape(-1, 3)


def roc_areas(
    scores: Float64, anomaly: NDArray[np.bool_], negatives: NDArray[np.bool_], weights: Float64
) -> tuple[Float64, Float64]:
    """Return AUC and standardised pAUC for many weightings of the same clips; ties count half.

    Equal to `sklearn.metrics.roc_auc_score` without and with `max_fpr=0.1` (McClish 1989, eq. 8).

    Args:
        scores: float64[n].
        anomaly: Clips that ought to score high, bool[n].
        negatives: Clips they are set against, bool[n].
        weights: How often each clip counts, float64[B, n].

    Returns:
        AUC and pAUC, float64[B] each; NaN where a weighting has no anomalies or no negatives.
    """
    steps = _steps(scores, anomaly, negatives, weights)
    return _auc(*steps), _pauc(*steps)


def machine_areas(item: LabelledScores, weights: Float64) -> Float64:
    """Return AUC source, AUC target and pAUC of a machine for many weightings of its clips.

    Args:
        item: The n clips of a machine and section.
        weights: How often each clip counts, float64[B, n].

    Returns:
        float64[B, 3].
    """
    normal = ~item.anomaly
    source = _auc(*_steps(item.scores, item.anomaly, normal & (item.domains == "source"), weights))
    target = _auc(*_steps(item.scores, item.anomaly, normal & (item.domains == "target"), weights))
    pauc = _pauc(*_steps(item.scores, item.anomaly, normal, weights))
    return np.stack([source, target, pauc], axis=1)


def _steps(
    scores: Float64, anomaly: NDArray[np.bool_], negatives: NDArray[np.bool_], weights: Float64
) -> tuple[Float64, Float64, Float64]:
    """Return anomalies and negatives at each distinct score from the highest down, and the anomalies above it.

    Each is float64[L, B]: whole rows are gathered and summed, which is several times faster than columns.
    """
    chosen = np.flatnonzero(anomaly | negatives)
    order = chosen[np.argsort(-scores[chosen], kind="stable")]
    starts = np.flatnonzero(np.diff(-scores[order], prepend=-np.inf))
    counts = weights.T[order]
    hits = np.add.reduceat(counts * anomaly[order, None], starts, axis=0)
    alarms = np.add.reduceat(counts * negatives[order, None], starts, axis=0)
    return hits, alarms, np.cumsum(hits, axis=0) - hits


def _auc(hits: Float64, alarms: Float64, above: Float64) -> Float64:
    with np.errstate(invalid="ignore"):
        area: Float64 = (alarms * (above + hits / 2)).sum(axis=0) / (hits.sum(axis=0) * alarms.sum(axis=0))
    return area


def _pauc(hits: Float64, alarms: Float64, above: Float64) -> Float64:
    """Return the area up to `MAX_FPR`, the last step cut where it passes it, standardised to chance 0.5."""
    total = alarms.sum(axis=0)
    width = np.clip(MAX_FPR * total - (np.cumsum(alarms, axis=0) - alarms), 0.0, alarms)
    share = np.divide(width, alarms, out=np.zeros_like(width), where=alarms > 0)
    with np.errstate(invalid="ignore"):
        area = (width * (above + hits * share / 2)).sum(axis=0) / (hits.sum(axis=0) * total)
    chance = MAX_FPR**2 / 2
    standard: Float64 = 0.5 * (1 + (area - chance) / (MAX_FPR - chance))
    return standard


def harmonic_means(values: Float64) -> Float64:
    """Return the harmonic mean of each row's finite values, floored at the float epsilon; NaN where there are none.

    Args:
        values: float64[B, n].

    Returns:
        float64[B].
    """
    known = np.isfinite(values)
    inverse = np.where(known, 1.0 / np.maximum(np.where(known, values, 1.0), EPSILON), 0.0)
    with np.errstate(invalid="ignore"):
        means: Float64 = known.sum(axis=1) / inverse.sum(axis=1)
    return means


def harmonic_mean(values: Float64) -> float:
    """Return the harmonic mean of the finite values, as `harmonic_means`."""
    return float(harmonic_means(values.reshape(1, -1))[0])


def arithmetic_mean(values: Float64) -> float:
    """Return the mean of the finite values; NaN when there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def means(
    results: Sequence[MachineResult], mean: Callable[[Float64], float], domains: Sequence[str] = ("source", "target")
) -> Means:
    """Return the means of the official evaluator: over machines, sections and the given domains.

    Args:
        results: Machines and sections to average over.
        mean: `arithmetic_mean` or `harmonic_mean`.
        domains: Whose AUC, precision, recall and F1 count; pAUC has no domain.
    """
    chosen: list[DomainResult] = [getattr(result, domain) for domain in domains for result in results]

    def over(name: str) -> float:
        return mean(np.array([getattr(item, name) for item in chosen], dtype=np.float64))

    pauc = mean(np.array([result.pauc for result in results], dtype=np.float64))
    return Means(over("auc"), pauc, over("precision"), over("recall"), over("f1"))


def _machine(item: LabelledScores) -> MachineResult:
    once = np.ones((1, len(item.scores)))
    (source, target, pauc), *_ = machine_areas(item, once).tolist()
    overall, _ = roc_areas(item.scores, item.anomaly, ~item.anomaly, once)
    return MachineResult(
        item.machine,
        item.section,
        float(overall[0]),
        pauc,
        _domain(item, "source", source),
        _domain(item, "target", target),
    )


def _domain(item: LabelledScores, domain: str, auc: float) -> DomainResult:
    here = item.domains == domain
    anomalies, normals = int((here & item.anomaly).sum()), int((here & ~item.anomaly).sum())
    if item.decisions is None or not here.any():
        return DomainResult(normals, anomalies, auc, math.nan, math.nan, math.nan)
    alarm = here & (item.decisions == 1)
    hits = float((alarm & item.anomaly).sum())
    precision = hits / max(float(alarm.sum()), EPSILON)
    recall = hits / max(float(anomalies), EPSILON)
    f1 = 2.0 * precision * recall / max(precision + recall, EPSILON)
    return DomainResult(normals, anomalies, auc, precision, recall, f1)


def _notes(result: MachineResult) -> list[str]:
    name = f"{result.machine} section {result.section}"
    if math.isnan(result.pauc):
        lacking = "anomalous" if result.source.normals + result.target.normals else "normal"
        return [f"{name}: no {lacking} test clips, so it has no AUC and is left out of the official score"]
    return [
        f"{name}: no normal {domain} test clips, so AUC {domain} is left out of the official score"
        for domain, part in (("source", result.source), ("target", result.target))
        if not part.normals
    ]
