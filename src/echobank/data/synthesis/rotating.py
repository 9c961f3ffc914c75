"""Fan, gearbox and bearing: machines whose sound turns with a shaft.

Each function takes an `individual` generator that always starts the same for one machine individual, the
relative speed (1 is nominal) and load (0 to 1) of its operating point, a fault or None, the number of samples
and the generator of the clip; it returns float64[T] at the machine, in arbitrary units.
"""

import numpy as np

from echobank.data.synthesis.signals import (
    RATE,
    Fault,
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

FAN_FAULTS = ("imbalance", "chipped_blade", "rubbing", "clogged")
GEARBOX_FAULTS = ("tooth_wear", "cracked_tooth", "misalignment")
BEARING_FAULTS = ("outer_race", "inner_race", "ball", "dry")


def fan(individual: Rng, speed: float, load: float, fault: Fault | None, count: int, rng: Rng) -> Signal:
    """Return an axial fan: tones at blade-pass frequency, shaft harmonics, and broadband flow noise.

    Blade-pass frequency is blades times shaft frequency; flow noise rises with the fifth power of speed
    (Madison's fan law). Imbalance raises the shaft tone and modulates the flow, a chipped blade puts power at
    shaft harmonics between the blade-pass tones, rubbing scrapes once per turn, clogging adds low rumble of
    stalled flow and takes the high flow noise away.
    """
    blades = int(individual.integers(5, 10))
    turn_hz = individual.uniform(22, 34) * speed
    tones = individual.uniform(0.3, 1.0, 8) / np.arange(1, 9)
    offsets = individual.uniform(0, 6.28, 40)
    duct = draw_modes(individual, 5, 250, 5000, 0.08)
    angle = shaft(turn_hz, count, rng, 0.003)
    blade_pass = harmonics(blades * angle, tones, offsets[:8])
    order = np.arange(1, 41)
    uneven = (0.06 + 0.5 * severity(fault, "chipped_blade")) * order**-0.5
    uneven[0] += 1.6 * severity(fault, "imbalance")
    body = blade_pass + harmonics(angle, uneven, offsets)
    clogged = severity(fault, "clogged")
    white = noise(count, rng, 5.0 + 3.0 * clogged)
    flow = (white + 0.15 * unit(ring(white, duct))) * speed**2.5 * (1 + 0.3 * load)
    flow *= 1 + (0.05 + 0.5 * severity(fault, "imbalance")) * np.cos(angle)
    stall = clogged * 1.2 * unit(band(noise(count, rng), 30, 180)) * np.clip(1 + wander(count, rng), 0, None)
    scrape = np.clip(np.cos(angle + offsets[0]), 0, 1) ** 24 * band(noise(count, rng), 2000, 6000)
    total: Signal = 1.2 * body + 1.0 * flow + stall + 2.2 * severity(fault, "rubbing") * scrape
    return total


def gearbox(individual: Rng, speed: float, load: float, fault: Fault | None, count: int, rng: Rng) -> Signal:
    """Return a one-stage gearbox: gear-mesh harmonics with sidebands of both shafts, through the casing.

    Mesh frequency is teeth times shaft frequency; its level rises with load. Wear raises the higher mesh
    harmonics and noise, a cracked tooth strikes the casing once per turn of the pinion and dips the mesh there,
    misalignment raises the second mesh harmonic and the sidebands of the wheel (Randall 2011, section 2.2.2).
    """
    pinion, wheel = int(individual.integers(15, 26)), int(individual.integers(30, 60))
    turn_hz = individual.uniform(14, 22) * speed
    mesh = individual.uniform(0.4, 1.0, 6) * 0.6 ** np.arange(6)
    offsets = individual.uniform(0, 6.28, 30)
    casing = draw_modes(individual, 9, 300, 4500, 0.015)
    worn, bent = severity(fault, "tooth_wear"), severity(fault, "misalignment")
    cracked = severity(fault, "cracked_tooth")
    mesh = mesh * (1 + worn * np.array([0.3, 1.2, 2.0, 3.0, 3.0, 3.0]))
    mesh[1] *= 1 + 1.5 * bent
    angle = shaft(turn_hz, count, rng, 0.003 + 0.003 * load)
    slow = angle * pinion / wheel
    amplitude = 1 + 0.12 * np.cos(angle + offsets[6]) + (0.12 + 0.7 * bent) * np.cos(slow + offsets[7])
    amplitude = amplitude + 0.1 * wander(count, rng)
    dip = np.exp(6 * (np.cos(angle + offsets[8]) - 1))
    teeth = harmonics(pinion * angle, mesh, offsets[:6]) * amplitude * (1 - 0.7 * cracked * dip) * (0.5 + load)
    hits = crossings(angle + offsets[8])
    knock = impulses(hits, cracked * 14 * rng.lognormal(0, 0.3, len(hits)), count)
    rough = (0.35 + 0.4 * worn) * noise(count, rng, 3.0) * (1 + 0.3 * np.cos(slow))
    motor = harmonics(2 * angle, 0.3 / np.arange(1, 5), offsets[10:14])
    force = teeth + rough + knock
    total: Signal = 0.12 * ring(force, casing) + 0.4 * teeth + motor + 0.6 * noise(count, rng, 6.0)
    return total


def bearing(individual: Rng, speed: float, load: float, fault: Fault | None, count: int, rng: Rng) -> Signal:
    """Return a rolling bearing on a shaft: unbalance, rolling noise, and impacts of a local defect.

    With n balls of diameter d on pitch diameter D at contact angle a and shaft frequency f (Randall 2011,
    section 2.2.3): BPFO = n f / 2 (1 - d/D cos a), BPFI = n f / 2 (1 + d/D cos a),
    BSF = D f / (2 d) (1 - (d/D cos a)^2), FTF = f / 2 (1 - d/D cos a). Impacts slip by about 1 % of their
    period; those of the inner race are modulated by the shaft, those of a ball (two per spin) by the cage.
    A dry bearing has more rolling noise and squeals.
    """
    balls = int(individual.integers(7, 13))
    ratio = individual.uniform(0.18, 0.3) * np.cos(individual.uniform(0, 0.3))
    turn_hz = individual.uniform(14, 24) * speed
    offsets = individual.uniform(0, 6.28, 12)
    housing = draw_modes(individual, 6, 900, 6000, 0.025)
    frame = draw_modes(individual, 4, 120, 900, 0.04)
    angle = shaft(turn_hz, count, rng, 0.002)
    cage = 0.5 * (1 - ratio)
    struck = {
        "outer_race": (balls * cage, np.ones(count)),
        "inner_race": (balls * 0.5 * (1 + ratio), 0.5 + 0.5 * np.cos(angle)),
        "ball": (2 * (1 - ratio**2) / (2 * ratio), 0.6 + 0.4 * np.cos(cage * angle)),
    }
    force = 0.05 * noise(count, rng) * (0.6 + 0.8 * load)
    if fault is not None and fault.kind in struck:
        order, loaded = struck[fault.kind]
        at = crossings(order * angle)
        at = at + 0.01 / (order * turn_hz) * rng.standard_normal(len(at))
        sizes = np.interp(at, np.arange(count) / RATE, loaded) * rng.lognormal(0, 0.25, len(at))
        force = force + impulses(at, 2.6 * fault.severity * sizes * (0.6 + 0.6 * load), count)
    dry = severity(fault, "dry")
    rolling = noise(count, rng, 4.0) * (1 + 0.15 * np.cos(cage * angle)) * (0.6 + 0.5 * load)
    rolling = rolling + dry * 0.7 * band(noise(count, rng), 1500, 7000)
    squeal = dry * 0.5 * harmonics(shaft(housing.hz[2], count, rng, 0.01), np.ones(2), offsets[:2])
    squeal = squeal * np.clip(wander(count, rng) - 0.3, 0, None)
    shaft_tones = harmonics(angle, 0.5 / np.arange(1, 7), offsets[:6]) + 0.3 * unit(ring(rolling, frame))
    total: Signal = ring(force, housing) + 0.7 * rolling + shaft_tones + squeal
    return total
