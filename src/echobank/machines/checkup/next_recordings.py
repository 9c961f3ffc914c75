"""What to record next: the clips among those that were heard, and are certainly healthy, that the bank covers least.

They are chosen by the greedy k-centre rule (Gonzalez, 1985) with the rows of the bank as the first centres: each next
clip is the farthest from the bank and from those chosen. Any independent recording narrows the interval of the rate;
these cover states besides that the bank has heard least of.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from echobank.detection.bank import Bank, Row
from echobank.detection.calibration import beta_interval
from echobank.detection.search import Index, points
from echobank.errors import InputError
from echobank.machines.checkup.blocks import DAY
from echobank.machines.harvest import Harvest
from echobank.machines.machine import backend_of, calibration_of, own_machine, rate_and_threshold
from echobank.machines.traits import SWINGS
from echobank.machines.trend.reservoir import Sampled
from echobank.machines.trend.summaries import HOUR

Float64 = NDArray[np.float64]

SURE = 0.1  # p-value from which a window is certainly healthy; twice the rate where that is more
_NEAR_ALARM = 6 * HOUR  # nothing so near in time to an alarm is taken


@dataclass(frozen=True)
class Suggestion:
    """A clip to listen to, and to take as healthy.

    Attributes:
        sampled: The window.
        state: Operating state of the nearest recording of the bank.
        distance: How far it is from the bank, in the bank's usual distances between neighbours.
    """

    sampled: Sampled
    state: str
    distance: float

    @property
    def at(self) -> str:
        """When it was heard, ISO 8601."""
        return datetime.fromtimestamp(self.sampled.window.heard / 1000, UTC).isoformat(timespec="seconds")


def surely_healthy(bank: Bank, sample: Sequence[Sampled], until: int | None = None) -> list[Sampled]:
    """Return the windows that are certainly healthy and that the bank does not have.

    They are judged by the bank of today: far from its threshold, in no rest and like no acknowledged sound, not within
    six hours of an alarm, and heard before a change that is not explained.

    Args:
        bank: The bank.
        sample: Windows that were kept with their embeddings.
        until: When a change began that is not explained, milliseconds since 1970; None where there is none.
    """
    if not sample:
        return []
    require_fitting(bank, sample)
    rate, threshold = rate_and_threshold(bank)
    scores = backend_of(bank).score(np.stack([one.vector for one in sample]))
    p_values = calibration_of(bank).p_values(scores)
    alarms = np.sort([one.window.heard for one, score in zip(sample, scores, strict=True) if score > threshold])
    words = bank.columns.words
    known = {
        hashes.word(int(code))
        for name in ("sha256", "sound_sha256")
        for hashes in [words[name]]
        for code in hashes.used()[0]
    }
    found = []
    for one, p_value in zip(sample, p_values.tolist(), strict=True):
        window = one.window
        if until is not None and window.heard >= until:
            continue
        if p_value < max(SURE, 2 * rate) or window.quiet or window.decision or _hash_of(one) in known:
            continue
        place = int(np.searchsorted(alarms, window.heard))
        near = [alarms[i] for i in (place - 1, place) if 0 <= i < len(alarms)]
        if any(abs(int(at) - window.heard) < _NEAR_ALARM for at in near):
            continue
        found.append(one)
    return found


def suggest(bank: Bank, candidates: Sequence[Sampled], count: int) -> list[Suggestion]:
    """Return the clips that the bank covers least, the farthest first, each of another recording.

    Args:
        bank: The bank.
        candidates: As `surely_healthy` gives them.
        count: How many.
    """
    if not candidates or count < 1:
        return []
    metric = bank.header.scoring.metric if bank.header.scoring else "cosine"
    vectors = np.stack([one.vector for one in candidates])
    distances, rows = Index(bank.vectors, metric).nearest(vectors, 1)
    reach = distances[:, :, 0].mean(axis=1)
    usual = _usual_distance(bank, metric)
    placed = points(vectors, metric).reshape(len(vectors), -1) / np.sqrt(vectors.shape[1])
    far = reach.copy()
    chosen: list[int] = []
    while len(chosen) < count and far.max() > 0:
        farthest = int(far.argmax())
        chosen.append(farthest)
        apart = ((placed - placed[farthest]) ** 2).sum(axis=1) / (2 if metric == "cosine" else 1)
        apart = apart if metric == "cosine" else np.sqrt(apart)
        far = np.minimum(far, apart)
        same = [i for i, one in enumerate(candidates) if _hash_of(one) == _hash_of(candidates[farthest])]
        far[same] = 0.0
    return [Suggestion(candidates[i], bank.rows[int(rows[i, 0, 0])].domain, float(reach[i] / usual)) for i in chosen]


def narrowed(bank: Bank, count: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the interval of the rate in force, and the one with this many more independent recordings."""
    calibration, (rate, _) = calibration_of(bank), rate_and_threshold(bank)
    groups = calibration.groups + count
    k = max(1, int(rate * (groups + 1) + 1e-9))
    return calibration.interval(rate), beta_interval(k, groups + 1 - k)


def harvest_of(bank: Bank, chosen: Sequence[Suggestion], **facts: str) -> Harvest:
    """Return windows of a trend as rows for a bank; facts become attributes of each row.

    Raises:
        InputError: They lack what the flags of the bank are made of.
    """
    machine = own_machine(bank).name
    rows = tuple(_row(one, machine, facts) for one in chosen)
    sampled = [one.sampled for one in chosen]
    sizes = {len(one.traits) for one in sampled}
    if SWINGS in bank.extras and (len(sizes) > 1 or 0 in sizes):
        hint = "add the recordings themselves by `echobank bank add`"
        raise InputError("the trend was kept before the bank had flags, and lacks what they are made of", hint=hint)
    with_traits = len(sizes) == 1 and SWINGS in bank.extras
    return Harvest(
        np.stack([one.vector for one in sampled]),
        np.stack([one.profile for one in sampled]),
        np.array([one.window.level_dbfs or -200.0 for one in sampled], np.float32),
        np.stack([one.traits for one in sampled]) if with_traits else np.zeros((len(sampled), 0), np.float32),
        rows,
        (),
        (),
        (),
    )


def require_fitting(bank: Bank, sample: Sequence[Sampled]) -> None:
    """Raise unless the windows of a trend were embedded as the bank was.

    Raises:
        InputError: They were not.
    """
    shapes = {one.vector.shape for one in sample} - {bank.vectors.shape[1:]}
    if shapes:
        hint = "keep a trend of its own for a bank that was fitted with another encoder"
        raise InputError("the trend was kept with another encoder than the bank's", value=sorted(shapes)[0], hint=hint)


def _row(one: Suggestion, machine: str, facts: Mapping[str, str]) -> Row:
    sampled, window = one.sampled, one.sampled.window
    now = datetime.now(UTC).isoformat(timespec="seconds")
    attributes = {"added": now, "heard": one.at, **facts}
    file = window.file if sampled.sha256 else f"{window.file} at {one.at}"
    start = (window.start or 0.0) if sampled.sha256 else 0.0  # of a stream each window is a recording of its own
    return Row(
        file,
        machine,
        domain=one.state,
        attributes=attributes,
        sha256=_hash_of(sampled),
        sound_sha256=sampled.sound_sha256 if sampled.sha256 else "",
        start=start,
        seconds=window.seconds or 0.0,
    )


def _hash_of(one: Sampled) -> str:
    """Return what the recording of a window is known by; each window of a stream is one."""
    return one.sha256 or hashlib.sha256(one.window.id.encode()).hexdigest()


def _usual_distance(bank: Bank, metric: str) -> float:
    own = bank.own.distances if bank.own is not None else None
    if own is None:
        own = Index(bank.vectors, metric).nearest(bank.vectors, 2)[0][:, :, 1].mean(axis=1)
    return max(float(np.median(own)), 1e-12)


def days_ago(now: int, days: float) -> int:
    """Return the time this many days before another, milliseconds since 1970."""
    return now - round(days * DAY)
