"""Invented sounds of one machine for the tests: a hum with harmonics in noise, healthy or with a tone added."""

from contextlib import contextmanager

import numpy as np
import soundfile

from tests.requirements import require

RATE = 16_000


def hum(seconds=4.0, seed=0, speed=50.0, gain=1.0):
    """Return float32[T]: harmonics of `speed` Hz and pink-like noise, the same machine with another noise a seed."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * speed * k * t + rng.uniform(0, 6)) / k for k in range(1, 20))
    noise = np.cumsum(rng.standard_normal(len(t)))
    noise -= np.convolve(noise, np.ones(400) / 400, "same")
    sound = 0.02 * tones + 0.01 * noise / noise.std() + 0.002 * rng.standard_normal(len(t))
    return (gain * sound).astype(np.float32)


def with_tone(sound, start, end, hz=3000.0, level=0.05):
    """Return the sound with a sine between two times in seconds."""
    t = np.arange(len(sound)) / RATE
    inside = (t >= start) & (t < end)
    return (sound + inside * level * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def write(path, sound, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate)
    return path


def healthy_folder(folder, count=24, seconds=4.0):
    for i in range(count):
        write(folder / f"{i:02d}.wav", hum(seconds, seed=i))
    return folder


@contextmanager
def full_disk(size):
    """Refuse, in the system itself, every byte that would lie at `size` or beyond in any file of this process."""
    require("posix")
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
