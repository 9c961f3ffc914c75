"""Level alone beside the settings of a study: what it scores, and which settings do no better or follow it."""

from collections.abc import Sequence

import numpy as np

from echobank.evaluation.comparison import CellResult, CellScores, StudySet
from echobank.evaluation.intervals import measure_intervals
from echobank.evaluation.level_alone import FOLLOWS, rank_correlation
from echobank.evaluation.metrics import evaluate_labelled
from echobank.evaluation.truth import LabelledScores


def beside_level(
    results: Sequence[CellResult], scored: Sequence[Sequence[CellScores] | str], sets: Sequence[StudySet]
) -> tuple[str, ...]:
    """Return sentences on the plain level of the clips, as a study shows it; nothing where no level is known.

    Args:
        results: One per setting.
        scored: The scores of each on the same sets, or why there are none.
        sets: Banks and test clips.
    """
    labelled = [
        LabelledScores(row.machine, row.section, data.names, data.level_alone, None, data.anomaly, data.domains)
        for data in sets
        if data.level_alone is not None
        for row in [data.bank.rows[0]]
    ]
    if not labelled:
        return ()
    official = evaluate_labelled(labelled).official_score
    over = measure_intervals(labelled).score_over_clips
    interval = "" if np.isnan(over.low) else f", 95 % over clips {100 * over.low:.1f} to {100 * over.high:.1f}"
    said = [
        "Level alone (distance in dB of a clip's RMS level to the nearest of the bank): "
        f"official score {100 * official:.1f} %{interval}. A setting that does no better needs no encoder."
    ]
    done = [result for result in results if result.evaluation]
    poor = [it for it in done if it.evaluation and it.evaluation.official_score <= official]
    if poor:
        said.append(f"No better than level alone: {_named(poor, len(done))}.")
    followers = [
        result
        for result, scores in zip(results, scored, strict=True)
        if not isinstance(scores, str) and _correlation(scores, sets) >= FOLLOWS
    ]
    if followers:
        said.append(
            f"Scores mostly follow level (rank correlation {FOLLOWS:g} or more), as after a change of the microphone's "
            f"gain or distance: {_named(followers, len(done))}."
        )
    return tuple(said)


def _correlation(scores: Sequence[CellScores], sets: Sequence[StudySet]) -> float:
    """Return the rank correlation of a setting's scores and level alone, mean over machines."""
    each = [
        rank_correlation(found.scores.tolist(), data.level_alone.tolist())
        for found, data in zip(scores, sets, strict=True)
        if data.level_alone is not None
    ]
    return float(np.mean(each))


def _named(results: Sequence[CellResult], of: int) -> str:
    if len(results) == of:
        return "every setting" if of > 1 else "the setting"
    return "; ".join(" ".join(result.cell.values) for result in results)
