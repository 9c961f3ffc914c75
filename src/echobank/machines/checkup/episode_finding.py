"""The finding of an episode: the recording chain, the machine, or sound that the scores do not mind."""

import numpy as np
from numpy.typing import NDArray

from echobank.machines.checkup.episodes import ALARMS, SCORE, Episode, log_scores
from echobank.machines.checkup.finding import NOTE, WARNING, CheckupFinding, between, date_of, share
from echobank.machines.checkup.hourly import Hours
from echobank.machines.checkup.rates import parts_of_time
from echobank.machines.checkup.regimes import Shift


def episode_finding(episode: Episode, tested: Hours, states: NDArray[np.str_]) -> CheckupFinding:
    """Return what a change comes to: the recording chain, the machine, or sound that the scores do not mind.

    Args:
        episode: The change.
        tested: Hours whose scores were tested.
        states: Operating state that each was nearest to.
    """
    shift, cause, judged = episode.leading, episode.cause, episode.judged
    when = _when(shift)
    scored, values, evidence = _scored(episode)
    evidence += [f"found on {date_of(episode.found)}", *filter(None, cause.evidence)]
    if judged is not None:
        evidence += parts_of_time(log_scores(tested), tested.begins, states, judged.since)
    if not np.isnan(cause.size):
        values["size"] = cause.size
    more = {"since": shift.since, "low": shift.low, "high": shift.high, "found": episode.found}
    if cause.chain:
        said = f"recording chain: {cause.sentence}, {when}" + (f"; {scored}" if scored else "")
        return CheckupFinding(
            "recording chain", cause.kind, WARNING, said, tuple(evidence), cause.next_step, **more, values=values
        )
    if judged is None:
        said = f"the sound changed {when}, and the scores did not; {cause.sentence}"
        return CheckupFinding("sound", cause.kind, NOTE, said, tuple(evidence), cause.next_step, **more, values=values)
    about = "scores" if cause.kind == "unknown" else "machine"
    said = f"{'scores' if about == 'scores' else 'the machine'} changed {when}: {scored}; {cause.sentence}"
    kind = "slow" if judged.slow else "sudden"
    return CheckupFinding(about, kind, WARNING, said, tuple(evidence), cause.next_step, **more, values=values)


def _scored(episode: Episode) -> tuple[str, dict[str, float], list[str]]:
    """Return what the scores and alarms did in a change, as text and as figures, and since when."""
    parts, values, judged = [], dict[str, float](), episode.judged
    if (score := episode.shifts.get(SCORE)) is not None:
        values["score_ratio"] = float(np.exp(score.size))
        parts.append(f"scores of quiet times are {values['score_ratio']:.2g} times what they were")
    if (alarms := episode.shifts.get(ALARMS)) is not None:
        values["alarms"] = alarms.size
        parts.append(f"{share(abs(alarms.size))} {'more' if alarms.size > 0 else 'fewer'} of all windows alarm")
    if judged is None:
        return "", values, []
    moved = f"the scores moved {_when(judged)}, by {abs(judged.size) / judged.deviation:.1f} of their deviations"
    return " and ".join(parts), values, [moved]


def _when(shift: Shift) -> str:
    span = between(shift.low, shift.high)
    if not shift.slow:
        return f"suddenly, {span if shift.low == shift.high else f'between {span}'}"
    return f"slowly since about {date_of(shift.since)} ({span})" + (", and it goes on" if shift.going_on else "")
