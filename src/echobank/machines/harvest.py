"""Gathering: from healthy recordings to the rows of a bank, and what was found on the way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from echobank.data.folder import LeftOut
from echobank.detection.bank import Row
from echobank.errors import InputError
from echobank.machines.gain import together
from echobank.machines.listener import Heard, Listener
from echobank.machines.tags import Tagging, state_of
from echobank.models.feeding import Skipped
from echobank.progress import Progress, silent


@dataclass(frozen=True)
class Harvest:
    """Rows for a bank, not yet calibrated, and what was heard.

    Attributes:
        vectors: float32[N, H, D].
        profiles: float32[N, 2, M].
        levels: RMS level of each window, dB of full scale, float32[N].
        traits: What flags are made of, float32[N, K] (`traits`); K is 0 where the listener takes none.
        rows: N facts.
        heard: Recordings that were used, without their arrays.
        skipped: Recordings, or their silent windows, that were left out.
        duplicates: (name, name of the recording of the same sound that was used).
    """

    vectors: np.ndarray[Any, np.dtype[np.float32]]
    profiles: np.ndarray[Any, np.dtype[np.float32]]
    levels: np.ndarray[Any, np.dtype[np.float32]]
    traits: np.ndarray[Any, np.dtype[np.float32]]
    rows: tuple[Row, ...]
    heard: tuple["Recorded", ...]
    skipped: tuple[Skipped, ...]
    duplicates: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Recorded:
    """Facts of one healthy recording."""

    name: str
    state: str
    seconds: float
    source_rate: int
    level_dbfs: float
    flags: tuple[str, ...]


@dataclass
class _Gathering:
    vectors: list[Any] = field(default_factory=list)
    profiles: list[Any] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    traits: list[Any] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    heard: list[Recorded] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    states: dict[str, tuple[str, str]] = field(default_factory=dict)


def gather(
    recordings: Sequence[tuple[Path, str]],
    listener: Listener,
    tagging: Tagging,
    machine: str,
    progress: Progress = silent,
    left_out: LeftOut | None = None,
) -> Harvest:
    """Hear healthy recordings and return the rows they make.

    Args:
        recordings: (path, name) of each.
        listener: Recording to embeddings.
        tagging: Name to operating state.
        machine: The user's name of the machine.
        progress: Shows how far it is.
        left_out: What was passed over where the recordings were found; it counts among the skipped.

    Raises:
        InputError: Tags disagree, or none of the recordings can be used.
    """
    tags = {name: tagging.of(name) for _, name in recordings}
    got = _Gathering(skipped=[Skipped(line, line) for line in (left_out.lines if left_out else ())])
    stream = zip(recordings, listener.hear(path for path, _ in recordings), strict=True)
    for (_, name), heard in progress(stream, total=len(recordings), label=f"fit {machine}"):
        _take(got, heard, name, tags[name], machine)
    if not got.rows:
        reason = got.skipped[0].reason if got.skipped else "no windows"
        raise InputError(f"none of the {len(recordings)} recordings can be used ({reason})")
    arrays = np.stack(got.vectors), np.stack(got.profiles), np.array(got.levels, np.float32), np.stack(got.traits)
    return Harvest(*arrays, tuple(got.rows), tuple(got.heard), tuple(got.skipped), tuple(got.duplicates))


def _take(got: _Gathering, heard: Heard, name: str, tags: dict[str, str], machine: str) -> None:
    if heard.error:
        got.skipped.append(Skipped(name, heard.error))
        return
    state = state_of(tags)
    first, other = got.states.setdefault(heard.sound_sha256 or heard.sha256, (name, state))
    if other != state:
        raise InputError(f"the same recording has two operating states: {first} is {other!r}, {name} is {state!r}")
    if first != name:
        got.duplicates.append((name, first))
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    used = [i for i in range(len(heard)) if "silent" not in heard.flags[i]]
    if len(used) < len(heard):
        which = "silent" if not used else f"{len(heard) - len(used)} of {len(heard)} windows are silent"
        got.skipped.append(Skipped(name, f"{heard.path}: {which}, not remembered"))
    for i in used:
        facts = {**tags, "added": now}
        start, seconds = float(heard.starts[i]), float(heard.lengths[i])
        hashes = {"sha256": heard.sha256, "sound_sha256": heard.sound_sha256}
        got.rows.append(Row(name, machine, domain=state, attributes=facts, start=start, seconds=seconds, **hashes))
        got.vectors.append(heard.vectors[i])
        got.profiles.append(heard.profiles[i])
        got.levels.append(float(heard.levels[i]))
        got.traits.append(heard.traits[i] if len(heard.traits) else np.zeros(0, np.float32))
    if used:
        level = together(heard.levels[used])
        flags = Counter(flag for i in used for flag in heard.flags[i])
        got.heard.append(Recorded(name, state, heard.seconds, heard.source_rate, level, tuple(sorted(flags))))
