"""Windows of a trend, invented."""

import random

from echobank.data.sound_facts import NAMES
from echobank.machines.trend.summaries import HOUR
from echobank.machines.trend.trend_window import TrendWindow

BEGIN = 472_224 * HOUR  # midnight, 15 November 2023, UTC


def windows(count, *, begin=BEGIN, every=HOUR // 30, seed=0, revision=1, late=0, facts=True):
    """Return windows of one machine, `every` milliseconds apart, received `late` milliseconds after they were heard."""
    rng = random.Random(seed)
    found = []
    for i in range(count):
        score, heard = rng.lognormvariate(0, 0.3), begin + i * every
        found.append(
            TrendWindow(
                id=f"{seed}-{i}",
                heard=heard,
                received=heard + late,
                revision=revision,
                file=f"{i // 4}.wav",
                start=float(i % 4),
                seconds=2.0,
                score=score,
                p_value=rng.random(),
                percentile=50.0,
                decision=int(score > 1.8),
                nearest=f"{i % 7}.wav",
                nearest_start=0.0,
                level_dbfs=-20.0 + rng.random(),
                facts=tuple(round(100 * rng.uniform(-60, -20)) for _ in NAMES) if facts else (),
            )
        )
    return found
