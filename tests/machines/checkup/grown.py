"""Months of a machine as a trend with embeddings: real sounds, embedded once, drawn again and again."""

import dataclasses
from functools import cache

import numpy as np

from echobank.data.windows import cut_stream
from echobank.machines.checkup.history import History
from echobank.machines.checkup.hourly import Texts, WindowColumns, hours_of
from echobank.machines.trend.reservoir import Sampled
from echobank.machines.trend.trend_window import TrendWindow
from tests.machines.checkup.simulated import BEGIN, DAY
from tests.machines.sounds import RATE, hum

PER_DAY = 24


def heard_of(machine, sounds):
    """Return what a listener hears in sounds of one window each: vectors, profiles, facts, levels."""
    from pathlib import Path

    from echobank.data.audio import Stream

    listener = dataclasses.replace(machine.listener, facts=True)
    windows = []
    for sound in sounds:
        cut = cut_stream(Stream(RATE, 1, iter([sound])), seconds=2.0, hop=2.0, sample_rate=RATE, facts=True)
        windows.append(next(iter(cut)))
    return listener.hear_windows(Path("x"), windows)


def tone(severity, seed):
    """Return a window of the machine with a fault: a whistle at 3 kHz that grows."""
    sound = hum(2.0, seed=seed)
    t = np.arange(len(sound)) / RATE
    return (sound + severity * np.sin(2 * np.pi * 3000 * t)).astype(np.float32)


@cache
def _steps(machine_name, steps, each, low, high):
    machine = _MACHINES[machine_name]
    sounds = [
        tone(low + (high - low) * step / (steps - 1) if step else 0.0, 1000 + 50 * step + i)
        for step in range(steps)
        for i in range(each)
    ]
    return heard_of(machine, sounds)


_MACHINES = {}


def months(machine, days, severity, *, seed=0, steps=12, each=12, low=0.0, high=0.03):
    """Return (history, sample) of days in which a fault grows: `severity` is day to 0 (none) to 1.

    Each step of the fault is heard `each` times, and each window is one of the two nearest steps.
    """
    rng = np.random.default_rng(seed)
    _MACHINES[str(id(machine))] = machine  # kept, so that no other one gets its number
    heard = _steps(str(id(machine)), steps, each, low, high)
    verdicts = machine.judge(heard)
    count = days * PER_DAY
    day = np.arange(count) / PER_DAY
    place = np.array([severity(d) for d in day]) * (steps - 1)
    step = np.floor(place).astype(int) + (rng.random(count) < place - np.floor(place))
    clips = step * each + rng.integers(0, each, count)
    when = BEGIN + (day * DAY).astype(np.int64)
    none = Texts(np.zeros(count, np.int64), ("",))
    names = sorted({verdict.nearest for verdict in verdicts})
    columns = WindowColumns(
        heard=when,
        revision=np.ones(count, np.int64),
        score=np.array([verdicts[i].score for i in clips]),
        p_value=np.array([verdicts[i].p_value for i in clips]),
        decision=np.array([float(verdicts[i].decision) for i in clips]),
        level_dbfs=np.array([verdicts[i].level_dbfs for i in clips]),
        flags=none,
        nearest=Texts(np.array([names.index(verdicts[i].nearest) for i in clips]), tuple(names)),
        quiet=none,
        facts=heard.facts[clips],
    )
    found, states = hours_of(columns)
    history = History(found, dict.fromkeys(names, count), tuple(states), {}, 0)
    sample = [
        Sampled(
            TrendWindow(
                id=f"{i}",
                heard=int(when[i]),
                received=int(when[i]),
                revision=1,
                file=f"{i}.wav",
                start=0.0,
                seconds=2.0,
                **{name: getattr(verdicts[clips[i]], name) for name in ("score", "p_value", "decision", "nearest")},
                level_dbfs=verdicts[clips[i]].level_dbfs,
            ),
            f"{i:064d}",
            f"{i + 1_000_000:064d}",
            heard.vectors[clips[i]],
            heard.profiles[clips[i]],
            traits=heard.traits[clips[i]],
        )
        for i in range(0, count, 6)
    ]
    return history, sample, {one.window.id: float(place[int(one.window.id)]) for one in sample}
