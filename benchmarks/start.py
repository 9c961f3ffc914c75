"""Processor time and memory of `echobank score` of one recording of 10 s, from start to end of the program.

    python benchmarks/start.py --encoder soundnet logmel_stats
    python benchmarks/start.py --encoder soundnet --backend default knn

A bank of 60 windows of 10 s is made first. What is measured is all that the system counts for the program: the imports,
the bank, the encoder, the search. Runs take turns; medians are printed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS, RECORDINGS = 16_000, 20, 20  # three windows each, half a window apart


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", nargs="+", default=["soundnet", "logmel_stats"])
    parser.add_argument("--backend", nargs="+", default=["default"], help="default is what fit takes (ldn, K = 16)")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings(folder)
        pairs = [(encoder, backend) for encoder in args.encoder for backend in args.backend]
        for encoder, backend in pairs:
            fit = ["fit", "healthy", "--machine", f"{encoder}-{backend}", "--set", f"model.embedding={encoder}"]
            run(folder, *fit, *([] if backend == "default" else ["--set", f"scoring.backend={backend}"]))
        spent: dict[tuple[str, str], list[tuple[float, float]]] = {pair: [] for pair in pairs}
        for _ in range(args.rounds):
            for encoder, backend in pairs:
                spent[encoder, backend].append(run(folder, "score", f"banks/{encoder}-{backend}", "new.wav"))
    print(f"{'encoder':<16}{'back-end':<12}{'processor s':>12}{'memory MB':>11}")
    for (encoder, backend), runs in spent.items():
        seconds, megabytes = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{encoder:<16}{backend:<12}{seconds:12.3f}{megabytes:11.0f}")


def run(folder: Path, *words: str) -> tuple[float, float]:
    """Run echobank; return its processor time in s and its largest memory in MB (million bytes)."""
    program = subprocess.Popen(
        [sys.executable, "-m", "echobank", *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode not in (0, 1):
        raise SystemExit(f"echobank {' '.join(words)} ended with {program.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def recordings(folder: Path) -> None:
    """Write healthy/ and new.wav: a hum of slightly different pitch in noise."""
    rng = np.random.default_rng(0)
    (folder / "healthy").mkdir()
    times = np.arange(RATE * SECONDS) / RATE
    for number in range(RECORDINGS):
        sound = 0.1 * np.sin(2 * np.pi * (100 + number) * times) + 0.02 * rng.standard_normal(len(times))
        soundfile.write(folder / "healthy" / f"{number:02}.wav", sound, RATE)
    soundfile.write(folder / "new.wav", sound[: 10 * RATE], RATE)


if __name__ == "__main__":
    main()
