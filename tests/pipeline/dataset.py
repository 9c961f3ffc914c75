"""A small data set in the DCASE 2025 layout, made of noise and tones, for the tests of the stages."""

import wave
from pathlib import Path

import numpy as np

RATE = 16000


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    """Write float samples [T] or [T, channels] as 16-bit WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(1 if data.ndim == 1 else data.shape[1])
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes(data.tobytes())
    return path


def sound(rng: np.random.Generator, *, hz: float, fault: bool = False, seconds: float = 0.6) -> np.ndarray:
    """A hum in noise; a fault adds a second tone."""
    t = np.arange(int(seconds * RATE)) / RATE
    samples = 0.2 * np.sin(2 * np.pi * hz * t + rng.uniform(0, 6)) + 0.05 * rng.standard_normal(len(t))
    return samples + (0.1 * np.sin(2 * np.pi * 3.7 * hz * t) if fault else 0)


def make_dataset(root: Path, machines=("fan", "valve"), *, source=8, target=4, test=3, noise=2) -> Path:
    """Write train, test and supplemental clips of each machine; return the root."""
    for number, machine in enumerate(machines):
        rng = np.random.default_rng(number)
        folder = root / "dev_data/raw" / machine
        for domain, count, hz in (("source", source, 300), ("target", target, 420)):
            for i in range(count):
                name = f"section_00_{domain}_train_normal_{i:04d}_spd_{i % 2}.wav"
                write_wav(folder / "train" / name, sound(rng, hz=hz))
            for condition in ("normal", "anomaly"):
                for i in range(test):
                    name = f"section_00_{domain}_test_{condition}_{i:04d}_spd_{i % 2}.wav"
                    write_wav(folder / "test" / name, sound(rng, hz=hz, fault=condition == "anomaly"))
        for i in range(noise):
            write_wav(folder / "supplemental" / f"section_00_noise_{i:04d}_.wav", 0.1 * rng.standard_normal(RATE))
    return root
