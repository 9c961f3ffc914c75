"""The checkup of a machine: is this bank still good, since when not, and what to do. Findings from a history."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.detection.bank import Bank
from echobank.errors import InputError
from echobank.machines.checkup.blocks import DAY, FIRST_DAYS, Blocks, cut_blocks
from echobank.machines.checkup.coverage import coverage_findings
from echobank.machines.checkup.episode_finding import episode_finding
from echobank.machines.checkup.episodes import (
    FALSE_ALARMS,
    Episode,
    episodes_of,
    score_shifts,
    sound_shifts,
)
from echobank.machines.checkup.feedback import feedback_findings
from echobank.machines.checkup.finding import GOOD, NOTE, WARNING, CheckupFinding, date_of, share
from echobank.machines.checkup.history import History
from echobank.machines.checkup.hourly import Hours
from echobank.machines.checkup.rates import observed
from echobank.machines.checkup.regimes import LEAST_BLOCKS
from echobank.machines.health import counted
from echobank.machines.machine import calibration_of, own_machine, rate_and_threshold
from echobank.machines.trend.reservoir import Sampled

LEAST_DAYS = FIRST_DAYS + 7
_DEPENDENT = 0.15  # autocorrelation of blocks of 8 hours or more from which the stated rate is an approximation


@dataclass(frozen=True)
class Daily:
    """Values for the charts of the page, one per day.

    Attributes:
        begins: Milliseconds since 1970.
        score: Median score.
        share: Share of windows that alarmed.
        level: Mean level, dB of full scale.
    """

    begins: tuple[int, ...]
    score: tuple[float, ...]
    share: tuple[float, ...]
    level: tuple[float, ...]


@dataclass(frozen=True)
class Checkup:
    """The checkup of a machine.

    Attributes:
        machine: Its name.
        made: When, milliseconds since 1970.
        first: When the trend begins, and ...
        last: ... ends; 0 where it is empty.
        windows: Windows that it rests on.
        revision: Revision of the bank whose scores were tested.
        false_alarms: Bound on false alarms per year of a healthy machine, on average.
        block_hours: Length of the blocks that the scores were tested in; 0 where they were not.
        verdict: "good", "look" or "too little".
        findings: What was found, warnings first.
        daily: Values for the charts of the page.
    """

    machine: str
    made: int
    first: int
    last: int
    windows: int
    revision: int
    false_alarms: float
    block_hours: int
    verdict: str
    findings: tuple[CheckupFinding, ...]
    daily: Daily

    def to_values(self) -> dict[str, Any]:
        """Return the checkup as plain values; what is not a number is null."""
        values: dict[str, Any] = _plain(dataclasses.asdict(self))
        return values


def check_up(
    bank: Bank,
    history: History,
    *,
    now: int,
    sample: Sequence[Sampled] = (),
    events: Sequence[Mapping[str, Any]] = (),
    false_alarms: float = FALSE_ALARMS,
) -> Checkup:
    """Return the checkup of a machine.

    Args:
        bank: Its bank, as it is today.
        history: What was heard.
        now: Milliseconds since 1970.
        sample: Windows that were kept with their embeddings.
        events: Rows of the service's table `events`.
        false_alarms: Bound on false alarms per year of a healthy machine, on average.

    Raises:
        InputError: An impossible rate of false alarms.
    """
    if not 0 < false_alarms < 100:
        raise InputError("false alarms per year lie between 0 and 100", value=false_alarms)
    hours = history.hours
    tested, findings = _revision_to_test(hours)
    blocks = None
    if tested is not None:
        blocks, found = _tested(bank, history, tested, false_alarms)
        findings += found
    findings += coverage_findings(bank, history.nearest, sample)
    if len(hours):
        threshold = rate_and_threshold(bank)[1]
        findings += feedback_findings(events, threshold, int(hours.begins[0]), int(hours.begins[-1]) + DAY)
    findings.sort(key=lambda it: ((WARNING, NOTE, GOOD).index(it.level), -(it.since or 0)))
    verdict = "too little" if tested is None else "good"
    return Checkup(
        machine=own_machine(bank).name,
        made=now,
        first=int(hours.begins[0]) if len(hours) else 0,
        last=int(hours.begins[-1]) if len(hours) else 0,
        windows=int(hours.windows.sum()),
        revision=int(tested.revision[0]) if tested is not None else 0,
        false_alarms=false_alarms,
        block_hours=blocks.length if blocks else 0,
        verdict="look" if any(it.level == WARNING for it in findings) else verdict,
        findings=tuple(findings),
        daily=_daily(hours),
    )


def _tested(bank: Bank, history: History, tested: Hours, false_alarms: float) -> tuple[Blocks, list[CheckupFinding]]:
    """Return the blocks of the scores, and what the tests found."""
    blocks, scores = score_shifts(tested, false_alarms)
    hours = history.hours
    episodes = episodes_of(hours, [*scores, *sound_shifts(hours, false_alarms)])
    states = _states(bank, history)[hours.revision == tested.revision[0]]
    found = [episode_finding(episode, tested, states) for episode in episodes]
    found += _steady(tested, blocks, episodes, false_alarms)
    return blocks, found + _rate(bank, tested, blocks, episodes)


def _revision_to_test(hours: Hours) -> tuple[Hours | None, list[CheckupFinding]]:
    """Return the hours of the newest revision that has enough of them, and what to say where the newest has not."""
    for revision in np.unique(hours.revision)[::-1].tolist():
        chosen = hours.take(hours.revision == revision)
        days = len(np.unique(chosen.begins // DAY))
        spanned = (int(chosen.begins[-1]) - int(chosen.begins[0])) / DAY
        if spanned < LEAST_DAYS or days < LEAST_BLOCKS:
            continue
        if revision == hours.revision.max():
            return chosen, []
        said = (
            f"the bank was changed so recently (revision {int(hours.revision.max())}) that its scores cannot be tested "
            f"yet; those of revision {revision} were, up to {date_of(int(chosen.begins[-1]))}"
        )
        return chosen, [
            CheckupFinding("data", "new_revision", NOTE, said, (), f"run this again after {LEAST_DAYS} days")
        ]
    if not len(hours):
        said = "nothing was heard yet"
    else:
        spanned = (int(hours.begins[-1]) - int(hours.begins[0])) / DAY
        said = (
            f"not enough data to say whether scores are as before: {counted(int(hours.windows.sum()), 'window')} in "
            f"{counted(len(hours), 'hour')} of {counted(len(np.unique(hours.begins // DAY)), 'day')}, "
            f"{spanned:.1f} days from first to last"
        )
    step = (
        f"keep a trend for {LEAST_DAYS} days or more, with windows on at least {LEAST_BLOCKS} of them; "
        f"the first {FIRST_DAYS} are what later ones are compared with"
    )
    return None, [
        CheckupFinding("data", "too_little", NOTE, said, (), step, values={"windows": int(hours.windows.sum())})
    ]


def _steady(tested: Hours, blocks: Blocks, episodes: Sequence[Episode], false_alarms: float) -> list[CheckupFinding]:
    """Return that scores come as before, where they do, and where the stated rate of false alarms is not exact."""
    found = []
    years = f"at most {false_alarms:g} false alarms per year of a healthy machine"
    if not any(episode.judged for episode in episodes):
        said = f"scores in quiet times are distributed as in the first weeks, since {date_of(int(tested.begins[0]))}"
        evidence = (
            f"{len(blocks)} blocks of {blocks.length} h, a conformal test martingale with {years} of all its tests",
        )
        found.append(CheckupFinding("scores", "steady", GOOD, said, evidence))
    if blocks.length >= 8 and blocks.dependence > _DEPENDENT:
        said = f"blocks of {blocks.length} h still resemble their neighbours (autocorrelation {blocks.dependence:.2f})"
        evidence = (f"the rate of {years} is an approximation then, because this machine has always had slow swings",)
        found.append(CheckupFinding("scores", "dependent", NOTE, said, evidence))
    return found


def _rate(bank: Bank, tested: Hours, blocks: Blocks, episodes: Sequence[Episode]) -> list[CheckupFinding]:
    """Return how the share of windows that alarm compares with the rate in force, and with what was promised of it."""
    moved = [episode.judged for episode in episodes if episode.judged]
    since = max((shift.ends if shift.slow else shift.since for shift in moved), default=int(tested.begins[0]))
    since = min(since, int(tested.begins[-1]) - 2 * DAY)
    now = observed(tested, blocks, since, int(tested.begins[-1]) + DAY)
    if now is None:
        return []
    rate, _ = rate_and_threshold(bank)
    promised = calibration_of(bank).interval(rate)
    before = observed(tested, blocks, int(tested.begins[0]), moved[0].low) if moved else None
    evidence = [
        f"{share(now.share)} of the windows since {date_of(since)} are above the threshold "
        f"({share(now.low)} to {share(now.high)}, 90 % interval by {now.blocks} blocks)",
        f"the rate in force is {share(rate)}; with the recordings of this bank it truly lies between "
        f"{share(promised[0])} and {share(promised[1])} (Beta interval of its calibration)",
    ]
    if before is not None:
        evidence.append(f"before the first change it was {share(before.share)}")
    values = {"rate": rate, "share": now.share, "low": now.low, "high": now.high}
    if now.low > promised[1]:
        said = f"the bank alarms {now.share / rate:.2g} times as often as the rate in force"
        step = "find out why the scores rose before the rate is changed; findings above say since when"
        return [CheckupFinding("scores", "rate_high", WARNING, said, tuple(evidence), step, since=since, values=values)]
    if now.high < promised[0]:
        said = f"the bank alarms less often than the rate in force: {share(now.share)} in place of {share(rate)}"
        step = "nothing needs to be done; a lower threshold would find more (`echobank bank calibrate --far`)"
        return [CheckupFinding("scores", "rate_low", NOTE, said, tuple(evidence), step, since=since, values=values)]
    said = f"the bank alarms as often as its rate allows: {share(now.share)} of the windows of quiet times"
    return [CheckupFinding("scores", "rate", GOOD, said, tuple(evidence), values=values)]


def _states(bank: Bank, history: History) -> NDArray[np.str_]:
    """Return the operating state that each hour was nearest to, str[T]; empty where the bank no longer knows it."""
    words = bank.columns.words
    codes, first = np.unique(words["file"].codes, return_index=True)
    states = words["domain"].array()
    known = {words["file"].word(int(code)): str(states[row]) for code, row in zip(codes, first, strict=True)}
    return np.array([known.get(name, "") for name in history.states], dtype=str)


def _daily(hours: Hours) -> Daily:
    if not len(hours):
        return Daily((), (), (), ())
    days = cut_blocks(hours, 24)
    windows = np.bincount(days.hours, hours.windows, len(days))
    anomalous = np.bincount(days.hours, hours.anomalous, len(days))
    return Daily(
        tuple(days.begins.tolist()),
        tuple(days.medians(hours.score).tolist()),
        tuple((anomalous / np.maximum(windows, 1)).tolist()),
        tuple(days.means(hours.level).tolist()),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
