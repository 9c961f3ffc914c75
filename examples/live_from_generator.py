"""Judge endless sound from a generator: any source that yields blocks, such as a converter's driver or a socket."""

from collections.abc import Iterator

import numpy as np
from pump import RATE, pump

from echobank import Detector


def sound() -> Iterator[np.ndarray]:
    """Yield blocks of 50 ms for 24 seconds; the pump begins to squeal after twelve."""
    for part in range(6):
        samples = pump(200 + part, squeal=0.05 if part >= 3 else 0.0)
        yield from np.split(samples, len(samples) // (RATE // 20))


detector = Detector("pump", seconds=2.0, settings=["model.embedding=logmel_stats"])
detector.fit_samples((pump(seed) for seed in range(24)), RATE)

in_a_row = 0
for verdict in detector.score_blocks(sound(), RATE):
    in_a_row = in_a_row + 1 if verdict.decision else 0
    print(f"{verdict.start:5.1f} s  score {verdict.score:7.3f}  {'anomalous' if verdict.decision else 'normal'}")
    if in_a_row == 3:  # one window above the threshold is no alarm: at a rate of 5 %, one healthy window in twenty is
        print(f"ALARM: three windows in a row, since {verdict.start - 2 * detector.machine_.listener.hop:.1f} s")
