"""An invented pump for the examples: harmonics of its speed, noise, and a bearing that begins to squeal.

    python examples/pump.py

writes recordings of it into healthy/ and today/ of the folder that it is run in.
"""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def pump(seed: int, *, squeal: float = 0.0, seconds: float = 4.0) -> np.ndarray:
    """Return float32[T] of one recording; `squeal` is the amplitude of the fault."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    hum = sum(np.sin(2 * np.pi * 48 * k * t + rng.uniform(0, 6)) / k for k in range(1, 20))
    fault = np.sin(2 * np.pi * 3100 * t) * (np.sin(2 * np.pi * 8 * t) > 0.6)
    return (0.03 * hum + 0.01 * rng.standard_normal(t.size) + squeal * fault).astype(np.float32)


def write_recordings(folder: Path) -> None:
    """Write `healthy/` with 24 recordings, and `today/` with a healthy and a squealing one."""
    sounds = {f"healthy/{i:02d}.wav": pump(i) for i in range(24)}
    sounds |= {"today/0900.wav": pump(103), "today/1000.wav": pump(101, squeal=0.03)}
    for name, sound in sounds.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, sound, RATE)


if __name__ == "__main__":
    write_recordings(Path())
