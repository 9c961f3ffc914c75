"""The reservoir: a bounded, stratified sample of the windows of each day, with embeddings and profiles.

Of each hour of a day the windows with the smallest hash of their id are kept, so that the sample is random, depends on
nothing but the ids, and a smaller one is a part of a larger one; besides, the highest scores of the day. Days lose
most of their sample as they grow old. One file per day.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echobank.detection.tensor_file import read_tensors, write_tensors
from echobank.errors import InputError
from echobank.machines.listener import Heard
from echobank.machines.trend.trend_window import TrendWindow, window_from
from echobank.names import printable

Float32 = NDArray[np.float32]
Int16 = NDArray[np.int16]

AN_HOUR = 2  # windows of an hour
HIGHEST = 8  # windows of a day, by score
AGES = ((90, 24 * AN_HOUR + HIGHEST), (365, 12), (1 << 30, 4))  # (days, windows of a day up to that age)
_KEY = "echobank"


@dataclass(frozen=True)
class Sampled:
    """A window of the sample.

    Attributes:
        window: As the trend has it; its facts are empty.
        sha256: Hash of the recording's bytes; empty for a stream.
        sound_sha256: Hash of its sound, as `Heard`.
        vector: Embedding, float32[H, D].
        profile: Mean and deviation of the log-mel power, float32[2, M].
        high: Whether it is there for its score.
        traits: What flags are made of, float32[K] (`machines.traits`); K is 0 where the machine has no flags.
    """

    window: TrendWindow
    sha256: str
    sound_sha256: str
    vector: Float32
    profile: Float32
    high: bool = False
    traits: Float32 = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def day(self) -> str:
        """The day on which it was heard, UTC."""
        return datetime.fromtimestamp(self.window.heard // 1000, UTC).strftime("%Y-%m-%d")


class Reservoir:
    """Keeps the sample of one machine.

    Args:
        folder: Where its files go; `sample` of a trend.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting: dict[str, dict[str, Sampled]] = defaultdict(dict)

    def take(self, windows: Sequence[TrendWindow], heard: Heard) -> None:
        """Consider windows of one recording, in order; nothing is written yet.

        Args:
            windows: One per window of the recording; those without a score are passed over.
            heard: What was heard, with profiles.
        """
        if heard.error or not heard.profiles.shape[2]:
            return
        for i, window in enumerate(windows):
            if window.score is None or "silent" in window.flags:
                continue
            hashes = heard.sha256, heard.sound_sha256
            traits = heard.traits[i].copy() if len(heard.traits) else np.zeros(0, np.float32)
            arrays = heard.vectors[i].copy(), heard.profiles[i].copy()
            one = Sampled(replace(window, facts=()), *hashes, *arrays, traits=traits)
            day = self._waiting[one.day]
            day[window.id] = one
            if len(day) > 4 * AGES[0][1]:
                self._waiting[one.day] = {it.window.id: it for it in chosen(day.values(), AGES[0][1])}

    def write(self) -> None:
        """Join what was considered to the files of its days.

        Raises:
            OutputError: The disk is full or gone; then it is kept for the next time.
        """
        for day in list(self._waiting):
            path = self.folder / f"{day}.safetensors"
            known = {one.window.id: one for one in sample_of(path)} if path.exists() else {}
            write_sample(path, chosen({**known, **self._waiting[day]}.values(), AGES[0][1]))
            del self._waiting[day]

    def age(self, today: date) -> None:
        """Let old days lose most of their sample.

        Raises:
            OutputError: The disk is full or gone.
        """
        bounds = sorted((day_of(path), path) for path in self.folder.glob("*.safetensors"))
        for day, path in bounds:
            most = next(count for days, count in AGES if (today - day).days <= days)
            if most < AGES[0][1]:
                sample = sample_of(path)
                if len(sample) > most:
                    write_sample(path, chosen(sample, most))


def chosen(sample: Iterable[Sampled], most: int) -> list[Sampled]:
    """Return at most this many windows of a day: per hour those with the smallest hashes, and the highest scores."""
    ordered = sorted(sample, key=lambda one: _rank(one.window.id))
    hours: dict[int, list[Sampled]] = defaultdict(list)
    for one in ordered:
        hours[one.window.heard // 3_600_000].append(one)
    rounds = (each[turn] for turn in range(AN_HOUR) for each in hours.values() if turn < len(each))
    room = max(0, most - min(HIGHEST, most // 4))
    kept = {one.window.id: replace(one, high=False) for one in islice(rounds, room)}
    by_score = sorted(ordered, key=lambda one: -(one.window.score or 0.0))
    highest = (one for one in by_score if one.window.id not in kept)
    kept |= {one.window.id: replace(one, high=True) for one in islice(highest, min(HIGHEST, most - len(kept)))}
    return sorted(kept.values(), key=lambda one: (one.window.heard, one.window.id))


def read_reservoir(folder: Path, since: date = date.min) -> list[Sampled]:
    """Return the sample of a trend, the oldest first.

    Raises:
        InputError: A file is damaged.
    """
    files = sorted(path for path in folder.glob("*.safetensors") if day_of(path) >= since)
    return [one for path in files for one in sample_of(path)]


def sample_of(path: Path) -> list[Sampled]:
    """Return the sample of a day.

    Raises:
        InputError: The file is damaged.
    """
    try:
        text, arrays = read_tensors(path, _KEY)
        rows = json.loads(text)
        traits = arrays.get("traits", np.zeros((len(rows), 0), np.float32))
        columns = zip(rows, arrays["vectors"], arrays["profiles"], traits, strict=True)
        return [
            Sampled(window_from(row["window"]), row["sha256"], row["sound_sha256"], vector, profile, row["high"], trait)
            for row, vector, profile, trait in columns
        ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError("not a sample of a trend, or a damaged one", where=path, hint="move it away") from error


def write_sample(path: Path, sample: Sequence[Sampled]) -> None:
    """Write the sample of a day, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    arrays = {
        "vectors": np.stack([one.vector for one in sample]),
        "profiles": np.stack([one.profile for one in sample]),
    }
    if len({len(one.traits) for one in sample}) == 1 and len(sample[0].traits):  # all or none: flags came meanwhile
        arrays["traits"] = np.stack([one.traits for one in sample])
    write_tensors(path, arrays, _KEY, json.dumps([_plain(one) for one in sample], ensure_ascii=False))


def day_of(path: Path) -> date:
    """Return the day of a file; one of another name is of the last day that there is, and never old."""
    try:
        return date.fromisoformat(path.stem)
    except ValueError:
        return date.max


def _plain(one: Sampled) -> dict[str, Any]:
    window = {name: printable(value) if isinstance(value, str) else value for name, value in asdict(one.window).items()}
    return {"window": window, "sha256": one.sha256, "sound_sha256": one.sound_sha256, "high": one.high}


def _rank(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
