"""Where a machine is heard: factory noise of several kinds, and the room and microphone in between."""

from functools import cache

import numpy as np

from echobank.data.synthesis.signals import (
    RATE,
    Modes,
    Rng,
    Signal,
    crossings,
    harmonics,
    impulses,
    noise,
    ring,
    shaft,
    times,
    unit,
    wander,
)

NOISES = ("pink", "hum", "babble", "impacts")
_MAINS_HZ = 50.0
_REVERBERATION_SECONDS = 0.25
_PATH_SAMPLES = 80  # 5 ms


def factory_noise(kind: str, count: int, rng: Rng) -> Signal:
    """Return background noise of unit power, float64[T].

    Args:
        kind: "pink" (ventilation: pink noise that swells slowly), "hum" (mains harmonics of transformers over
            pink noise), "babble" (voices), "impacts" (metal struck far away, in pink noise).
        count: T, samples.
        rng: Where randomness comes from.
    """
    swell = 10.0 ** (1.5 * wander(count, rng, 1.5) / 20)
    floor = noise(count, rng, 3.0) * swell
    if kind == "hum":
        strength = np.arange(1, 13) ** -0.8 * np.where(np.arange(1, 13) % 2, 0.5, 1.0) * rng.uniform(0.5, 1.5, 12)
        angle = shaft(_MAINS_HZ, count, rng, 2e-4)
        return unit(floor + 1.2 * unit(harmonics(angle, strength, rng.uniform(0, 6.28, 12))))
    if kind == "babble":
        return unit(0.6 * floor + unit(sum((_voice(count, rng) for _ in range(5)), np.zeros(count))))
    if kind == "impacts":
        hits = np.sort(rng.uniform(0, count / RATE, rng.poisson(6.0 * count / RATE) + 1))
        train = impulses(hits, rng.lognormal(0, 0.5, len(hits)), count)
        metal = Modes(np.exp(rng.uniform(np.log(400), np.log(4000), 6)), np.full(6, 0.004), rng.uniform(0.3, 1, 6))
        return unit(floor + unit(ring(train, metal)))
    return unit(floor)


def _voice(count: int, rng: Rng) -> Signal:
    """One speaker: glottal pulses at a moving pitch, four formants, about four syllables per second."""
    angle = shaft(rng.uniform(95, 230) * (1 + 0.08 * wander(count, rng, 0.3)), count, rng)
    formants = Modes(np.array([500.0, 1400.0, 2400.0, 3400.0]), np.full(4, 0.06), np.array([1.0, 0.5, 0.2, 0.1]))
    syllables = np.clip(np.sin(2 * np.pi * (4 * times(count) + wander(count, rng, 0.5))), 0, None)
    return unit(ring(impulses(crossings(angle), 1.0, count), formants) * syllables)


@cache
def _path(microphone: int) -> Signal:
    """The impulse response from the far microphone to a near one: a delay, three reflections, of unit energy."""
    rng = np.random.default_rng(8000 + microphone)
    response = np.zeros(_PATH_SAMPLES)
    response[rng.integers(8, 24)] = 1.0
    response[rng.integers(24, _PATH_SAMPLES, 3)] += rng.uniform(0.1, 0.3, 3) * rng.choice([-1, 1], 3)
    return np.asarray(response / np.linalg.norm(response))


def carried_to(x: Signal, microphone: int) -> Signal:
    """Return noise at a far microphone as it reaches a near one, float64[T]: fixed and linear, by its number."""
    return np.asarray(np.convolve(x, _path(microphone))[: len(x)])


@cache
def _room(microphone: int) -> Signal:
    """The impulse response of one place and microphone: direct sound, six reflections, a decaying tail, a tilt."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(7000 + microphone)
    count = int(_REVERBERATION_SECONDS * RATE)
    response = noise(count, rng) * 10.0 ** (-3 * times(count) / _REVERBERATION_SECONDS) * 0.02
    response[rng.integers(15, 600, 6)] += rng.uniform(0.1, 0.4, 6) * rng.choice([-1, 1], 6)
    response[0] = 1.0
    for hz, gain in zip(np.exp(rng.uniform(np.log(150), np.log(6000), 4)), rng.uniform(-6, 6, 4), strict=True):
        b, a = _bell(hz, gain)
        response = lfilter(b, a, response)
    return np.asarray(response)


def _bell(hz: float, gain_db: float) -> tuple[Signal, Signal]:
    """Return the coefficients of a peaking filter one octave wide (Bristow-Johnson, Audio EQ Cookbook)."""
    angle, strength = 2 * np.pi * hz / RATE, 10.0 ** (gain_db / 40)
    alpha = np.sin(angle) * np.sinh(np.log(2) / 2 * angle / np.sin(angle))
    b = np.array([1 + alpha * strength, -2 * np.cos(angle), 1 - alpha * strength])
    a = np.array([1 + alpha / strength, -2 * np.cos(angle), 1 - alpha / strength])
    return b / a[0], a / a[0]


def heard_by(x: Signal, microphone: int) -> Signal:
    """Return a sound as a microphone in its place of the room hears it, float64[T]; the room is fixed by its number."""
    from scipy.signal import oaconvolve

    return np.asarray(oaconvolve(x, _room(microphone))[: len(x)])
