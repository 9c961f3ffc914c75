"""An invented pump for the examples: harmonics of its speed, noise, and a bearing that begins to squeal."""

import numpy as np

RATE = 16_000


def pump(seed: int, *, squeal: float = 0.0, seconds: float = 4.0) -> np.ndarray:
    """Return float32[T] of one recording; `squeal` is the amplitude of the fault."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    hum = sum(np.sin(2 * np.pi * 48 * k * t + rng.uniform(0, 6)) / k for k in range(1, 20))
    fault = np.sin(2 * np.pi * 3100 * t) * (np.sin(2 * np.pi * 8 * t) > 0.6)
    return (0.03 * hum + 0.01 * rng.standard_normal(t.size) + squeal * fault).astype(np.float32)
