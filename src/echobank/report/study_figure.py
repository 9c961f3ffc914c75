"""The figure of a study: the official score of every setting with its intervals."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from echobank.evaluation.comparison import CellResult
from echobank.evaluation.grid import AXES
from echobank.evaluation.intervals import Interval
from echobank.report.figures import INK, LINE, MUTED, SOURCE, TARGET, render, standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def study_figure(results: Sequence[CellResult], reference: int) -> str:
    """Return an SVG file, one row per setting in the order of the grid; settings that failed are left out.

    Args:
        results: The settings.
        reference: Position of the setting that others are compared with.

    Raises:
        InputError: matplotlib is not installed.
    """
    shown = [result for result in results if result.evaluation]
    varied = [i for i in range(len(AXES)) if len({result.cell.values[i] for result in shown}) > 1]
    names = ["  ".join(result.cell.values[i] for i in varied) for result in shown]

    def draw(axes: "Axes") -> None:
        for height, result in enumerate(shown):
            score = 100 * result.evaluation.official_score if result.evaluation else math.nan
            color = SOURCE if result.near_best else TARGET
            axes.hlines(height, *_percent(result.over_machines), color=MUTED, linewidth=1)
            axes.hlines(height, *_percent(result.over_clips), color=color, linewidth=3)
            axes.plot(score, height, "o" if result.near_best else "s", color=INK, markersize=4)
        base = results[reference].evaluation
        if base:
            axes.axvline(100 * base.official_score, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=LINE, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.set_xlabel(
            "official score in percent, 95 % over clips (thick) and machines (thin)\n"
            "round: within noise of the best; dashed: reference"
        )

    size = (5.5 + 0.075 * max(map(len, names), default=0), 1.2 + 0.25 * len(shown))  # a letter is about 0.075 inch
    return standalone(render(draw, size, f"Official score of {len(shown)} settings with 95 percent intervals"))


def _percent(interval: Interval) -> tuple[float, float]:
    return tuple(np.multiply((interval.low, interval.high), 100).tolist())
