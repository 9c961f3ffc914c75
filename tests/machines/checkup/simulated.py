"""Hours of a machine, invented as arrays: scores, levels, and the facts of a sound with two microphones."""

import numpy as np

from echobank.data.sound_facts import CENTRES, NAMES, OTHER, OTHER_THIRDS, THIRDS
from echobank.machines.checkup.history import History
from echobank.machines.checkup.hourly import Hours
from echobank.machines.trend.summaries import HOUR

BEGIN = 482_136 * HOUR  # midnight, 1 January 2025, UTC
DAY = 24 * HOUR
BANDS = 25  # thirds below 8 kHz


def spectrum(centre, width=1.2, level=-40.0):
    """Return third-octave levels, dB, of a machine whose sound is strongest around `centre` Hz."""
    octaves = np.log2(np.array(CENTRES[:BANDS]) / centre)
    return level - 12 * np.minimum((octaves / width) ** 2, 3)


NEAR, FAR = spectrum(900), spectrum(150, 2.0, -46.0)


def hours_of_year(
    days, *, seed=0, score=lambda day: 0 * day, change=lambda facts, day: None, memory=0.5, revision=None
):
    """Return hours.

    Args:
        days: How many.
        seed: Of the noise.
        score: Day to what is added to the logarithm of the score.
        change: Changes facts float[T, F], given the day of each hour.
        memory: Autocorrelation of neighbouring hours.
        revision: Day to the revision of the bank.
    """
    rng = np.random.default_rng(seed)
    count = days * 24
    day = np.arange(count) / 24
    swing = np.empty(count)
    place = 0.0
    for i, noise in enumerate(rng.standard_normal(count)):
        place = memory * place + np.sqrt(1 - memory**2) * noise
        swing[i] = place
    facts = np.full((count, len(NAMES)), np.nan, np.float32)
    names = {"floor": -52.0, "peak": -18.0, "offset": -75.0, "clipped": -100.0, "hum 50": 8.0, "hum 60": 6.0}
    for name, value in {**names, "dead": -100.0}.items():
        facts[:, NAMES.index(name)] = value + (0.4 * rng.standard_normal(count) if value > -100 else 0)
    loud = 0.3 * swing[:, None]
    facts[:, THIRDS.start : THIRDS.start + BANDS] = NEAR + loud + 0.4 * rng.standard_normal((count, BANDS))
    facts[:, OTHER_THIRDS.start : OTHER_THIRDS.start + BANDS] = FAR + loud + 0.4 * rng.standard_normal((count, BANDS))
    facts[:, NAMES.index(OTHER)] = level_of(facts[:, OTHER_THIRDS])
    change(facts, day)
    values = -1.0 + 0.1 * swing + 0.05 * np.sin(2 * np.pi * day) + score(day)
    return Hours(
        BEGIN + np.arange(count) * HOUR,
        np.ones(count, np.int64) if revision is None else revision(day).astype(np.int64),
        np.full(count, 30),
        rng.binomial(30, np.clip(0.05 * np.exp(2 * score(day)), 0, 1)),
        np.exp(values),
        np.full(count, 0.5),
        level_of(facts[:, THIRDS]),
        facts,
    )


def level_of(thirds):
    return 10 * np.log10(np.nansum(10 ** (np.asarray(thirds, np.float64) / 10), axis=1))


def history(hours, nearest=None, states=None):
    return History(hours, nearest or {"00.wav": 10}, states or ("00.wav",) * len(hours), {}, 0)


def from_day(start, work):
    """Return a change of the facts that begins on a day: `work(facts)` changes those hours in place."""

    def change(facts, day):
        chosen = facts[day >= start]
        work(chosen)
        facts[day >= start] = chosen

    return change


def heard(facts):
    return facts[:, THIRDS.start : THIRDS.start + BANDS]


def gain(decibels):
    def work(facts):
        heard(facts)[:] += decibels
        for name in ("floor", "peak", "offset"):
            facts[:, NAMES.index(name)] += decibels

    return work


def lost_above(hertz):
    def work(facts):
        heard(facts)[:, np.array(CENTRES[:BANDS]) > hertz] -= 30

    return work


def swapped(facts):
    one = facts[:, THIRDS].copy()
    facts[:, THIRDS] = facts[:, OTHER_THIRDS]
    facts[:, OTHER_THIRDS] = one
    facts[:, NAMES.index(OTHER)] = level_of(facts[:, OTHER_THIRDS])


def fact(name, decibels):
    def work(facts):
        facts[:, NAMES.index(name)] += decibels

    return work


def bearing_fault(start, days, decibels=6.0):
    """Return a change that grows: a resonance around 3 kHz rises, by `decibels` after some days."""

    def change(facts, day):
        grown = np.clip((day - start) / days, 0, 1)
        octaves = np.log2(np.array(CENTRES[:BANDS]) / 3000)
        heard(facts)[:] += grown[:, None] * decibels * np.exp(-((octaves / 0.8) ** 2))

    return change


def dull(start, days, decibels=3.0):
    """Return a microphone that loses treble: per octave above 1 kHz, after some days."""

    def change(facts, day):
        grown = np.clip((day - start) / days, 0, 1)
        octaves = np.maximum(0, np.log2(np.array(CENTRES[:BANDS]) / 1000))
        heard(facts)[:] -= grown[:, None] * decibels * octaves

    return change
