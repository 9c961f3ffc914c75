"""Toy car and toy train: small brushed motors, cheap gears, wheels on a track.

Arguments and result as in `rotating`.
"""

import numpy as np

from echobank.data.synthesis.signals import (
    RATE,
    Fault,
    Modes,
    Rng,
    Signal,
    band,
    crossings,
    draw_modes,
    harmonics,
    impulses,
    noise,
    ring,
    severity,
    shaft,
    unit,
    wander,
)

TOY_CAR_FAULTS = ("bent_shaft", "worn_gear", "tangled_tyre", "low_voltage")
TOY_TRAIN_FAULTS = ("flat_wheel", "broken_joint", "obstruction", "worn_motor")

_COMMUTATIONS_A_TURN = 6


def _motor(individual: Rng, turn: Signal, count: int, rng: Rng, worn: float) -> Signal:
    """Return a brushed motor with three slots: commutation at six times the shaft and its harmonics, brush noise."""
    strength = individual.uniform(0.4, 1.0, 10) * 0.75 ** np.arange(10)
    offsets = individual.uniform(0, 6.28, 10)
    tones = harmonics(_COMMUTATIONS_A_TURN * turn, strength, offsets)
    sparks = band(noise(count, rng), 1500, 7500) * (0.5 + 0.5 * np.cos(_COMMUTATIONS_A_TURN * turn)) ** 2
    total: Signal = tones * (1 + (0.08 + 0.3 * worn) * np.cos(turn)) + (0.15 + 0.8 * worn) * sparks
    return total


def toy_car(individual: Rng, speed: float, load: float, fault: Fault | None, count: int, rng: Rng) -> Signal:
    """Return a toy car on a stand: brushed motor, a gear to the axle, a plastic body.

    A bent shaft modulates everything once per turn of the axle, a worn gear raises and roughens the mesh, a tangled
    tyre slaps the body, low voltage slows the motor and lets its speed waver.
    """
    turn_hz = individual.uniform(60, 85) * speed * (1 - 0.05 * load)
    teeth, ratio = int(individual.integers(8, 13)), individual.uniform(0.14, 0.22)
    offsets = individual.uniform(0, 6.28, 12)
    body = draw_modes(individual, 9, 200, 4000, 0.04)
    weak, worn = severity(fault, "low_voltage"), severity(fault, "worn_gear")
    turn = shaft(turn_hz * (1 - 0.12 * weak), count, rng, 0.006 + 0.02 * weak)
    axle = turn * ratio
    bent = 1 + (0.1 + 0.6 * severity(fault, "bent_shaft")) * np.cos(axle + offsets[0])
    motor = _motor(individual, turn, count, rng, 0.0)
    mesh = harmonics(teeth * turn, (0.3 + 0.6 * worn) / np.arange(1, 5), offsets[1:5])
    grind = (0.3 + 1.2 * worn) * unit(band(noise(count, rng), 800, 4500)) * (1 + 0.6 * np.cos(turn))
    slaps = crossings(axle)
    tyre = impulses(slaps, 7 * severity(fault, "tangled_tyre") * rng.lognormal(0, 0.5, len(slaps)), count)
    force = (motor + mesh + 0.4 * grind) * bent * (1 + 0.08 * wander(count, rng))
    total: Signal = 0.1 * ring(force, body) + 0.3 * force + 0.5 * ring(tyre, body) + 0.5 * noise(count, rng, 5.0)
    return total


def toy_train(individual: Rng, speed: float, load: float, fault: Fault | None, count: int, rng: Rng) -> Signal:
    """Return a toy train on a loop of track: motor, rolling noise, two wheel hits at each rail joint.

    The loop brings the train nearer and farther. A flat wheel hits the rail once per turn of the wheel, a broken
    joint hits harder at one joint of the loop, an obstruction slows the train and scrapes at one place of the
    loop, a worn motor sparks and wavers.
    """
    lap = individual.uniform(2.4, 3.4) / speed
    joints, wheels = int(individual.integers(8, 13)), individual.uniform(6, 9) * speed
    turn_hz = individual.uniform(45, 65) * speed
    rail = draw_modes(individual, 8, 600, 5500, 0.02)
    base = Modes(rail.hz * 0.25, rail.damping * 2, rail.gain)
    worn, blocked = severity(fault, "worn_motor"), severity(fault, "obstruction")
    round_trip = shaft(1 / lap, count, rng, 0.01)
    near = np.exp(5 * (np.cos(round_trip) - 1))
    pace = (1 - 0.15 * blocked * near) * (1 + worn * 0.03 * wander(count, rng, 0.1))
    turn = shaft(turn_hz * pace, count, rng, 0.008)
    motor = _motor(individual, turn, count, rng, worn)
    at = crossings(round_trip, 2 * np.pi / joints)
    sizes = rng.lognormal(0, 0.25, len(at)) * (2.0 + load)
    index = np.round(np.interp(at, np.arange(count) / RATE, round_trip) * joints / (2 * np.pi)).astype(int)
    sizes = sizes * (1 + 2.2 * severity(fault, "broken_joint") * (index % joints == 0))
    wheel = crossings(turn * wheels / turn_hz)
    hits = impulses(at, sizes, count) + impulses(at + 0.035 / speed, 0.8 * sizes, count)
    hits += impulses(wheel, 1.3 * severity(fault, "flat_wheel") * rng.lognormal(0, 0.3, len(wheel)), count)
    rolling = noise(count, rng, 3.0) * (0.7 + 0.3 * load)
    scrape = blocked * 1.2 * near * unit(band(noise(count, rng), 1200, 5000))
    sound = ring(hits + 0.08 * rolling, rail) + 0.5 * ring(hits, base) + 0.5 * rolling + 0.35 * motor + scrape
    total: Signal = sound * (1 + 0.35 * np.cos(round_trip))
    return total
