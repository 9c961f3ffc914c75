"""Sentences: an explanation in plain words, as people who maintain the machine would write it."""

from typing import TYPE_CHECKING

from echobank.machines.verdict import REMEMBERED

if TYPE_CHECKING:
    from echobank.machines.explain import Explanation, Finding
    from echobank.machines.impulses import Train


def sentences_of(it: "Explanation") -> list[str]:
    """Return what was found."""
    verdict = it.verdict
    start = verdict.start or 0.0
    side = "above" if verdict.decision else "not above"
    said = [
        f"The sound from {clock(start)} to {clock(start + (verdict.seconds or 0.0))} scores {verdict.score:.4g}, "
        f"{side} the alarm threshold of {it.threshold:.4g}; "
        f"{verdict.percentile:.0f} % of the healthy sound of this machine scores less."
    ]
    if REMEMBERED in verdict.flags.split("+"):
        said.append("The bank remembers this very recording, so it is compared with itself.")
    for finding in it.findings:
        said.append(describe(finding, start, it))
    if it.impulses:
        said.append(describe_impulses(it.impulses, start, it.impulses_p_value))
    if not it.findings and not it.impulses:
        said.append("No single moment or band stands out; the sound differs a little everywhere, or not at all.")
    said += map(str, it.quantities)
    if abs(it.level_db) >= 3:
        word = "louder" if it.level_db > 0 else "quieter"
        said.append(f"As a whole it is {abs(it.level_db):.0f} dB {word} than the most similar healthy sound.")
    if it.nearest is None:
        said.append(f"The most similar healthy recording, {verdict.nearest}, is not available to listen to.")
    return said


def describe(finding: "Finding", start: float, it: "Explanation") -> str:
    """Return a finding in plain words; `start` is where the window begins, seconds."""
    region = finding.region
    word = "louder" if region.excess_db > 0 else "quieter"
    likes = "similar healthy sound" if finding.p_value is None else "the rest of the window"
    text = (
        f"From {clock(start + region.start)} to {clock(start + region.end)}, between {hertz(region.low_hz)} and "
        f"{hertz(region.high_hz)}, it is {abs(region.excess_db):.0f} dB {word} than {likes}"
    )
    text += "." if finding.p_value is None else f"; as much stands out in {share(finding.p_value)} of healthy windows."
    score = it.verdict.score or 0.0
    if finding.score_without < score:
        verdict = "no alarm" if finding.score_without <= it.threshold else "still an alarm"
        text += f" With only this brought back to its healthy level the score would be {finding.score_without:.4g}"
        text += f" ({verdict})." if score > it.threshold else "."
    return text


def describe_impulses(train: "Train", start: float, p_value: float) -> str:
    """Return impulses in plain words: 4 clicks, 0.3 s apart (3.3 per second), from 4.3 s."""
    if train.rate_hz:
        apart = f"{1 / train.rate_hz:.2g} s apart ({train.rate_hz:.3g} Hz)"
    else:
        apart = "at no regular interval"
    return (
        f"{train.count} clicks, {apart}, from {clock(start + train.first)} to {clock(start + train.last)}, between "
        f"{hertz(train.low_hz)} and {hertz(train.high_hz)}, {train.height:.0f} dB above the sound around them "
        f"(kurtosis {train.kurtosis:.2g}); {share(p_value)} of healthy windows are as impulsive."
    )


def share(p_value: float) -> str:
    """Return a p-value as a share of healthy windows: 12 %, or less than 1 %."""
    return f"{100 * p_value:.0f} %" if p_value >= 0.01 else "less than 1 %"


def clock(seconds: float) -> str:
    """Return a time in a recording as people write it: 3.2 s, or 1:02:03.2 from a minute on."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def hertz(value: float) -> str:
    """Return a frequency as people write it: 440 Hz, 2.4 kHz."""
    return f"{value:.0f} Hz" if value < 1000 else f"{value / 1000:.1f} kHz"
