"""The health of a bank: what it holds, what looks wrong with it, and what it can support."""

from dataclasses import dataclass

import numpy as np

from echobank.detection.bank import Bank
from echobank.machines.flags import machine_flags
from echobank.machines.machine import ZERO_THRESHOLD, backend_of, calibration_of, own_scores, rate_and_threshold

_ODD = 5.0  # robust standard deviations above the median of all recordings
_MAD_TO_SD = 1.4826  # of a normal distribution
_TWIN = 0.02  # share of the usual distance between neighbours below which two recordings count as the same sound
_LISTED = 10


@dataclass(frozen=True)
class Odd:
    """A healthy recording that is unlike the others: its median leave-one-out score, and by how many deviations."""

    file: str
    score: float
    deviations: float


@dataclass(frozen=True)
class Health:
    """What a bank holds and supports.

    Attributes:
        rows: Windows.
        recordings: Different recordings.
        hours: Healthy sound that is remembered, overlap counted once.
        states: Windows of each operating state.
        groups: Recordings or blocks that are independent; what a false-alarm rate is counted in.
        dropped: Windows that only calibrate, since the bank was compacted.
        smallest_rate: The smallest false-alarm rate that is supported.
        rate: The rate in force.
        interval: Where the true rate lies, 5th to 95th percentile.
        threshold: The score above which a window is anomalous.
        flag_rate: Rate of each of the flags `odd_band` and `impulses`; None where the bank has none.
        odd: Recordings that are unlike the others, the most unusual first.
        twins: Pairs of recordings that sound the same.
    """

    rows: int
    recordings: int
    hours: float
    states: dict[str, int]
    groups: int
    dropped: int
    smallest_rate: float
    rate: float
    interval: tuple[float, float]
    threshold: float
    flag_rate: float | None
    odd: tuple[Odd, ...]
    twins: tuple[tuple[str, str], ...]


def health(bank: Bank) -> Health:
    """Return the health of a machine's bank."""
    calibration = calibration_of(bank)
    rate, threshold = rate_and_threshold(bank)
    flags = machine_flags(bank)
    return Health(
        len(bank),
        len(bank.columns.words["sha256"].used()[0]),
        _hours(bank),
        {str(name): int(count) for name, count in zip(*np.unique(bank.domains, return_counts=True), strict=True)},
        calibration.groups,
        len(bank.dropped),
        calibration.smallest_rate,
        rate,
        calibration.interval(rate),
        threshold,
        None if flags is None else flags.rate,
        odd_ones(bank),
        twins(bank),
    )


def odd_ones(bank: Bank) -> tuple[Odd, ...]:
    """Return the recordings whose leave-one-out score lies far above that of the others, the most unusual first."""
    scores = own_scores(bank).scores
    files = bank.columns.words["file"]
    codes, which = files.used()
    counts = np.bincount(which)
    first = np.cumsum(counts) - counts
    ordered = scores[np.lexsort((scores, which))]
    medians = (ordered[first + (counts - 1) // 2] + ordered[first + counts // 2]) / 2
    centre = np.median(medians)
    spread = max(_MAD_TO_SD * float(np.median(np.abs(medians - centre))), 1e-12)
    deviations = (medians - centre) / spread
    worst = [int(i) for i in np.argsort(-deviations)[:_LISTED] if deviations[i] > _ODD]
    return tuple(Odd(files.word(int(codes[i])), float(medians[i]), float(deviations[i])) for i in worst)


def twins(bank: Bank) -> tuple[tuple[str, str], ...]:
    """Return pairs of recordings of different groups with windows that are almost the same; the first ten.

    Distances are those of the bank's own metric, found when it was fitted; of a bank of an older version, now.
    """
    own = own_scores(bank)
    distances, partner = own.distances, own.nearest
    if distances is None or partner is None:
        distances, partner = backend_of(bank).others()
    pairs = {
        tuple(sorted((bank.rows[int(i)].file, bank.rows[int(partner[i])].file)))
        for i in np.flatnonzero(distances <= _TWIN * float(np.median(distances)))
    }
    return tuple((first, second) for first, second in sorted(pairs)[:_LISTED] if first != second)


def _hours(bank: Bank) -> float:
    """Return how much sound the windows cover, overlap counted once."""
    starts, recordings = bank.columns.numbers["start"], bank.columns.words["sha256"].codes
    stops = starts + bank.columns.numbers["seconds"]
    order = np.lexsort((stops, starts, recordings))
    total, end, now = 0.0, 0.0, -1
    spans = (column[order].tolist() for column in (recordings, starts, stops))
    for recording, start, stop in zip(*spans, strict=True):
        end = 0.0 if recording != now else end
        total += max(0.0, stop - max(start, end))
        end, now = max(end, stop), recording
    return total / 3600


def describe_health(health: Health) -> list[str]:
    """Return what a bank holds and supports, one sentence per line."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(health.states.items())[:12])
    more = f" and {len(health.states) - 12} more states" if len(health.states) > 12 else ""
    low, high = health.interval
    lines = [
        f"remembers {counted(health.rows, 'window')} of {counted(health.recordings, 'recording')}, "
        f"{health.hours:.2f} h of sound",
        f"operating states (windows): {states}{more}",
        f"{health.groups} independent recordings or blocks support a false-alarm rate of "
        f"{percent(health.smallest_rate)} at the least",
        f"false-alarm rate in force {percent(health.rate)}, truly between {percent(low)} and {percent(high)} "
        f"(90 % interval); alarm above a score of {health.threshold:.4g}",
    ]
    lines.append(
        "flags odd_band and impulses are not available: fit again to have them"
        if health.flag_rate is None
        else f"flags odd_band and impulses, each on up to {percent(health.flag_rate)} of healthy windows"
    )
    if health.dropped:
        lines.append(f"{health.dropped} more windows only calibrate, since the bank was compacted")
    if health.threshold <= 0:
        lines.append(ZERO_THRESHOLD)
    for odd in health.odd:
        lines.append(f"odd among the healthy: {odd.file} (score {odd.score:.4g}, {odd.deviations:.0f} deviations)")
    for first, second in health.twins:
        lines.append(f"sound the same: {first} and {second}")
    return lines


def counted(count: int, noun: str) -> str:
    """Return a number of things as text: 1 window, 2 windows."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def percent(value: float) -> str:
    """Return a share as text."""
    return f"{100 * value:.3g} %"
