"""Memory and speed of scoring 10,000 short files: the curve must be flat; the rival is decoding alone.

python benchmarks/many_files.py --files 10000
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile

from echobank import Detector
from echobank.data.audio import read_clip
from echobank.machines.score import score_to_table

RATE = 16_000
T = TypeVar("T")


def resident_mb() -> float:
    """Return the memory that this process holds now, MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main(count: int, embedding: str) -> None:
    """Write noises, fit on 30, score all, print memory every tenth of the way and files a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(0)
        for i in range(count):
            soundfile.write(folder / f"{i:05d}.wav", 0.1 * rng.standard_normal(RATE), RATE)
        paths = sorted(folder.glob("*.wav"))
        detector = Detector("noise", seconds=1.0, hop=1.0, settings=(f"model.embedding={embedding}",)).fit(paths[:30])
        detector.save(folder / "bank")
        curve: list[tuple[int, float]] = []

        def progress(items: Iterable[T], *, total: int, label: str) -> Iterable[T]:
            del label
            for done, item in enumerate(items):
                if done % max(1, total // 10) == 0:
                    curve.append((done, resident_mb()))
                yield item

        start = time.perf_counter()
        score_to_table(detector.machine_, folder / "bank", paths, folder / "table.csv", progress)
        scoring = time.perf_counter() - start
        curve.append((count, resident_mb()))
        start = time.perf_counter()
        for path in paths[:1000]:
            read_clip(path)
        decoding = (time.perf_counter() - start) * count / min(1000, count)
    for done, memory in curve:
        print(f"{done:6d} files  {memory:6.1f} MB")
    print(f"{count / scoring:.0f} files/s scored; decoding alone {count / decoding:.0f} files/s")
    print(f"ratio to decoding alone: {scoring / decoding:.2f} times its time")
    print(f"memory at the end / after a tenth: {curve[-1][1] / curve[1][1]:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--embedding", default="logmel_stats", help="encoder (default: logmel_stats)")
    args = parser.parse_args()
    main(args.files, args.embedding)
