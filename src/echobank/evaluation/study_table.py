"""A study as text: every figure in `study.csv`, what a reader needs in `study.md`."""

import csv
import io
import math
from collections.abc import Sequence

from echobank.evaluation.comparison import RATES, CellResult
from echobank.evaluation.grid import AXES, Cell
from echobank.evaluation.intervals import Interval
from echobank.evaluation.metrics import MachineResult

_DOMAINS = ("source", "target")
_NOISE = "within noise"


def study_rows(results: Sequence[CellResult]) -> list[dict[str, object]]:
    """Return every figure of every setting as plain values for JSON; what does not exist is left out or None."""
    rows = [_row(result) for result in results]
    return [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in rows
    ]


def study_csv(results: Sequence[CellResult]) -> str:
    """Return every figure of every setting; fractions, seconds and bytes; empty where there is none."""
    names = [f"{r.machine}_{r.section}" for r in _machines(results)]
    header = [
        *AXES,
        *("official_score", "clips_low", "clips_high", "machines_low", "machines_high"),
        *("difference", "difference_low", "difference_high", "within_noise_of_reference", "within_noise_of_best"),
        *(f"{name}_{area}" for name in names for area in ("auc_source", "auc_target", "pauc")),
        *(f"false_alarms_{domain}_at_{rate}" for domain in _DOMAINS for rate in RATES),
        *("fit_seconds", "score_seconds", "peak_bytes", "failure"),
    ]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(result) for result in results)
    return stream.getvalue()


def study_markdown(results: Sequence[CellResult], reference: Cell, facts: Sequence[str], figure: str) -> str:
    """Return the study for people: percent, intervals, and which differences say nothing.

    Args:
        results: In the order of the grid.
        reference: The setting that others are compared with.
        facts: Sentences on what was studied, such as the encoder and the number of clips.
        figure: File name of the figure.
    """
    varied = [i for i, axis in enumerate(AXES) if len({result.cell.values[i] for result in results}) > 1]
    fixed = [f"{axis} {reference.values[i]}" for i, axis in enumerate(AXES) if i not in varied]
    machines = _machines(results)
    heads = [AXES[i] for i in varied] or ["setting"]
    heads += ["official score", "over clips", "over machines", "difference to reference"]
    heads += [f"{machine.machine} source / target / pAUC" for machine in machines]
    heads += [f"false alarms {domain} at {'/'.join(f'{100 * r:g}' for r in RATES)} %" for domain in _DOMAINS]
    heads += ["fit s", "score ms per clip", "peak MiB"]
    clips = _clips(results)
    lines = ["# Study", "", *(f"- {fact}" for fact in facts)]
    lines += [f"- The same for all: {', '.join(fixed)}."] if fixed else []
    lines += [
        f"- Reference: {', '.join(reference.values)}.",
        "- Figures in percent. Intervals are 95 %: over clips by bootstrap, over machines by jackknife, differences by "
        "paired bootstrap over clips.",
        f"- `{_NOISE}`: the interval of the difference to the reference holds 0. `≈ best`: the same for the best "
        f"setting of the {len(results)}. With so many settings the best one owes part of its lead to chance; choose "
        "none because it wins here.",
        "",
        f"![Official score of every setting]({figure})",
        "",
        f"| {' | '.join(heads)} |",
        f"|{' --- |' * len(heads)}",
    ]
    for result in results:
        difference = "reference" if result.cell.values == reference.values else _difference(result)
        lines.append(_markdown_row(result, varied, difference, len(machines), clips))
    return "\n".join(lines) + "\n"


def _markdown_row(result: CellResult, varied: Sequence[int], difference: str, machines: int, clips: int) -> str:
    cells = [result.cell.values[i] for i in varied] or ["the configuration"]
    if result.evaluation is None:
        return f"| {' | '.join(cells)} | not possible: {result.failure.replace('|', '/')} |" + " |" * (8 + machines)
    score = f"{100 * result.evaluation.official_score:.2f}{' ≈ best' if result.near_best else ''}"
    cells += [score, _range(result.over_clips), _range(result.over_machines), difference]
    cells += [
        " / ".join(_percent(value) for value in (machine.source.auc, machine.target.auc, machine.pauc))
        for machine in result.evaluation.machines
    ]
    cells += [
        " / ".join(_percent(result.false_alarms.get((rate, domain), math.nan), 0) for rate in RATES)
        for domain in _DOMAINS
    ]
    fit, score_seconds = result.seconds
    cells += [f"{fit:.2f}", f"{1000 * score_seconds / clips:.2f}", f"{result.peak_bytes / 2**20:.1f}"]
    return f"| {' | '.join(cells)} |"


def _row(result: CellResult) -> dict[str, object]:
    row: dict[str, object] = dict(zip(AXES, result.cell.values, strict=True))
    if result.evaluation is None:
        return row | {"failure": result.failure}
    row |= {"official_score": result.evaluation.official_score, "difference": result.difference}
    for name, interval in (
        ("clips", result.over_clips),
        ("machines", result.over_machines),
        ("difference", result.difference_over_clips),
    ):
        row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    row |= {
        "within_noise_of_reference": result.difference_over_clips.holds_zero,
        "within_noise_of_best": result.near_best,
    }
    for machine in result.evaluation.machines:
        name = f"{machine.machine}_{machine.section}"
        areas = {"auc_source": machine.source.auc, "auc_target": machine.target.auc, "pauc": machine.pauc}
        row |= {f"{name}_{area}": value for area, value in areas.items()}
    shares = [(key, share) for key, share in result.false_alarms.items() if key[1] in _DOMAINS]
    row |= {f"false_alarms_{domain}_at_{rate}": share for (rate, domain), share in shares}
    row |= {"fit_seconds": result.seconds[0], "score_seconds": result.seconds[1], "peak_bytes": result.peak_bytes}
    return {key: "" if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _machines(results: Sequence[CellResult]) -> tuple[MachineResult, ...]:
    return next((result.evaluation.machines for result in results if result.evaluation), ())


def _clips(results: Sequence[CellResult]) -> int:
    labelled = next((result.evaluation.labelled for result in results if result.evaluation), ())
    return max(1, sum(len(item.names) for item in labelled))


def _difference(result: CellResult) -> str:
    if math.isnan(result.difference):
        return "-"
    text = f"{100 * result.difference:+.2f} ({_range(result.difference_over_clips)})"
    return f"{text} {_NOISE}" if result.difference_over_clips.holds_zero else text


def _range(interval: Interval) -> str:
    return "-" if math.isnan(interval.low) else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _percent(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.{digits}f}"
