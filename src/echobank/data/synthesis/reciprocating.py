"""Slider and valve: machines whose sound comes in strokes. Arguments and result as in `rotating`."""

import numpy as np

from echobank.data.synthesis.signals import (
    RATE,
    Fault,
    Rng,
    Signal,
    band,
    draw_modes,
    harmonics,
    impulses,
    noise,
    ring,
    severity,
    times,
    unit,
    wander,
)

SLIDER_FAULTS = ("rail_damage", "loose_belt", "no_grease")
VALVE_FAULTS = ("leak", "worn_seat", "sluggish", "contamination")


def slider(individual: Rng, speed: float, load: float, fault: Fault | None, count: int, rng: Rng) -> Signal:
    """Return a linear slide driven to and fro by a screw: trapezoid velocity, motor tone, friction noise, end knocks.

    The motor's tone follows the velocity, friction noise rises with it, reversing knocks in the play of the
    drive; `load` is the acceleration. A damaged rail knocks at one place of each stroke, a loose belt doubles the
    knocks and lets the tone waver, missing grease makes rough friction that squeaks.
    """
    tone_hz = individual.uniform(500, 900)
    offsets = individual.uniform(0, 6.28, 6)
    frame = draw_modes(individual, 7, 180, 3500, 0.02)
    place = individual.uniform(0.3, 0.7)
    stroke = individual.uniform(0.8, 1.2) / speed
    ramp = 0.25 * (1.2 - 0.7 * load)
    loose, dry = severity(fault, "loose_belt"), severity(fault, "no_grease")
    t = times(count) / stroke * (1 + 0.01 * rng.standard_normal()) + 2 * rng.random()
    part = t % 1.0
    velocity = np.clip(np.minimum(part, 1 - part) / ramp, 0, 1)
    velocity = velocity * (1 + loose * 0.12 * np.sin(2 * np.pi * 11 * t * stroke))
    angle = 2 * np.pi * np.cumsum(tone_hz * speed * (0.03 + velocity)) / RATE
    motor = harmonics(angle, 0.7 ** np.arange(1, 7), offsets) * velocity
    rough = band(noise(count, rng), 600, 5000) * (1.0 + 3.5 * dry * (1 + 0.5 * wander(count, rng, 0.05)))
    friction = (0.5 * noise(count, rng, 4.0) + 0.35 * rough) * velocity
    turns = _times_of(t, 0.0)
    knocks = impulses(turns, (3 + 4 * load) * rng.lognormal(0, 0.25, len(turns)), count)
    knocks += impulses(turns + 0.05, 5 * loose * rng.lognormal(0, 0.4, len(turns)), count)
    damage = _times_of(t, place)
    knocks += impulses(damage, 5 * severity(fault, "rail_damage") * rng.lognormal(0, 0.4, len(damage)), count)
    squeak = dry * 0.5 * np.sin(5.3 * angle) * velocity * np.clip(wander(count, rng, 0.1), 0, None)
    total: Signal = motor + friction + ring(knocks + 0.1 * friction, frame) + squeak
    return total


def valve(individual: Rng, speed: float, load: float, fault: Fault | None, count: int, rng: Rng) -> Signal:
    """Return a solenoid valve: the armature's hit on opening, a lighter one on closing, a burst of air between.

    `speed` scales the rate of switching, `load` the pressure and with it the air. A leak hisses while closed, a
    worn seat hits softer with a lower spectrum and bounces, a sluggish armature opens late and weakly at times,
    contamination rattles in the stream.
    """
    body = draw_modes(individual, 8, 500, 6500, 0.012)
    nozzle = individual.uniform(2500, 4500)
    period = individual.uniform(0.55, 0.75) / speed
    offset, opened = individual.uniform(0, 1), individual.uniform(0.28, 0.4)
    worn, slow = severity(fault, "worn_seat"), severity(fault, "sluggish")
    number = int(count / RATE / period) + 2
    opens = (np.arange(number) - rng.random() + offset) * period + 0.002 * rng.standard_normal(number)
    late = slow * (rng.random(number) < 0.6)
    opens = opens + 0.12 * period * late * rng.uniform(0.3, 1.0, number)
    closes = opens + opened * period * (1 + 0.5 * late)
    strength = rng.lognormal(0, 0.1, number) * (1 - 0.5 * late) * (1 - 0.45 * worn)
    hits = impulses(opens, 10 * strength, count) + impulses(closes, 6 * strength, count)
    for bounce in (1, 2):
        hits += impulses(closes + 0.018 * bounce, 7 * worn * 0.6**bounce * strength, count)
    clicks = ring(hits, body)
    hum = _gate(opens, closes, count) * np.sin(2 * np.pi * 100 * times(count))
    air = unit(band(noise(count, rng), 0.5 * nozzle, 1.7 * nozzle)) * _gate(opens, closes, count) * (0.3 + 0.5 * load)
    hiss = severity(fault, "leak") * 0.45 * unit(band(noise(count, rng), nozzle, 7000)) * (0.6 + 0.5 * load)
    grains = (rng.random(count) < 0.004) * rng.standard_normal(count) * _gate(opens, closes, count)
    rattle = severity(fault, "contamination") * 3.0 * ring(grains, body)
    total: Signal = clicks + 0.15 * hum + 0.6 * air + hiss + rattle + 0.05 * noise(count, rng, 3.0)
    return total


def _times_of(strokes: Signal, place: float) -> Signal:
    """Return the times in s at which a rising count of strokes passes `place` of each stroke, float64[N]."""
    passed = np.arange(np.ceil(strokes[0] - place), np.floor(strokes[-1] - place) + 1) + place
    return np.interp(passed, strokes, times(len(strokes)))


def _gate(opens: Signal, closes: Signal, count: int) -> Signal:
    """Return 1 while open and 0 while closed, with edges of about 10 ms, float64[T]."""
    steps = impulses(opens, 1.0, count) - impulses(closes, 1.0, count)
    began_open = np.any((opens < 0) & (closes >= 0))
    state = np.cumsum(steps) + float(began_open)
    width = RATE // 100
    return np.convolve(np.clip(state, 0, 1), np.hanning(width) / np.hanning(width).sum(), "same")
