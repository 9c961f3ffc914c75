"""A package for a device beside `echobank score`: size of what is installed, memory, processor time per window of 10 s.

    python benchmarks/edge.py --rate 22050 48000

The package runs in an environment of its own that has numpy and onnxruntime and nothing else (`pip install`; `--venv`
names one that is there). A bank of 60 windows is made first. Runs of 1 and of 21 recordings of one window each take
turns, on one core with one thread; the slope between them is the cost of a window, what is left is the start.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

SECONDS, RECORDINGS, NEW = 10, 20, 21
SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="soundnet")
    parser.add_argument("--rate", type=int, nargs="+", default=[22_050, 48_000], help="of the recorder, Hz")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--venv", type=Path, help="environment with numpy and onnxruntime alone")
    args = parser.parse_args()
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = args.venv or environment(folder / "venv")
        print(f"installed: {installed(alone):.0f} MB beside pip and setuptools")
        print(f"{'':<34}{'start s':>9}{'ms per window':>13}{'memory MB':>11}")
        for rate in args.rate:
            measure(folder / str(rate), args.encoder, rate, args.rounds, alone / "bin" / "python")


def measure(folder: Path, encoder: str, rate: int, rounds: int, alone: Path) -> None:
    """Print what both ways cost at one rate of a recorder."""
    recordings(folder, rate)
    echobank = (sys.executable, "-m", "echobank")
    run(folder, *echobank, "fit", "healthy", "--machine", "m", "--set", f"model.embedding={encoder}")
    run(folder, *echobank, "export", "banks/m", "--out", "m.edge", "--rate", str(rate))
    new = sorted(str(path.relative_to(folder)) for path in (folder / "new").iterdir())
    ways = {"echobank score": (*echobank, "score", "banks/m"), "run.py": (str(alone), "m.edge/run.py")}
    spent: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, words in ways.items():
            (few, _), (many, memory) = run(folder, *words, new[0]), run(folder, *words, *new)
            each = (many - few) / (NEW - 1)
            spent[way].append((few - each, 1000 * each, memory))
    for way, runs in spent.items():
        start, each, memory = (statistics.median(column) for column in zip(*runs, strict=True))
        low, high = min(run[1] for run in runs), max(run[1] for run in runs)
        print(f"{way + f', {rate} Hz':<34}{start:9.2f}{each:7.1f} ({low:.1f} to {high:.1f}){memory:11.0f}")


def run(folder: Path, *words: str) -> tuple[float, float]:
    """Run a program; return its processor time in s and its largest memory in MB (million bytes)."""
    program = subprocess.Popen(
        words, cwd=folder, env={**os.environ, **SINGLE}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(words)} ended with {program.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


def environment(folder: Path) -> Path:
    """Make an environment with numpy and onnxruntime."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "-q", "numpy", "onnxruntime"], check=True)
    return folder


def installed(folder: Path) -> float:
    """Return the size of the libraries of an environment, without pip and setuptools, MB (million bytes)."""
    (libraries,) = folder.glob("lib/python*/site-packages")
    kept: Sequence[Path] = [path for path in libraries.iterdir() if not path.name.startswith(("pip", "setuptools"))]
    files = [file for path in kept for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def recordings(folder: Path, rate: int) -> None:
    """Write healthy/ and new/: a hum of slightly different pitch in noise."""
    rng = np.random.default_rng(0)
    for name, count, seconds in (("healthy", RECORDINGS, 2 * SECONDS), ("new", NEW, SECONDS)):
        (folder / name).mkdir(parents=True)
        times = np.arange(seconds * rate) / rate
        for number in range(count):
            sound = 0.1 * np.sin(2 * np.pi * rng.uniform(95, 105) * times) + 0.02 * rng.standard_normal(len(times))
            soundfile.write(folder / name / f"{number:02d}.wav", sound, rate)


if __name__ == "__main__":
    main()
