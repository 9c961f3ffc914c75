"""Figures as inline SVG whose colours are CSS variables of the page, so that they follow its light or dark theme."""

import io
import re
from collections.abc import Callable
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echobank.errors import InputError
from echobank.evaluation.intervals import Intervals
from echobank.evaluation.metrics import MAX_FPR, Evaluation
from echobank.evaluation.truth import LabelledScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that matplotlib draws with, each to be replaced by the variable of the style sheet.
INK, MUTED, LINE, SOURCE, TARGET, BOTH, SHADE = (f"#01020{digit}" for digit in range(7))
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    SOURCE: "--source",
    TARGET: "--target",
    BOTH: "--both",
    SHADE: "--shade",
}
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a machine may be called anything
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "legend.frameon": False,
}
_GOLDEN = 0.6180339887  # fractional steps of the golden ratio spread dots evenly without chance


def forest(evaluation: Evaluation, intervals: Intervals) -> str:
    """Return AUC source, AUC target and pAUC of every machine with 95 % intervals over clips, in percent."""
    results = evaluation.machines

    def draw(axes: "Axes") -> None:
        axes.axvline(50, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        series = (("AUC source", SOURCE, "o"), ("AUC target", TARGET, "s"), ("pAUC", BOTH, "D"))
        values = np.array([(r.source.auc, r.target.auc, r.pauc) for r in results]) * 100
        limits = np.array([[(i.low, i.high) for i in row] for row in intervals.machines]) * 100
        for column, (label, color, marker) in enumerate(series):
            heights = np.arange(len(results)) + 0.24 * (column - 1)
            axes.hlines(heights, limits[:, column, 0], limits[:, column, 1], color=color, linewidth=2)
            axes.plot(values[:, column], heights, marker, color=color, markersize=6, label=label)
        axes.set_yticks(range(len(results)), [_name(r.machine, r.section, evaluation) for r in results])
        axes.set_ylim(len(results) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("percent; the dashed line is chance")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handletextpad=0.2, columnspacing=1.0)

    label = "AUC source, AUC target and pAUC of each machine with 95 percent intervals"
    return render(draw, (4.6, 1.1 + 0.55 * len(results)), label)


def distribution(item: LabelledScores) -> str:
    """Return the anomaly score of every test clip, a row per domain and condition; the bar is the median."""
    present = [d for d in ("source", "target", "unknown") if (item.domains == d).any()]
    rows = [(domain, anomaly) for domain in present for anomaly in (False, True)]
    words = [f"{domain} {'anomaly' if anomaly else 'normal'}" for domain, anomaly in rows]

    def draw(axes: "Axes") -> None:
        for height, (domain, anomaly) in enumerate(rows):
            values = np.sort(item.scores[(item.domains == domain) & (item.anomaly == anomaly)])
            color = {"source": SOURCE, "target": TARGET}.get(domain, BOTH)
            spread = (np.arange(len(values)) * _GOLDEN % 1.0 - 0.5) * 0.56
            axes.plot(values, height + spread, "x" if anomaly else "o", color=color, markersize=4, alpha=0.75)
            if len(values):
                axes.vlines(np.median(values), height - 0.38, height + 0.38, color=INK, linewidth=2)
        axes.set_yticks(range(len(rows)), words)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel("anomaly score")

    return render(draw, (4.2, 0.7 + 0.55 * len(rows)), f"Anomaly scores of {item.machine}: {', '.join(words)}")


def roc(item: LabelledScores) -> str:
    """Return the ROC curves whose areas are AUC source, AUC target and pAUC; the counted tenth is shaded."""
    normal = ~item.anomaly

    def draw(axes: "Axes") -> None:
        axes.axvspan(0, MAX_FPR, color=SHADE, linewidth=0)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        curves = (
            ("source", normal & (item.domains == "source"), SOURCE, "-"),
            ("target", normal & (item.domains == "target"), TARGET, (0, (5, 1.5))),
            ("both", normal, BOTH, (0, (1, 1))),
        )
        for label, negatives, color, dashes in curves:
            if negatives.any() and item.anomaly.any():
                false_alarms, hits = roc_curve(item.scores, item.anomaly, negatives)
                axes.plot(false_alarms, hits, color=color, linewidth=2, linestyle=dashes, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="normal clips called anomalous", ylabel="anomalies found")
        axes.set_xticks([0, MAX_FPR, 0.5, 1], ["0", "0.1", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right")

    return render(draw, (4.2, 3.1), f"ROC curves of {item.machine}, false-alarm rates up to 0.1 shaded")


def roc_curve(
    scores: NDArray[np.float64], anomaly: NDArray[np.bool_], negatives: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false-alarm and hit rate at every threshold, both float64[L + 1] from 0 to 1."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(-scores[order], append=np.inf))
    rates = [np.concatenate([[0.0], np.cumsum(mask[order])[last] / mask.sum()]) for mask in (negatives, anomaly)]
    return rates[0], rates[1]


def render(draw: Callable[["Axes"], None], size: tuple[float, float], label: str) -> str:
    """Draw on one pair of axes and return the same SVG bytes every time.

    Args:
        draw: Draws the figure.
        size: Width and height, inches.
        label: What the figure shows, for those who cannot see it.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    stream = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": label})
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=empty)
    return _inline(stream.getvalue(), label)


def require_matplotlib() -> None:
    """Check, before long work, that a figure can be drawn at its end.

    Raises:
        InputError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise missing_extra(ModuleNotFoundError(name="matplotlib"))


def standalone(svg: str) -> str:
    """Return an inline figure as a file of its own, with the page's colours for light and dark."""
    palette = (files("echobank.report") / "templates" / "palette.css").read_text(encoding="utf-8")
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    style = (
        f"<style>{palette}svg {{ background: var(--paper); }} text {{ font-family: sans-serif !important; }}</style>"
    )
    return svg.replace(">", f">{style}", 1) + "\n"


def missing_extra(error: ModuleNotFoundError) -> InputError:
    """Return the error for a library of the report that is not installed."""
    return InputError(f"the report needs {error.name}", hint="pip install 'echobank[report]'")


def _inline(document: str, label: str) -> str:
    """Make an SVG file part of a page: no prologue, no fixed size, no ids that could occur twice, our colours."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    width = re.search(r'width="([\d.]+)pt"', svg)
    style = f'style="max-width: {float(width[1]) * 4 / 3:.0f}px"' if width else ""
    box = re.search(r'viewBox="[^"]*"', svg)
    head = f'<svg role="img" aria-label="{escape(label)}" {style} {box[0] if box else ""}>'
    svg = head + svg[svg.index(">") + 1 :].replace("xlink:href", "href")
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg.strip()


def _name(machine: str, section: str, evaluation: Evaluation) -> str:
    several = len({result.section for result in evaluation.machines}) > 1
    return f"{machine} {section}" if several else machine
