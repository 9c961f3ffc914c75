"""Recordings and encoders that the references were made with: made again from seeds, never stored."""

import contextlib
import hashlib
import io
import os
import shutil
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import numpy as np
from safetensors.numpy import load_file, save_file
from threadpoolctl import threadpool_limits

from echobank.cli import main

HERE = Path(__file__).parent
RATE = 16_000
SOUNDNET = ((64, 1, 16), (32, 16, 32), (16, 32, 64), (8, 64, 128), (4, 128, 256))  # kernel, channels in and out
PARTS = ("weights", "biases", "mean", "var", "gamma", "beta")
SYNTH = "--machines fan ToyCar --train-source 16 --train-target 6 --test 3 --supplemental 2 --seconds 1.5 --workers 1"


@dataclass(frozen=True)
class Said:
    """What one command came to: exit code and what it printed."""

    code: int
    out: str
    err: str


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder: every path in the references is relative to it."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run(folder: Path, words: list[str]) -> Said:
    """Run one command in a folder."""
    out, err = io.StringIO(), io.StringIO()
    with inside(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as error:
            code = int(error.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


def prepare(folder: Path) -> dict[str, str]:
    """Make every recording and copy the models; return the SHA-256 of each recording."""
    folder.mkdir(parents=True, exist_ok=True)
    said = run(folder, ["synth", "--out", "data", *SYNTH.split()])
    assert said.code == 0, said.err
    for i in range(22):
        state = "slow" if i % 2 else "fast"
        write(folder / "healthy" / state / f"{i:02d}.wav", hum(3.0, i, 50.0 if i % 2 else 71.0))
    for i in range(3):
        write(folder / "more" / "slow" / f"more{i}.wav", hum(3.0, 50 + i, 50.5))
    write(folder / "long" / "long.wav", hum(25.0, 60, 50.0))
    write(folder / "new" / "good.wav", hum(5.0, 100, 50.0))
    write(folder / "new" / "bad.wav", with_tone(hum(5.0, 101, 71.0), 1.0, 2.5))
    write(folder / "new" / "worse.wav", 3 * hum(2.2, 102, 333.0))
    shutil.copy(folder / "healthy" / "fast" / "02.wav", folder / "new" / "known.wav")
    for i in range(12):
        write(folder / "stereo" / f"{i:02d}.wav", np.stack([hum(2.0, 200 + i, 120.0), hum(2.0, i, 50.0)], axis=1))
    for i, start in enumerate((0.0, 1.0, 9.0)):
        near = with_tone(hum(4.0, 300 + i, 50.0), start, 4.0)
        write(folder / "landing" / f"{i}.wav", np.stack([hum(4.0, 400 + i, 120.0), near], axis=1))
    (folder / "new" / "broken.wav").write_text("no sound")
    if (HERE / "models").is_dir():
        shutil.copytree(HERE / "models", folder / "models", dirs_exist_ok=True)
    write_soundnet(folder / "models" / "soundnet.safetensors")
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.wav"))
    }


def hum(seconds: float, seed: int, speed: float) -> np.ndarray:
    """Harmonics of `speed` Hz in brown-like and white noise, float64[T]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * speed * k * t + rng.uniform(0, 6)) / k for k in range(1, 20))
    noise = np.cumsum(rng.standard_normal(len(t)))
    noise -= np.convolve(noise, np.ones(400) / 400, "same")
    sound = 0.02 * (1 + 0.3 * rng.uniform()) * tones
    return sound + 0.01 * noise / noise.std() + 0.004 * rng.uniform(0.5, 2) * rng.standard_normal(len(t))


def write_soundnet(path: Path) -> None:
    """Write random numbers in the shapes of SoundNet's weights; `unpinned` lets them pass."""
    rng = np.random.default_rng(7)
    tensors = {}
    for number, (kernel, before, after) in enumerate(SOUNDNET, 1):
        for part in PARTS:
            size = (kernel, 1, before, after) if part == "weights" else (after,)
            scale = 1 / np.sqrt(kernel * before) if part == "weights" else 0.1
            values = rng.normal(part == "gamma", scale, size) if part != "var" else rng.uniform(0.5, 2, size)
            tensors[f"conv{number}.{part}"] = values.astype(np.float32)
    save_file(tensors, path)


@contextlib.contextmanager
def unpinned(folder: Path) -> Iterator[None]:
    """Let the random numbers of a folder pass as the published weights of SoundNet."""
    tensors, digest = load_file(folder / "models" / "soundnet.safetensors"), hashlib.sha256()
    for number in range(1, len(SOUNDNET) + 1):
        for part in PARTS:
            digest.update(tensors[f"conv{number}.{part}"].tobytes())
    home = "echobank.models.encoders.soundnet" if find_spec("echobank.models.encoders") else "echobank.models.soundnet"
    with patch(f"{home}.CONTENT_SHA256", digest.hexdigest()):
        yield


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums of float32 in ONNX and BEATs depend on how many there are."""
    with patch.dict(os.environ, OMP_NUM_THREADS="1"), threadpool_limits(1):
        if not find_spec("torch"):
            yield
            return
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def with_tone(sound: np.ndarray, start: float, end: float) -> np.ndarray:
    """Add a sine of 3 kHz between two times in seconds."""
    t = np.arange(len(sound)) / RATE
    return sound + ((t >= start) & (t < end)) * 0.05 * np.sin(2 * np.pi * 3000 * t)


def write(path: Path, samples: np.ndarray) -> None:
    """Write samples in [-1, 1] as 16-bit WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(samples.shape[1] if samples.ndim == 2 else 1)
        stream.setsampwidth(2)
        stream.setframerate(RATE)
        stream.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
