"""Summaries: windows of a minute or an hour thinned to one row, the same in the service's database and in Parquet.

A summary has a histogram whose cells never change, so that a late window is added exactly; its quantiles are exact
unless one came late, then they are read off the histogram.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

HOUR = 3_600_000  # milliseconds
WINDOWS_FOR, MINUTES_FOR = 48 * HOUR, 30 * 24 * HOUR
CELLS_PER_OCTAVE = 16  # a cell of a histogram is 4.4 % wide
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_NEAREST = 5  # rows of the bank that a summary names
_LOWEST = -1024  # cell of zero and of what is below every number


def summary_of(heard: Sequence[Any]) -> dict[str, Any]:
    """Return the columns of a summary of windows; each window has the columns of `windows` as attributes."""
    scored = [row for row in heard if row.score is not None]
    levels = [row.level_dbfs for row in scored if row.level_dbfs is not None]
    flags = Counter(flag for row in scored for flag in row.flags.split("+") if flag)
    return {
        "windows": len(scored),
        "errors": len(heard) - len(scored),
        "anomalous": sum(row.decision or 0 for row in scored),
        "score": describe([row.score for row in scored]),
        "p_value": describe([row.p_value for row in scored if row.p_value is not None]),
        "level": _level(levels),
        "nearest": dict(Counter(row.nearest for row in scored if row.nearest).most_common(_NEAREST)),
        "flags": dict(flags),
    }


def together_with(before: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a summary with another added; `before` has them as attributes, `more` as keys."""
    counts = {name: getattr(before, name) + more[name] for name in ("windows", "errors", "anomalous")}
    levels = [level for level in (before.level, more["level"]) if level]
    level = None
    if levels:
        level = {name: sum(one[name] for one in levels) for name in ("count", "sum")}
        level |= {"least": min(one["least"] for one in levels), "most": max(one["most"] for one in levels)}
    nearest = Counter(before.nearest) + Counter(more["nearest"])
    return {
        **counts,
        "score": join(before.score, more["score"]),
        "p_value": join(before.p_value, more["p_value"]),
        "level": level,
        "nearest": dict(nearest.most_common(_NEAREST)),
        "flags": dict(Counter(before.flags) + Counter(more["flags"])),
    }


def cell(value: float) -> int:
    """Return the cell of a histogram that holds a value: cell i is from 2**(i/16) to 2**((i+1)/16)."""
    return math.floor(CELLS_PER_OCTAVE * math.log2(value)) if value > 0 else _LOWEST


def lower_edge(number: int) -> float:
    """Return the lower edge of a cell."""
    return 0.0 if number == _LOWEST else 2.0 ** (number / CELLS_PER_OCTAVE)


def describe(values: Sequence[float]) -> dict[str, Any] | None:
    """Return count, sum, quantiles and histogram of values as the columns `score` and `p_value` hold them."""
    if not values:
        return None
    ordered = sorted(values)
    cells = Counter(str(cell(value)) for value in ordered)
    quantiles = [ordered[math.ceil(share * (len(ordered) - 1))] for share in QUANTILES]
    return {"count": len(ordered), "sum": math.fsum(ordered), "quantiles": quantiles, "cells": dict(cells)}


def join(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the description of two sets of values together."""
    if not first or not second:
        return dict(first or second or {}) or None
    cells = Counter(first["cells"]) + Counter(second["cells"])
    count = first["count"] + second["count"]
    low = min(first["quantiles"][0], second["quantiles"][0])
    high = max(first["quantiles"][-1], second["quantiles"][-1])
    read = [min(max(_read(cells, share * (count - 1)), low), high) for share in QUANTILES]
    quantiles = [low, *read[1:-1], high]
    return {"count": count, "sum": first["sum"] + second["sum"], "quantiles": quantiles, "cells": dict(cells)}


def _read(cells: Mapping[str, int], rank: float) -> float:
    passed = 0
    for number in sorted(map(int, cells)):
        passed += cells[str(number)]
        if passed > rank:
            break
    return math.sqrt(lower_edge(number) * lower_edge(number + 1)) if number != _LOWEST else 0.0


def _level(levels: Sequence[float]) -> dict[str, Any] | None:
    if not levels:
        return None
    return {"count": len(levels), "sum": math.fsum(levels), "least": min(levels), "most": max(levels)}
