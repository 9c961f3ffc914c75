"""One page about one run: scores, intervals, distributions, decisions, and what to know before believing them."""

import math
from dataclasses import dataclass
from pathlib import Path

from echobank.evaluation.intervals import Interval, Intervals
from echobank.evaluation.metrics import (
    DomainResult,
    Evaluation,
    MachineResult,
    arithmetic_mean,
    harmonic_mean,
    means,
)
from echobank.evaluation.truth import LabelledScores
from echobank.report.figures import distribution, forest, missing_extra, roc
from echobank.report.run_facts import RunFacts
from echobank.storage import write_text

_TEMPLATE = "run_report.html"


@dataclass(frozen=True)
class Figure:
    """A percentage as text, and its interval; "" where there is none."""

    value: str
    range: str = ""


@dataclass(frozen=True)
class Decisions:
    """What the decisions of one domain did, as text."""

    domain: str
    false_alarms: str
    hits: str
    precision: str
    recall: str
    f1: str


@dataclass(frozen=True)
class MachineCard:
    """Everything the page says about one machine and section."""

    anchor: str
    title: str
    figures: tuple[Figure, Figure, Figure]
    decisions: tuple[Decisions, ...]
    distribution: str
    roc: str


def write_report(
    path: Path | str, *, evaluation: Evaluation, intervals: Intervals, facts: RunFacts, title: str
) -> None:
    """Write the page: one HTML file that loads nothing and has the same bytes for the same run.

    Raises:
        InputError: The libraries of the extra `report` are not installed.
        OutputError: The file cannot be written.
    """
    write_text(path, report_html(evaluation, intervals, facts, title))


def report_html(evaluation: Evaluation, intervals: Intervals, facts: RunFacts, title: str) -> str:
    """Return the page as text.

    Raises:
        InputError: The libraries of the extra `report` are not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    environment = Environment(
        loader=PackageLoader("echobank.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    several = len({result.section for result in evaluation.machines}) > 1
    cards = [
        _card(result, limits, item, several)
        for result, limits, item in zip(evaluation.machines, intervals.machines, evaluation.labelled, strict=True)
    ]
    return environment.get_template(_TEMPLATE).render(
        title=title,
        score=_figure(evaluation.official_score, intervals.score_over_clips),
        over_machines=_range(intervals.score_over_machines),
        forest=forest(evaluation, intervals),
        means=[("arithmetic mean", _mean_row(evaluation, "a")), ("harmonic mean", _mean_row(evaluation, "h"))],
        cards=cards,
        facts=facts,
        notes=evaluation.notes,
        clips=sum(len(item.names) for item in evaluation.labelled),
    )


def _card(
    result: MachineResult, limits: tuple[Interval, Interval, Interval], item: LabelledScores, several: bool
) -> MachineCard:
    values = (result.source.auc, result.target.auc, result.pauc)
    source, target, pauc = (_figure(value, interval) for value, interval in zip(values, limits, strict=True))
    decided = [(name, getattr(result, name)) for name in ("source", "target")] if item.decisions is not None else []
    return MachineCard(
        f"{result.machine}-{result.section}",
        f"{result.machine} section {result.section}" if several else result.machine,
        (source, target, pauc),
        tuple(_decisions(item, name, part) for name, part in decided if part.normals + part.anomalies),
        distribution(item),
        roc(item),
    )


def _decisions(item: LabelledScores, domain: str, part: DomainResult) -> Decisions:
    alarms = (item.decisions == 1) & (item.domains == domain)
    hits = int((alarms & item.anomaly).sum())
    return Decisions(
        domain,
        f"{int(alarms.sum()) - hits} of {part.normals}",
        f"{hits} of {part.anomalies}",
        _percent(part.precision),
        _percent(part.recall),
        _percent(part.f1),
    )


def _mean_row(evaluation: Evaluation, kind: str) -> tuple[str, str, str]:
    mean = arithmetic_mean if kind == "a" else harmonic_mean
    source, target = (means(evaluation.machines, mean, [domain]) for domain in ("source", "target"))
    return _percent(source.auc), _percent(target.auc), _percent(source.pauc)


def _figure(value: float, interval: Interval) -> Figure:
    return Figure(_percent(value), _range(interval))


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.2f}"


def _range(interval: Interval) -> str:
    return "" if math.isnan(interval.low) else f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"
