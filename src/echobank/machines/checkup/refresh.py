"""Slow adaptation: which rows to add and remove, so that a bank follows a machine without swallowing a fault.

Off unless it is asked for, and a proposal until it is applied. A window is proposed only if it is older than the
hold-back, was heard before every change that is not settled, is nearer to rows that people gave than to any window
that alarmed, and lies no farther from those rows than they lie from each other: rows that came by refresh are no
measure, so that many small steps do not lead away. What would stop a window that alarmed from alarming is left out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from echobank.detection.bank import Bank
from echobank.detection.search import Index
from echobank.errors import ConfigError
from echobank.machines import curate
from echobank.machines.checkup.blocks import DAY
from echobank.machines.checkup.checkup import Checkup
from echobank.machines.checkup.finding import WARNING, date_of
from echobank.machines.checkup.next_recordings import Suggestion, harvest_of, suggest, surely_healthy
from echobank.machines.health import twins
from echobank.machines.machine import backend_of, calibration_of, rate_and_threshold
from echobank.machines.trend.reservoir import Sampled

BY = "by"  # attribute of a row that says how it came
REFRESH = "refresh"
_MARGIN_DAYS = 7  # before the earliest beginning of a change
_MONTH = 30
_USUAL = 0.95  # share of the rows that people gave whose nearest other row is nearer than what is proposed


@dataclass(frozen=True)
class RefreshPolicy:
    """How far a bank may follow its machine.

    Attributes:
        hold_back: Days; nothing younger is proposed.
        most: Share of the rows that may come, and go, in 30 days.
        settled: Changes that began before this time were looked at and are no fault, milliseconds since 1970.
    """

    hold_back: float = 45.0
    most: float = 0.02
    settled: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.most <= 0.2:
            raise ConfigError("a refresh takes more than 0 and at most 20 % of the rows in 30 days", value=self.most)
        if not 14 <= self.hold_back < 3650:
            raise ConfigError("a hold-back is 14 days or more", value=self.hold_back)


@dataclass(frozen=True)
class RefreshPlan:
    """What a refresh would do.

    Attributes:
        additions: Windows to take.
        removals: Recordings of the bank that are there twice.
        report: Why, and what would come of it, one sentence each.
    """

    additions: tuple[Suggestion, ...]
    removals: tuple[str, ...]
    report: tuple[str, ...]


def parse_policy(text: str) -> RefreshPolicy:
    """Return the policy of a text such as "hold_back=45,most=2%,settled=2026-01-31", or "default".

    Raises:
        ConfigError: It is none.
    """
    values: dict[str, float | int] = {}
    hint = "write default, or for example hold_back=45,most=2%,settled=2026-01-31"
    for part in filter(None, "" if text.strip() == "default" else text.split(",")):
        name, _, value = (each.strip() for each in part.partition("="))
        try:
            if name == "settled":
                values[name] = round(1000 * datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp())
            elif name in ("hold_back", "most"):
                values[name] = float(value.rstrip("%d")) / (100 if value.endswith("%") else 1)
            else:
                raise ValueError
        except ValueError:
            raise ConfigError("not a policy", value=part, hint=hint) from None
    return RefreshPolicy(**values)  # type: ignore[arg-type]


def plan_refresh(
    bank: Bank, sample: Sequence[Sampled], checkup: Checkup, policy: RefreshPolicy, now: int
) -> RefreshPlan:
    """Return which rows a bank could gain and lose.

    Args:
        bank: The bank.
        sample: Windows that were kept with their embeddings.
        checkup: The checkup of the same trend.
        policy: How far it may follow.
        now: Milliseconds since 1970.
    """
    report: list[str] = []
    until = _until(checkup, policy, now, report)
    candidates = surely_healthy(bank, sample, until)
    suspects = _suspects(bank, sample)
    candidates = _near_anchors(bank, candidates, suspects, report)
    budget = _budget(bank, policy, now)
    report.append(f"{len(candidates)} windows qualify; at most {budget} may come in these {_MONTH} days")
    additions = _by_state(bank, candidates, budget)
    additions = _harmless(bank, additions, suspects, report)
    removals = _removals(bank, _budget(bank, policy, now, removed=True))
    report += _consequence(bank, additions, removals)
    return RefreshPlan(tuple(additions), tuple(removals), tuple(report))


def refreshed(bank: Bank, plan: RefreshPlan) -> Bank:
    """Return the bank after a plan; the same bank where there is nothing to do."""
    if plan.removals:
        bank = curate.remove(bank, plan.removals)
    if plan.additions:
        bank = curate.add(bank, harvest_of(bank, plan.additions, **{BY: REFRESH}))
    return bank


def _until(checkup: Checkup, policy: RefreshPolicy, now: int, report: list[str]) -> int:
    """Return the time before which windows may be taken."""
    until = now - round(policy.hold_back * DAY)
    report.append(f"nothing that was heard after {date_of(until)} is taken: the hold-back is {policy.hold_back:g} days")
    for finding in checkup.findings:
        if finding.found is None or finding.low is None or finding.level != WARNING or finding.low < policy.settled:
            continue
        before = finding.low - _MARGIN_DAYS * DAY
        if before < until:
            until = before
            report.append(
                f"nothing after {date_of(before)} either: {finding.sentence}; once that is looked at and no fault, "
                f"say settled={date_of(finding.high or finding.low)} or later"
            )
    if checkup.verdict == "too little":
        until = 0
        report.append("nothing is taken: there is not enough data to say whether the machine has changed")
    return until


def _suspects(bank: Bank, sample: Sequence[Sampled]) -> list[Sampled]:
    """Return the windows that alarmed then or would today."""
    if not sample:
        return []
    scores = backend_of(bank).score(np.stack([one.vector for one in sample]))
    _, threshold = rate_and_threshold(bank)
    return [one for one, score in zip(sample, scores.tolist(), strict=True) if score > threshold or one.window.decision]


def _near_anchors(
    bank: Bank, candidates: list[Sampled], suspects: Sequence[Sampled], report: list[str]
) -> list[Sampled]:
    """Return candidates that are as near to rows that people gave as those are to each other, and not to suspects."""
    if not candidates:
        return []
    given = np.array([row.attributes.get(BY) != REFRESH for row in bank.rows])
    metric = bank.header.scoring.metric if bank.header.scoring else "cosine"
    anchors = bank.select(given)
    index = Index(anchors.vectors, metric)
    own = index.nearest(anchors.vectors, 1, anchors.groups, anchors.groups)[0][:, :, 0].mean(axis=1)
    vectors = np.stack([one.vector for one in candidates])
    reach = index.nearest(vectors, 1)[0][:, :, 0].mean(axis=1)
    good = reach <= float(np.quantile(own, _USUAL))
    far = int((~good).sum())
    if suspects:
        others = Index(np.stack([one.vector for one in suspects]), metric)
        near = others.nearest(vectors, 1)[0][:, :, 0].mean(axis=1)
        report.append(f"{int((near <= reach).sum())} windows are nearer to one that alarmed than to the bank")
        good &= near > reach
    report.append(f"{far} windows are farther from the rows that people gave than those are from each other")
    return [one for one, fine in zip(candidates, good, strict=True) if fine]


def _budget(bank: Bank, policy: RefreshPolicy, now: int, *, removed: bool = False) -> int:
    whole = max(1, int(policy.most * len(bank)))
    if removed:
        return whole
    month = datetime.fromtimestamp((now - _MONTH * DAY) / 1000, UTC).isoformat(timespec="seconds")
    lately = sum(row.attributes.get(BY) == REFRESH and row.attributes.get("added", "") >= month for row in bank.rows)
    return max(0, whole - lately)


def _by_state(bank: Bank, candidates: Sequence[Sampled], budget: int) -> list[Suggestion]:
    """Return additions in the proportion in which the bank has its states, so that the rate holds in each as before."""
    if not candidates or not budget:
        return []
    ranked = suggest(bank, candidates, len(candidates))
    shares = {str(name): count / len(bank) for name, count in Counter(bank.domains.tolist()).items()}
    room = {state: max(1, round(share * budget)) for state, share in shares.items()}
    taken: list[Suggestion] = []
    for one in ranked:
        if room.get(one.state, 0) > 0 and len(taken) < budget:
            room[one.state] -= 1
            taken.append(one)
    return taken


def _harmless(
    bank: Bank, additions: list[Suggestion], suspects: Sequence[Sampled], report: list[str]
) -> list[Suggestion]:
    """Return the additions after which every window that alarmed would still alarm."""
    if not suspects or not additions:
        return additions
    vectors = np.stack([one.vector for one in suspects])
    _, threshold = rate_and_threshold(bank)
    alarmed = backend_of(bank).score(vectors) > threshold
    kept: list[Suggestion] = []
    for one in additions:
        trial = curate.add(bank, harvest_of(bank, [*kept, one], **{BY: REFRESH}))
        after = backend_of(trial).score(vectors) > rate_and_threshold(trial)[1]
        if (alarmed & ~after).any():
            report.append(f"{one.sampled.window.file} at {one.at} is left out: an alarm would be silenced by it")
        else:
            kept.append(one)
    return kept


def _removals(bank: Bank, budget: int) -> list[str]:
    """Return recordings that sound as another one does, of states that have recordings to spare."""
    rate, _ = rate_and_threshold(bank)
    words = bank.columns.words
    files, states = words["file"].array(), words["domain"].array()
    state_of: Mapping[str, str] = {str(file): str(state) for file, state in zip(files, states, strict=True)}
    left = Counter(state_of.values())
    sizes = Counter(files.tolist())
    found: list[str] = []
    rows = 0
    for first, second in twins(bank):
        state = state_of[second]
        if second in found or first in found or state_of[first] != state:
            continue
        if left[state] - 1 < 1 / rate or rows + sizes[second] > budget:
            continue
        left[state] -= 1
        rows += sizes[second]
        found.append(second)
    return found


def _consequence(bank: Bank, additions: Sequence[Suggestion], removals: Sequence[str]) -> list[str]:
    """Return what would come of a plan: threshold and interval of the rate."""
    if not additions and not removals:
        return ["nothing is proposed; the bank stays as it is"]
    after = refreshed(bank, RefreshPlan(tuple(additions), tuple(removals), ()))
    (rate, old), (_, new) = rate_and_threshold(bank), rate_and_threshold(after)
    intervals = [calibration_of(each).interval(rate) for each in (bank, after)]
    (low, high), (low_after, high_after) = intervals
    return [
        f"{len(additions)} windows would come and {len(removals)} recordings go; alarm above {old:.4g} before, "
        f"{new:.4g} after",
        f"the rate of {100 * rate:.2g} % truly lies between {100 * low:.2g} and {100 * high:.2g} % before, "
        f"{100 * low_after:.2g} and {100 * high_after:.2g} % after",
    ]
