"""Recordings of any length that pieces are read from at random, without reading the rest. Pieces are 16 kHz."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from echobank.data.audio import AUDIO_SUFFIXES
from echobank.data.folder import LeftOut, recordings_in
from echobank.data.synthesis.signals import RATE
from echobank.errors import AudioError, InputError
from echobank.training.batches import crop

Float32 = NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True)
class SoundFile:
    """A recording that pieces are read from: its file, its rate in Hz and its length in frames."""

    path: Path
    rate: int
    frames: int


def scan_audio(folders: Sequence[Path]) -> tuple[tuple[SoundFile, ...], tuple[str, ...]]:
    """Return the recordings below folders, sorted by path, and one line for each file that cannot be used.

    Raises:
        InputError: A folder does not exist, or none of its files can be used.
    """
    good: list[SoundFile] = []
    bad: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError("no such folder of recordings", where=folder)
        before, left_out = len(good), LeftOut()
        for path in sorted(folder / name for name, _ in recordings_in(folder, strict=True, left_out=left_out)):
            try:
                info = soundfile.info(path)
            except (soundfile.SoundFileError, OSError):
                bad.append(f"{path}: cannot be read as audio")
                continue
            if info.frames:
                good.append(SoundFile(path, info.samplerate, info.frames))
            else:
                bad.append(f"{path}: empty")
        bad += [f"{folder}: {line}" for line in left_out.lines]
        if len(good) == before:
            raise InputError("no recording that can be used", where=folder, hint=f"wanted: {' '.join(AUDIO_SUFFIXES)}")
    return tuple(good), tuple(bad)


def draw_recording(recordings: Sequence[SoundFile], rng: Rng) -> SoundFile:
    """Return a recording, long ones drawn more often, by the root of their length."""
    chances = np.sqrt([recording.frames / recording.rate for recording in recordings])
    return recordings[int(rng.choice(len(recordings), p=chances / chances.sum()))]


def read_piece(recording: SoundFile, length: int, rng: Rng) -> Float32:
    """Return a stretch of a recording's first channel from a random place, float32[length]; a short one repeats."""
    wanted = -(-length * recording.rate // RATE)
    start = int(rng.integers(max(1, recording.frames - wanted + 1)))
    try:
        samples, _ = soundfile.read(recording.path, wanted, start, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError("a recording has become unreadable", where=recording.path) from error
    piece = np.nan_to_num(samples[:, 0])
    if recording.rate != RATE:
        piece = soxr.resample(piece, recording.rate, RATE, quality="HQ")
    return crop(piece, length, rng) if len(piece) else np.zeros(length, np.float32)
