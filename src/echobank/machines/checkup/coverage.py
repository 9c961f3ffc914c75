"""Coverage: what of a bank is used, what was far from all of it and never alarmed, what there is too little of."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from echobank.detection.bank import Bank
from echobank.machines.checkup.blocks import DAY
from echobank.machines.checkup.finding import NOTE, WARNING, CheckupFinding, share
from echobank.machines.health import counted, twins
from echobank.machines.machine import rate_and_threshold
from echobank.machines.trend.reservoir import Sampled

_FAR = 0.2  # p-value below which a window is far from all rows
_DAYS = 3  # on which such windows were heard
_LISTED = 10
_WINDOWS_EACH = 50  # heard per recording of the bank, before one that was never nearest is worth a sentence


def coverage_findings(bank: Bank, nearest: Mapping[str, int], sample: Sequence[Sampled]) -> list[CheckupFinding]:
    """Return what a bank lacks and what it does not need.

    Args:
        bank: The bank.
        nearest: How often each of its recordings was nearest.
        sample: Windows that were kept with their embeddings.
    """
    found = [_never_nearest(bank, nearest), _far(sample), _few(bank), _twice(bank)]
    return [finding for finding in found if finding is not None]


def _never_nearest(bank: Bank, nearest: Mapping[str, int]) -> CheckupFinding | None:
    files = sorted({bank.columns.words["file"].word(int(code)) for code in bank.columns.words["file"].used()[0]})
    unused = [file for file in files if file not in nearest]
    if not unused or sum(nearest.values()) < _WINDOWS_EACH * len(files):
        return None
    return CheckupFinding(
        "coverage",
        "never_nearest",
        NOTE,
        f"{len(unused)} of the {len(files)} recordings of the bank were never among the nearest that hours name",
        (_listed(unused),),
        "nothing needs to be done; `echobank bank remove` removes a state that the machine no longer has",
        values={"recordings": len(files), "unused": len(unused)},
    )


def _far(sample: Sequence[Sampled]) -> CheckupFinding | None:
    days: dict[str, set[int]] = defaultdict(set)
    files: dict[str, set[str]] = defaultdict(set)
    for one in sample:
        window = one.window
        if window.p_value is not None and window.p_value < _FAR and not window.decision and not window.quiet:
            days[window.nearest].add(window.heard // DAY)
            files[window.nearest].add(f"{window.file} at {window.start or 0:g} s")
    often = {name: len(each) for name, each in days.items() if len(each) >= _DAYS}
    if not often:
        return None
    worst = max(often, key=lambda name: often[name])
    return CheckupFinding(
        "coverage",
        "far",
        NOTE,
        f"sound that is far from everything in the bank recurs without an alarm: on {often[worst]} days, "
        f"nearest to {worst}",
        (_listed(sorted(files[worst])),),
        "listen to these; if they are healthy, add them with `echobank bank add`",
        values={"days": often[worst]},
    )


def _few(bank: Bank) -> CheckupFinding | None:
    groups: dict[str, set[str]] = defaultdict(set)
    for state, group in zip(bank.columns.words["domain"].array(), bank.columns.words["group"].array(), strict=True):
        groups[str(state)].add(str(group))
    rate, _ = rate_and_threshold(bank)
    few = {state: len(each) for state, each in groups.items() if 1 / (len(each) + 1) > rate + 1e-9}
    if not few or len(groups) < 2:
        return None
    parts = ", ".join(f"{state} has {count}" for state, count in sorted(few.items(), key=lambda it: it[1])[:_LISTED])
    return CheckupFinding(
        "coverage",
        "few",
        WARNING,
        f"the rate of {share(rate)} holds over all states, not in each: {counted(len(few), 'state')} would need "
        f"{round(1 / rate) - 1} independent recordings",
        (parts,),
        "record these states more often; `echobank checkup --next` lists clips that you already have",
        values={"states": len(few)},
    )


def _twice(bank: Bank) -> CheckupFinding | None:
    pairs = twins(bank)
    if not pairs:
        return None
    return CheckupFinding(
        "coverage",
        "twice",
        NOTE,
        f"{counted(len(pairs), 'pair')} of recordings of the bank sound almost the same and add nothing",
        (_listed([f"{one} and {two}" for one, two in pairs]),),
        "remove one of each, so that they do not count as independent",
        values={"pairs": len(pairs)},
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
