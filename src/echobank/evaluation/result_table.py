"""An evaluation as text: CSV as the official evaluator lays it out, JSON for programs, a table for people."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from echobank.evaluation.intervals import LEVEL, Interval, Intervals
from echobank.evaluation.metrics import (
    Evaluation,
    MachineResult,
    Means,
    arithmetic_mean,
    harmonic_mean,
    means,
)

_COLUMNS = (
    "section",
    "AUC (all)",
    "AUC (source)",
    "AUC (target)",
    "pAUC",
    "precision (source)",
    "precision (target)",
    "recall (source)",
    "recall (target)",
    "F1 score (source)",
    "F1 score (target)",
)
_AREAS = ("auc_source", "auc_target", "pauc")
_MEAN_COLUMNS = ("", "", "AUC", "pAUC", "precision", "recall", "F1 score")
_OVERALL = " over all machine types, sections, and domains"


def evaluation_csv(evaluation: Evaluation, intervals: Intervals) -> str:
    """Return an evaluation in the official layout, followed by the intervals; figures that do not exist are empty."""
    rows: list[Sequence[object]] = []
    for machine, group in groupby(evaluation.machines, key=lambda result: result.machine):
        results = list(group)
        rows += [[machine], _COLUMNS, *(_figures(result) for result in results)]
        rows += [_MEAN_COLUMNS, *_means(results, ""), []]
    rows += [_MEAN_COLUMNS, *_means(evaluation.machines, _OVERALL), []]
    rows += [("official score", "", evaluation.official_score)]
    rows += [("official score ci95", "", intervals.official_ci95), []]
    rows += [("", "", "low", "high"), *_interval_rows(evaluation, intervals)]
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def evaluation_facts(evaluation: Evaluation, intervals: Intervals) -> dict[str, Any]:
    """Return every figure as plain values for JSON; what does not exist is None."""
    machines = [
        asdict(result) | {"intervals": {name: _ends(i) for name, i in zip(_AREAS, limits, strict=True)}}
        for result, limits in zip(evaluation.machines, intervals.machines, strict=True)
    ]
    facts = {
        "official_score": evaluation.official_score,
        "over_clips": _ends(intervals.score_over_clips),
        "over_machines": _ends(intervals.score_over_machines),
        "level": LEVEL,
        "machines": machines,
        "notes": list(evaluation.notes),
    }
    plain: dict[str, Any] = _plain(facts)
    return plain


def evaluation_table(evaluation: Evaluation, intervals: Intervals) -> str:
    """Return AUC source, AUC target and pAUC per machine in percent with 95 % intervals, means, and the score."""
    several = len({result.section for result in evaluation.machines}) > 1
    rows: list[tuple[str, ...]] = [("machine", "AUC source", "AUC target", "pAUC")]
    for result, limits in zip(evaluation.machines, intervals.machines, strict=True):
        name = f"{result.machine} {result.section}" if several else result.machine
        values = (result.source.auc, result.target.auc, result.pauc)
        rows.append((name, *(_percent(v, i) for v, i in zip(values, limits, strict=True))))
    for label, mean in (("arithmetic mean", arithmetic_mean), ("harmonic mean", harmonic_mean)):
        source = means(evaluation.machines, mean, ["source"])
        target = means(evaluation.machines, mean, ["target"])
        rows.append((label, _percent(source.auc), _percent(target.auc), _percent(source.pauc)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    rule = "-" * max(map(len, lines))
    lines[1:1], lines[-2:-2] = [rule], [rule]
    score = [f"official score in percent: {_percent(evaluation.official_score)}"]
    for over, interval in (("clips", intervals.score_over_clips), ("machines", intervals.score_over_machines)):
        score += [f"95 % over {over} {_range(interval)}"] if not math.isnan(interval.low) else []
    lines += ["", ", ".join(score)]
    return "\n".join([*lines, *(f"note: {note}" for note in evaluation.notes)])


def _figures(result: MachineResult) -> list[object]:
    pairs = ((getattr(result.source, name), getattr(result.target, name)) for name in ("precision", "recall", "f1"))
    areas = [result.auc, result.source.auc, result.target.auc, result.pauc]
    return [result.section, *areas, *(figure for pair in pairs for figure in pair)]


def _means(results: Sequence[MachineResult], suffix: str) -> list[list[object]]:
    return [
        _mean_row("arithmetic mean", suffix, means(results, arithmetic_mean)),
        _mean_row("harmonic mean", suffix, means(results, harmonic_mean)),
        _mean_row("source harmonic mean", suffix, means(results, harmonic_mean, ["source"])),
        _mean_row("target harmonic mean", suffix, means(results, harmonic_mean, ["target"])),
    ]


def _mean_row(label: str, suffix: str, mean: Means) -> list[object]:
    return [label + suffix, "", mean.auc, mean.pauc, mean.precision, mean.recall, mean.f1]


def _interval_rows(evaluation: Evaluation, intervals: Intervals) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        ("official score 95 % bootstrap over clips", "", *_ends(intervals.score_over_clips)),
        ("official score 95 % jackknife over machines", "", *_ends(intervals.score_over_machines)),
    ]
    for result, limits in zip(evaluation.machines, intervals.machines, strict=True):
        for label, interval in zip(("AUC (source)", "AUC (target)", "pAUC"), limits, strict=True):
            rows.append((f"{result.machine} {label} 95 % bootstrap over clips", result.section, *_ends(interval)))
    return rows


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return value


def _percent(value: float, interval: Interval | None = None) -> str:
    if math.isnan(value):
        return "-"
    text = f"{100 * value:.2f}"
    return text if interval is None or math.isnan(interval.low) else f"{text} ({_range(interval)})"


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"
