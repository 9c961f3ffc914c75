"""Level alone: what the loudness of the clips says by itself, beside every score.

The score of a clip is the distance in dB from its RMS level to that of the nearest clip of the bank. No encoder is in
it, so a detector that does no better is not worth its cost, and one whose scores follow level would follow a change
of the microphone's gain, or of its distance, just as well.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echobank.errors import InputError
from echobank.evaluation.intervals import Interval, measure_intervals
from echobank.evaluation.metrics import Evaluation, evaluate
from echobank.evaluation.tables import Key, find_tables, finite, table_name
from echobank.evaluation.truth import Truth
from echobank.storage import write_text

Float64 = NDArray[np.float64]

LEVELS = "level"  # first word of the file names
FOLLOWS = 0.7  # rank correlation of score and level from which the score is said to follow level; half the variance
_COLUMNS = ("file_name", "level_dbfs", "where")
_BANK, _TEST = "bank", "test"


@dataclass(frozen=True)
class Levels:
    """RMS levels of one machine and section, dB of full scale.

    Attributes:
        bank: Level of each clip of the bank by its name.
        test: Level of each test clip by its name.
    """

    bank: Mapping[str, float]
    test: Mapping[str, float]

    @property
    def scores(self) -> dict[str, float]:
        """Distance of each test clip to the nearest level of the bank, dB."""
        known = np.array(list(self.bank.values()))
        return {name: float(np.abs(known - level).min()) for name, level in self.test.items()}


@dataclass(frozen=True)
class LevelAlone:
    """How far level alone gets, and how closely the scores follow it.

    Attributes:
        official_score: Of level alone.
        over_clips: Its 95 % interval by bootstrap over clips.
        beside: Official score of the results that it stands beside.
        correlation: Spearman's rank correlation of score and level, or of score and level alone, whichever is farther
            from 0, mean over machines and sections; NaN where all are equal.
    """

    official_score: float
    over_clips: Interval
    beside: float
    correlation: float

    @property
    def sentences(self) -> tuple[str, ...]:
        """What it comes to, in plain words."""
        interval = "" if math.isnan(self.over_clips.low) else f", 95 % {_span(self.over_clips)}"
        said = [f"level alone: official score in percent: {100 * self.official_score:.2f}{interval}"]
        if self.official_score >= self.beside:
            said.append("level alone does as well as these scores or better: no encoder is needed for this result")
        if abs(self.correlation) >= FOLLOWS:
            said.append(
                f"the scores mostly follow level (rank correlation {self.correlation:.2f}): a change of the "
                "microphone's gain or distance would look the same"
            )
        return tuple(said)

    def to_values(self) -> dict[str, object]:
        """Return plain values for JSON."""
        ends = (self.over_clips.low, self.over_clips.high)
        return {
            "official_score": self.official_score,
            "over_clips": None if math.isnan(ends[0]) else list(ends),
            "rank_correlation": None if math.isnan(self.correlation) else self.correlation,
        }


def write_levels(folder: Path | str, machine: str, section: str, levels: Levels) -> Path:
    """Write `level_<machine>_section_<nn>_test.csv`, with a header, and return where.

    Raises:
        OutputError: The file cannot be written.
    """
    path = Path(folder) / table_name(LEVELS, (machine, section))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for where, known in ((_BANK, levels.bank), (_TEST, levels.test)):
        writer.writerows((name, f"{level:.4f}", where) for name, level in sorted(known.items()))
    write_text(path, text.getvalue())
    return path


def read_levels(folder: Path | str) -> dict[Key, Levels]:
    """Return the levels that `infer` wrote beside its scores; none for the results of other systems.

    Raises:
        InputError: A file is damaged.
    """
    found: dict[Key, Levels] = {}
    for key, path in find_tables(Path(folder), LEVELS).items():
        known: dict[str, dict[str, float]] = {_BANK: {}, _TEST: {}}
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream):
                    known[row["where"]][row["file_name"]] = finite(row["level_dbfs"])
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise InputError("not a table of levels", where=path, hint="run infer again, or remove it") from error
        found[key] = Levels(known[_BANK], known[_TEST])
    return found


def level_alone(
    levels: Mapping[Key, Levels], scores: Mapping[Key, Mapping[str, float]], truth: Truth, beside: Evaluation
) -> LevelAlone | None:
    """Return how far level alone gets on the clips of a result; None where not every clip's level is known.

    Args:
        levels: What `read_levels` gave.
        scores: The scores that it stands beside.
        truth: What the clips are.
        beside: The evaluation of those scores.
    """
    for key, table in scores.items():
        if key not in levels or not levels[key].bank or not table.keys() <= levels[key].test.keys():
            return None
    alone = {key: {name: score for name, score in levels[key].scores.items() if name in scores[key]} for key in scores}
    evaluation = evaluate(alone, None, truth)
    interval = measure_intervals(evaluation.labelled).score_over_clips
    followed = [_followed(table, levels[key].test, alone[key]) for key, table in scores.items()]
    return LevelAlone(evaluation.official_score, interval, beside.official_score, float(np.mean(followed)))


def _followed(scores: Mapping[str, float], levels: Mapping[str, float], alone: Mapping[str, float]) -> float:
    names = sorted(scores)
    own = [scores[name] for name in names]
    both = [rank_correlation(own, [values[name] for name in names]) for values in (levels, alone)]
    return max(both, key=lambda value: -1.0 if math.isnan(value) else abs(value))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation; NaN where one of them is constant, or with fewer than three values."""
    from scipy.stats import rankdata

    a, b = (rankdata(values) for values in (first, second))
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _span(interval: Interval) -> str:
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f}"
