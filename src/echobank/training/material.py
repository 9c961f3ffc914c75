"""What is learned from: normal training clips of a data set and its noise-only clips, each read once and checked."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from echobank.data.audio import Clip
from echobank.data.dcase import Dataset, Recording
from echobank.errors import AudioError, InputError
from echobank.models.feeding import Skipped
from echobank.progress import Progress, silent

Load = Callable[[Recording], Clip]


@dataclass(frozen=True)
class Material:
    """What is learned from.

    Attributes:
        recordings: Normal training clips.
        noises: Noise-only clips of each machine.
        sha256: Hash over the names and contents of all of them.
        skipped: Recordings that cannot be used.
    """

    recordings: tuple[Recording, ...]
    noises: Mapping[str, tuple[Recording, ...]]
    sha256: str
    skipped: tuple[Skipped, ...]


def gather(dataset: Dataset, load: Load, progress: Progress = silent) -> Material:
    """Read every normal training clip and every noise-only clip once; leave out what cannot be used.

    Raises:
        InputError: There is no normal training clip that can be used.
    """
    chosen = [r for r in dataset.recordings if r.split == "train" and r.condition == "normal"]
    noise = [r for r in dataset.recordings if r.split == "supplemental" and r.role == "noise"]
    good: list[Recording] = []
    skipped: list[Skipped] = []
    lines: list[str] = []
    for recording in progress([*chosen, *noise], total=len(chosen) + len(noise), label="read"):
        try:
            clip = load(recording)
            if "silent" in clip.flags:
                raise AudioError("silent, not used for training", where=recording.path)
        except AudioError as error:
            skipped.append(Skipped(recording.name, str(error)))
            continue
        good.append(recording)
        lines.append(f"{recording.key} {clip.sha256}")
    normals = tuple(r for r in good if r.split == "train")
    if not normals:
        raise InputError("there is no normal training clip that can be used", where=dataset.root)
    machines = sorted({r.machine for r in good})
    noises = {m: tuple(r for r in good if r.machine == m and r.split != "train") for m in machines}
    digest = hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()
    return Material(normals, noises, digest, tuple(skipped))
