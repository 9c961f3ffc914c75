"""A study: many settings scored on the same embeddings, compared in pairs on the same resampled clips."""

import math
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from echobank.detection.backends.base import Backend
from echobank.detection.bank import Bank
from echobank.detection.comparable import require_comparable
from echobank.detection.decision import calibrate, decide
from echobank.detection.fitted import make
from echobank.detection.header import Scoring
from echobank.errors import InputError
from echobank.evaluation.grid import Cell
from echobank.evaluation.intervals import (
    DRAWS,
    Interval,
    bootstrap_parts,
    jackknife_over_machines,
    percentiles,
    resample,
    score_draws,
)
from echobank.evaluation.metrics import (
    Evaluation,
    evaluate_labelled,
    official_parts,
)
from echobank.evaluation.truth import LabelledScores

Float64 = NDArray[np.float64]

NOTHING = Interval(math.nan, math.nan)
RATES = (0.01, 0.05, 0.1, 0.2)  # false-alarm rates that are asked for


@dataclass(frozen=True)
class StudySet:
    """The bank and the labelled test clips of one machine and section, by one pooling.

    Attributes:
        bank: Healthy training clips.
        vectors: Test clips, float32[n, H, D].
        names: Their file names, n.
        anomaly: Whether each is anomalous, bool[n].
        domains: "source" or "target" of each, str[n].
        level_alone: Distance of the level of each to the nearest of the bank, dB, float64[n]; None where not known.
    """

    bank: Bank
    vectors: NDArray[np.float32]
    names: tuple[str, ...]
    anomaly: NDArray[np.bool_]
    domains: NDArray[np.str_]
    level_alone: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class CellScores:
    """What one setting gave on one machine and section.

    Attributes:
        scores: Of the test clips, float64[n].
        alarms: Normal test clips called anomalous, by (rate asked, domain); lacking where the rate was refused.
        seconds: Time to fit the back-end and to score all test clips.
        peak_bytes: Most memory that fitting and scoring held beside the bank.
    """

    scores: Float64
    alarms: Mapping[tuple[float, str], int]
    seconds: tuple[float, float]
    peak_bytes: int


@dataclass(frozen=True)
class CellResult:
    """One setting on all machines.

    Attributes:
        cell: The setting.
        failure: Why it could not be scored; empty otherwise, and then the rest is there.
        evaluation: Every figure of the metric.
        over_clips: Official score, 95 % by bootstrap over clips.
        over_machines: Official score, 95 % by jackknife over machines.
        difference: Official score minus that of the reference.
        difference_over_clips: Its 95 % interval on the same resampled clips.
        near_best: Whether the difference to the best setting is within the noise of the clips.
        false_alarms: Share of normal test clips called anomalous, by (rate asked, domain).
        seconds: Time to fit and to score, all machines.
        peak_bytes: The largest of the machines.
    """

    cell: Cell
    failure: str = ""
    evaluation: Evaluation | None = None
    over_clips: Interval = NOTHING
    over_machines: Interval = NOTHING
    difference: float = math.nan
    difference_over_clips: Interval = NOTHING
    near_best: bool = False
    false_alarms: Mapping[tuple[float, str], float] = field(default_factory=dict)
    seconds: tuple[float, float] = (math.nan, math.nan)
    peak_bytes: int = 0


def backend_of(cell: Cell) -> Backend:
    """Return the unfitted back-end of a setting.

    Raises:
        ConfigError: Unknown back-end, metric or parameter.
    """
    return make(scoring_of(cell))


def scoring_of(cell: Cell) -> Scoring:
    """Return how a setting scores."""
    return Scoring(cell.backend.name, cell.metric, cell.k, cell.backend.params)


def score_set(cell: Cell, data: StudySet, decision: str) -> CellScores:
    """Fit one setting on one bank, score the test clips, and count false alarms at each rate.

    The domain of a test clip is taken as unknown when it is decided on.

    Raises:
        BankError: The bank is too small or lacks a domain for this back-end.
        ConfigError: Unknown back-end or parameter.
    """
    if data.bank.header.provenance is not None:
        require_comparable(data.bank.header.provenance.encoder.name, scoring_of(cell))
    backend = backend_of(cell)
    tracemalloc.start()
    start = time.perf_counter()
    try:
        backend.fit(data.bank)
        fitted = time.perf_counter()
        scores = backend.score(data.vectors)
        scored = time.perf_counter()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    own, domains = backend.self_scores(), data.bank.domains
    alarms: dict[tuple[float, str], int] = {}
    for rate in RATES:
        try:
            thresholds = calibrate(own, domains, decision, rate)
        except InputError:
            continue  # too few calibration clips for so low a rate: the table shows that it was refused
        called = decide(scores, None, thresholds).astype(bool)
        for domain in np.unique(data.domains):
            alarms[rate, str(domain)] = int((called & ~data.anomaly & (data.domains == domain)).sum())
    return CellScores(scores, alarms, (fitted - start, scored - fitted), peak)


def compare(
    cells: Sequence[Cell],
    scored: Sequence[Sequence[CellScores] | str],
    sets: Sequence[StudySet],
    *,
    reference: int = 0,
    seed: int = 0,
    draws: int = DRAWS,
) -> tuple[CellResult, ...]:
    """Evaluate every setting and compare it with the reference and with the best on the same draws of clips.

    Args:
        cells: The settings.
        scored: For each, one `CellScores` per machine and section, or why it could not be scored.
        sets: The clips of each machine and section, by any pooling.
        reference: Position of the setting that others are compared with.
        seed: Of the bootstrap.
        draws: Of the bootstrap.

    Raises:
        InputError: No machine has normal and anomalous test clips.
    """
    usable = {i: parts for i, parts in enumerate(scored) if not isinstance(parts, str)}
    evaluations = {
        i: evaluate_labelled([_labelled(data, item) for data, item in zip(sets, parts, strict=True)])
        for i, parts in usable.items()
    }
    labelled = next(iter(evaluations.values())).labelled if evaluations else ()
    weights = [resample(item, seed=seed, draws=draws) for item in labelled]
    resampled = {
        i: score_draws(evaluation.labelled, bootstrap_parts(evaluation.labelled, weights))
        for i, evaluation in evaluations.items()
    }
    best = max(evaluations, key=lambda i: evaluations[i].official_score, default=-1)
    return tuple(
        CellResult(cell, failure=parts)
        if isinstance(parts, str)
        else CellResult(
            cell,
            "",
            evaluations[i],
            percentiles(resampled[i]),
            _over_machines(evaluations[i]),
            *_difference(i, reference, evaluations, resampled),
            percentiles(resampled[best] - resampled[i]).holds_zero,
            _false_alarms(parts, sets),
            (sum(item.seconds[0] for item in parts), sum(item.seconds[1] for item in parts)),
            max(item.peak_bytes for item in parts),
        )
        for i, (cell, parts) in enumerate(zip(cells, scored, strict=True))
    )


def _labelled(data: StudySet, scored: CellScores) -> LabelledScores:
    row = data.bank.rows[0]
    return LabelledScores(row.machine, row.section, data.names, scored.scores, None, data.anomaly, data.domains)


def _over_machines(evaluation: Evaluation) -> Interval:
    return jackknife_over_machines(
        official_parts(evaluation.machines), [result.machine for result in evaluation.machines]
    )


def _difference(
    i: int, reference: int, evaluations: Mapping[int, Evaluation], resampled: Mapping[int, Float64]
) -> tuple[float, Interval]:
    if reference not in evaluations:
        return math.nan, NOTHING
    difference = evaluations[i].official_score - evaluations[reference].official_score
    return difference, percentiles(resampled[i] - resampled[reference])


def _false_alarms(parts: Sequence[CellScores], sets: Sequence[StudySet]) -> dict[tuple[float, str], float]:
    """Return the share of normal clips called anomalous over the machines whose rate was not refused."""
    shares = {}
    for key in sorted({key for part in parts for key in part.alarms}):
        here = [(part.alarms[key], data) for part, data in zip(parts, sets, strict=True) if key in part.alarms]
        normals = sum(int((~data.anomaly & (data.domains == key[1])).sum()) for _, data in here)
        shares[key] = sum(count for count, _ in here) / normals if normals else math.nan
    return shares
