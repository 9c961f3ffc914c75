"""Conditions of a simulated machine, step by step: what the machine does, and what its recording chain does to it."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from echobank.data.synthesis.machine_types import OperatingPoint, find_machine, record
from echobank.data.synthesis.signals import RATE, Fault

Float32 = NDArray[np.float32]
SECONDS = 6.0
CHAIN = ("gain_step", "lost_band", "swapped", "ageing", "hum", "clipping", "dropped")
_SLOW_FAULT_DAYS, _AGEING_DAYS = 60, 180

# Condition: days since its change to how far it is, 0 (not begun) to 1 (its last step).
CONDITIONS: dict[str, Callable[[float], float]] = {
    "ageing": lambda days: float(np.clip(days / _AGEING_DAYS, 0, 1)),
    "gain_step": lambda days: float(days >= 0),
    "lost_band": lambda days: float(days >= 0),
    "swapped": lambda days: float(days >= 0),
    "hum": lambda days: float(days >= 0),
    "clipping": lambda days: float(days >= 0),
    "dropped": lambda days: float(days >= 0),
    "service": lambda days: float(days >= 0),
    "slow_fault": lambda days: float(np.clip(days / _SLOW_FAULT_DAYS, 0, 1)),
    "new_state": lambda days: float(days >= 0),
}
_STEPS = {"temperature": 5, "ageing": 6, "slow_fault": 10}


def steps_of() -> Iterator[tuple[str, int]]:
    """Yield every condition with each of its steps."""
    for condition in ("temperature", *CONDITIONS):
        yield from ((condition, step) for step in range(_STEPS.get(condition, 1)))


def clip_of(condition: str, step: int, rng: np.random.Generator) -> Float32:
    """Return a clip of a near and a far microphone, float32[T, 2] at 16 kHz.

    Args:
        condition: One of `steps_of`.
        step: How far it is.
        rng: The generator of this clip.
    """
    machine = find_machine("bearing")
    warm = step if condition == "temperature" else int(rng.integers(1, 4))
    speed, load, fault = 1.0 + 0.006 * (warm - 2), 0.5, None
    if condition == "slow_fault":
        fault = Fault("outer_race", 0.18 + 0.024 * (step + 1))
    elif condition == "service":
        load = 0.2
    point = OperatingPoint((), speed, load, "pink", 5.0, 3)
    clip = record(machine, 0, point, fault, SECONDS, rng, channels=2)
    if condition == "new_state":  # a fan beside it that runs for a part of the time
        fan = record(
            find_machine("fan"), 0, OperatingPoint((), 1.0, 0.5, "pink", 5.0, 5), None, SECONDS, rng, channels=2
        )
        clip = clip + fan
    return np.ascontiguousarray(_chain(condition, step, clip, rng).astype(np.float32))


def _chain(condition: str, step: int, clip: Float32, rng: np.random.Generator) -> NDArray[np.floating]:
    """Return a clip as a recording chain that fails has it."""
    near = clip[:, 0]
    if condition == "gain_step":
        near = near * 10 ** (3 / 20)
    elif condition == "lost_band":
        near = sosfilt(butter(10, 4000, "lowpass", fs=RATE, output="sos"), near)
    elif condition == "swapped":
        return clip[:, ::-1]
    elif condition == "ageing":  # 0.5 dB per octave above 1 kHz and step
        spectrum = np.fft.rfft(near)
        hz = np.maximum(np.fft.rfftfreq(len(near), 1 / RATE), 1.0)
        near = np.fft.irfft(spectrum * 10 ** (-0.5 * (step + 1) * np.maximum(0, np.log2(hz / 1000)) / 20), len(near))
    elif condition == "hum":
        t = np.arange(len(near)) / RATE
        near = near + 0.012 * sum(np.sin(2 * np.pi * 50 * k * t + rng.uniform(0, 6)) / k for k in range(1, 7))
    elif condition == "clipping":
        near = np.clip(near * 20, -1, 1)
    elif condition == "dropped":
        near = near.copy()
        for at in rng.integers(0, len(near) - 400, 30):
            near[at : at + 320] = near[at]
    return np.stack((near, clip[:, 1]), axis=1)
