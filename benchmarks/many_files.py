"""Speed and memory of scoring many files, as a ratio to an older version in one interleaved run.

10,000 files of 1 s, then 500 windows of 10 s of long recordings: both versions score the same files in turns, each in
a process of its own that stays, so that what else the machine does meets both alike. The scores are compared.

git worktree add --detach ../before 116e4fb
python benchmarks/many_files.py --before ../before
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from recordings import recordings

RATE = 16_000
LONG_WINDOWS = 500

WORKER = """
import json, resource, sys, time
from pathlib import Path
from echobank import Detector
try:
    from echobank.machines.score import score_to_table
except ImportError:  # the folder's name in older versions
    from echobank.monitoring.score import score_to_table

told = json.loads(sys.stdin.readline())
detector = Detector(
    "machine",
    seconds=told["seconds"],
    hop=told["hop"],
    settings=("model.embedding=" + told["encoder"], "model.k=1", "scoring.backend=knn"),
).fit([Path(path) for path in told["healthy"]])
detector.save(told["bank"])
print("{}", flush=True)
for line in sys.stdin:
    told = json.loads(line)
    wall, processor = time.perf_counter(), time.process_time()
    tally = score_to_table(detector.machine_, told["bank"], [Path(path) for path in told["paths"]], told["table"])
    done = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor, "windows": tally.windows}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
    print(json.dumps({**done, "peak": peak, "resident": resident}), flush=True)
"""


@dataclass(frozen=True)
class Task:
    """What is scored.

    Attributes:
        name: For people.
        healthy: Recordings that the bank is made of.
        rounds: Recordings of each round.
        seconds: Length of a window.
        hop: Distance of windows.
    """

    name: str
    healthy: list[Path]
    rounds: list[list[Path]]
    seconds: float
    hop: float


class Version:
    """One version of the package, in a process that stays."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process, self.folder = process, folder
        self.rounds: list[dict[str, float]] = []

    def tell(self, **told: Any) -> dict[str, float]:
        """Send a message and return the answer."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer

    def score(self, number: int, paths: list[Path]) -> None:
        """Score the recordings of one round."""
        table, bank = str(self.folder / f"{number}.csv"), str(self.folder / "bank")
        self.rounds.append(self.tell(paths=[str(path) for path in paths], table=table, bank=bank))

    def scores(self, number: int) -> list[float]:
        """Return the scores of one round."""
        with (self.folder / f"{number}.csv").open(newline="", encoding="utf-8") as stream:
            return [float(row["score"]) for row in csv.DictReader(stream)]

    def per(self, what: str, task: Task) -> list[float]:
        """Return files per second of each round, or windows for long recordings."""
        long = task.seconds > 1
        sizes = [done["windows"] if long else len(paths) for done, paths in zip(self.rounds, task.rounds, strict=True)]
        return [size / done[what] for size, done in zip(sizes, self.rounds, strict=True)]


@contextmanager
def running(checkout: Path, folder: Path, threads: int) -> Iterator[Version]:
    """Give a version of the package, read from a checkout; threads 0 leaves what the libraries start."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    folder.mkdir()
    command = [sys.executable, "-c", WORKER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield Version(process, folder)
        assert process.stdin
        process.stdin.close()


def short_files(folder: Path, count: int, rounds: int) -> Task:
    """Write noises of one second."""
    rng = np.random.default_rng(0)
    for i in range(count):
        soundfile.write(folder / f"{i:05d}.wav", 0.1 * rng.standard_normal(RATE), RATE)
    paths = sorted(folder.glob("*.wav"))
    return Task(f"{count} files of 1 s", paths[:30], [paths[i::rounds] for i in range(rounds)], 1.0, 1.0)


def long_recordings(folder: Path, rounds: int) -> Task:
    """Take real recordings where they are at hand, else write noises, of 500 windows of 10 s every 5 s in all."""
    real = recordings("ambience_32k")
    if real:
        lengths = {path: soundfile.info(path).duration for path in sorted(real.rglob("*.ogg"))}
        chosen = [path for path, seconds in lengths.items() if seconds > 60]
    else:
        rng = np.random.default_rng(1)
        chosen = [folder / f"long{i}.wav" for i in range(rounds)]
        for path in chosen:
            soundfile.write(path, 0.1 * rng.standard_normal(32_000 * 510), 32_000)
        lengths = dict.fromkeys(chosen, 510.0)
    parts: list[list[Path]] = [[] for _ in range(rounds)]
    windows = 0
    for i, path in enumerate(chosen):
        if windows < LONG_WINDOWS:
            parts[i % rounds].append(path)
            windows += int((lengths[path] - 10) // 5) + 1
    kind = "real recordings" if real else "noise"
    return Task(
        f"{windows} windows of long recordings ({kind})", chosen[:2], [part for part in parts if part], 10.0, 5.0
    )


def compare(task: Task, args: argparse.Namespace, folder: Path) -> None:
    """Score with both versions in turns and print what it came to."""
    here = Path(__file__).parents[1]
    with ExitStack() as stack:
        names = {"this": (here, 0)} | ({"before": (Path(args.before), args.before_threads)} if args.before else {})
        versions = {
            name: stack.enter_context(running(checkout, folder / name, threads))
            for name, (checkout, threads) in names.items()
        }
        for version in versions.values():
            settings = {"seconds": task.seconds, "hop": task.hop, "encoder": args.encoder}
            healthy = [str(path) for path in task.healthy]
            version.tell(**settings, healthy=healthy, bank=str(version.folder / "bank"))
        for number, paths in enumerate(task.rounds):
            for name in sorted(versions, reverse=bool(number % 2)):
                versions[name].score(number, paths)
    print(f"{task.name}, {args.encoder}:")
    unit = "windows" if task.seconds > 1 else "files"
    for name, version in versions.items():
        rounds, wall, processor = version.rounds, version.per("wall", task), version.per("processor", task)
        memory = " ".join(f"{done['resident']:.0f}" for done in rounds)
        print(
            f"  {name}: {statistics.median(wall):.1f} {unit}/s, {1000 / statistics.median(processor):.2f} ms of "
            f"processor time each, peak {rounds[-1]['peak']:.0f} MB; MB after each round: {memory}"
        )
    if args.before:
        for what in ("wall", "processor"):
            pairs = zip(versions["this"].per(what, task), versions["before"].per(what, task), strict=True)
            ratios = [ours / theirs for ours, theirs in pairs]
            print(f"  {what}: {statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})")
        rows = [
            zip(*(version.scores(n) for version in versions.values()), strict=True) for n in range(len(task.rounds))
        ]
        worst = max(abs(ours - theirs) for pairs in rows for ours, theirs in pairs)
        print(f"  largest difference of a score: {worst:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--encoder", default="soundnet")
    parser.add_argument("--before", help="checkout of the version to compare with")
    parser.add_argument(
        "--before-threads", type=int, default=0, help="OMP_NUM_THREADS of that version (default: unset)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for number in range(2):
            folder = Path(name) / str(number)
            files = folder / "files"
            files.mkdir(parents=True)
            compare(long_recordings(files, 4) if number else short_files(files, args.files, args.rounds), args, folder)
