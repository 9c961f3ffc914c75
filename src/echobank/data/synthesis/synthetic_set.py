"""A synthetic data set in the layout of DCASE 2025 Task 2, for the demo and for tests.

Each clip has a generator of its own, seeded by the settings' seed, the machine and the file name, so that the same
seed gives the same bytes whatever the number of workers, and an interrupted run continues where it stopped.
"""

import dataclasses
import io
import json
import signal
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from echobank.cores import core_count
from echobank.data.synthesis.machine_types import (
    MACHINES,
    MachineType,
    OperatingPoint,
    background,
    beside,
    find_machine,
    record,
    render,
)
from echobank.data.synthesis.signals import RATE, Fault
from echobank.errors import InputError
from echobank.progress import Progress, silent
from echobank.storage import write_bytes, write_json, write_text
from echobank.version import __version__

NOTICE = (
    "Synthetic recordings from small physical models, for demonstrations and tests: "
    "scores on them mean nothing about real machines."
)
MODELS_VERSION = 1
_CLIPS_A_TASK = 8


@dataclass(frozen=True)
class Settings:
    """What a data set holds; counts are per machine.

    Attributes:
        source: Healthy training clips of the source domain.
        target: Healthy training clips of the target domain.
        test: Test clips of each domain and each condition; four times as many in all.
        supplemental: Clips of the machine alone or of noise alone.
        seconds: Length of a clip.
        seed: Another seed gives other individuals and other recordings.
        channels: 1, or 2 for a near and a far microphone (`record`).
    """

    source: int = 40
    target: int = 6
    test: int = 10
    supplemental: int = 4
    seconds: float = 6.0
    seed: int = 0
    channels: int = 1

    def to_values(self) -> dict[str, Any]:
        """Return plain values; one channel is left out, as before there were two."""
        values = dataclasses.asdict(self)
        return values if self.channels != 1 else {key: value for key, value in values.items() if key != "channels"}


SCALES = {"small": Settings(), "full": Settings(990, 10, 50, 100, 10.0)}


@dataclass(frozen=True)
class PlannedClip:
    """One clip that is to be made.

    Attributes:
        machine: Machine type.
        file: Path below the folder of the machine, such as "train/section_00_....wav".
        condition: Operating point and surroundings.
        fault: Kind of fault; empty for a healthy machine.
        role: "recording", or "machine" or "noise" alone.
    """

    machine: str
    file: str
    condition: OperatingPoint
    fault: str = ""
    role: str = "recording"


@dataclass(frozen=True)
class Synthesised:
    """The outcome of a run.

    Attributes:
        root: Folder of the data set.
        written: Number of clips made.
        kept: Number of clips that were there already.
    """

    root: Path
    written: int
    kept: int


def plan_clips(machine: MachineType, settings: Settings) -> tuple[PlannedClip, ...]:
    """Return every clip of a machine, named as in DCASE 2025: numbers start at 0000 per split, domain and condition."""
    clips: list[PlannedClip] = []
    for domain, conditions in (("source", machine.source), ("target", machine.target)):
        count = settings.source if domain == "source" else settings.target
        for i in range(count):
            condition = conditions[i % len(conditions)]
            name = f"train/section_00_{domain}_train_normal_{i:04d}_{_attributes(machine, condition)}.wav"
            clips.append(PlannedClip(machine.name, name, condition))
        for label in ("normal", "anomaly"):
            for i in range(settings.test):
                condition = conditions[i % len(conditions)]
                fault = machine.faults[i % len(machine.faults)] if label == "anomaly" else ""
                name = f"test/section_00_{domain}_test_{label}_{i:04d}_{_attributes(machine, condition)}.wav"
                clips.append(PlannedClip(machine.name, name, condition, fault))
    every = machine.source if machine.supplemental == "machine" else machine.source + machine.target
    for i in range(settings.supplemental):
        name = f"supplemental/section_00_{machine.supplemental}_{i:04d}_.wav"
        clips.append(PlannedClip(machine.name, name, every[i % len(every)], role=machine.supplemental))
    return tuple(clips)


def synthesise(
    out: Path | str,
    machines: Sequence[str] = tuple(MACHINES),
    settings: Settings = SCALES["small"],
    workers: int = 0,
    progress: Progress = silent,
) -> Synthesised:
    """Write a data set; clips that a former run of the same settings finished are kept.

    Args:
        out: Folder that gets `dev_data/raw/<machine>/` and `synth.json`.
        machines: Names from `MACHINES`.
        settings: What it holds.
        workers: Processes; 0 takes one per core.
        progress: Wraps the clips.

    Raises:
        InputError: An impossible setting, an unknown machine, or a folder that holds something else.
        OutputError: The folder cannot be written.
    """
    _check(settings, workers)
    chosen = [find_machine(name) for name in dict.fromkeys(machines)]
    root = Path(out)
    _claim(root, [machine.name for machine in chosen], settings)
    raw = root / "dev_data" / "raw"
    clips: list[PlannedClip] = []
    for machine in chosen:
        planned = plan_clips(machine, settings)
        write_text(raw / machine.name / "attributes_00.csv", _table(machine, planned))
        clips += planned
    missing = [clip for clip in clips if not (raw / clip.machine / clip.file).exists()]
    work = partial(_write, raw=raw, settings=settings)
    with _mapped(work, missing, workers or core_count()) as done:
        for _ in progress(done, total=len(missing), label="synth"):
            pass
    return Synthesised(root, len(missing), len(clips) - len(missing))


def make_clip(clip: PlannedClip, settings: Settings) -> bytes:
    """Return one clip as the bytes of a WAV file: 16 kHz, 16 bit. The identity of its machine is the seed."""
    machine, seconds, seed, channels = MACHINES[clip.machine], settings.seconds, settings.seed, settings.channels
    rng = np.random.default_rng([seed, zlib.crc32(clip.machine.encode()), zlib.crc32(clip.file.encode())])
    if clip.role == "noise":
        samples = background(clip.condition, seconds, rng, channels)
    elif clip.role == "machine":
        samples = beside(render(machine, seed, clip.condition, None, seconds, rng), channels)
    else:
        fault = Fault(clip.fault, rng.uniform(*machine.severity)) if clip.fault else None
        samples = record(machine, seed, clip.condition, fault, seconds, rng, channels)
    stream = io.BytesIO()
    soundfile.write(stream, np.round(samples * 32767).astype(np.int16), RATE, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def _write(clip: PlannedClip, raw: Path, settings: Settings) -> None:
    write_bytes(raw / clip.machine / clip.file, make_clip(clip, settings), durable=False)


@contextmanager
def _mapped(work: "partial[None]", clips: Sequence[PlannedClip], workers: int) -> Iterator[Iterable[None]]:
    """Return an iterator that does the work; after an error or Ctrl-C what has not begun is dropped."""
    if workers == 1 or len(clips) <= _CLIPS_A_TASK:
        yield map(work, clips)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_leave_interrupts_to_parent)
    try:
        yield pool.map(work, clips, chunksize=_CLIPS_A_TASK)
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check(settings: Settings, workers: int) -> None:
    counts = dataclasses.asdict(settings)
    for name in ("source", "target", "test", "supplemental"):
        if not 0 <= counts[name] <= 9999:
            raise InputError(f"impossible number of {name} clips", value=counts[name], hint="allowed: 0 to 9999")
    if not 0.5 <= settings.seconds <= 600:
        raise InputError("impossible length of clips", value=settings.seconds, hint="allowed: 0.5 to 600 seconds")
    if settings.channels not in (1, 2):
        raise InputError("impossible number of channels", value=settings.channels, hint="allowed: 1 or 2")
    for name, value in (("seed", settings.seed), ("number of workers", workers)):
        if value < 0:
            raise InputError(f"impossible {name}", value=value, hint="allowed: 0 or more")


def _claim(root: Path, machines: Sequence[str], settings: Settings) -> None:
    """Write `synth.json`, unless the folder holds recordings that these settings did not make."""
    path = root / "synth.json"
    wanted = {"models_version": MODELS_VERSION, "settings": settings.to_values()}
    found = _read(path)
    if found and any(found.get(key) != value for key, value in wanted.items()):
        raise InputError(
            "the folder holds a synthetic data set of other settings",
            where=root,
            hint="choose another --out or remove the folder",
        )
    if not found and (root / "dev_data").exists():
        raise InputError("the folder holds recordings that synth did not make", where=root, hint="choose another --out")
    names = [name for name in MACHINES if name in machines or name in found.get("machines", [])]
    write_json(path, {**wanted, "machines": names, "notice": NOTICE, "version": __version__})


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("cannot read the settings of the data set", where=path, hint="remove the folder") from error
    return found if isinstance(found, dict) else {}


def _attributes(machine: MachineType, condition: OperatingPoint) -> str:
    if not machine.attributes_known:
        return "noAttribute"
    return "_".join(f"{name}_{value}" for name, value in condition.attributes)


def _table(machine: MachineType, clips: Sequence[PlannedClip]) -> str:
    """Return `attributes_00.csv`: file name, then name and value of each attribute; no columns where none are known."""
    width = len(machine.source[0].attributes) if machine.attributes_known else 0
    lines = ["file_name" + "".join(f",d{i}p,d{i}v" for i in range(1, width + 1))]
    for clip in clips:
        if clip.role == "recording":
            pairs = clip.condition.attributes[:width]
            lines.append(f"{machine.name}/{clip.file}" + "".join(f",{name},{value}" for name, value in pairs))
    return "\n".join(lines) + "\n"
