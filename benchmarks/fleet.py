"""Fleet: Ray with one and two one-thread actors against the plain loop limited to one core, in one run; and kills.

Each way embeds the same recordings into a dataset of its own, in turns; the start of Ray and of the encoders is
reported apart. `--kills N` kills the driver, an actor or the raylet at random moments N times, runs again, and compares
the rows.

OMP_NUM_THREADS=1 python benchmarks/fleet.py --clips 600 --rounds 3
OMP_NUM_THREADS=1 python benchmarks/fleet.py --clips 120 --rounds 0 --kills 20
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from recordings import recordings

RATE = 16_000
MACHINES = 12

PLAIN = """
import json, os, sys, time
from pathlib import Path
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
from echobank.machines.fit import machine_config, make_listener
source, encoder = sys.argv[1:3]
listener = make_listener(machine_config(None, ["model.embedding=" + encoder]), 10.0, 10.0)
paths = sorted(Path(source).rglob("*.wav"))
list(listener.hear(paths[:1]))
wall = time.perf_counter()
count = sum(1 for _ in listener.hear(paths))
print(json.dumps({"wall": time.perf_counter() - wall, "count": count}))
"""

FLEET = """
import json, os, sys
from functools import partial
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
from echobank.fleet.catalog import catalog_of
from echobank.fleet.cluster import PoolSettings, RayPool
from echobank.fleet.embed_run import EmbedRun
from echobank.fleet.embedding import EmbedSettings, EmbedWorker
from echobank.fleet.location import Location
from echobank.machines.fit import machine_config
source, encoder, out, actors, shard = sys.argv[1:6]
config = machine_config(None, ["model.embedding=" + encoder])
settings = EmbedSettings(config, 10.0, 10.0, Location(source), Location(out))
make = partial(EmbedWorker, settings)
with RayPool(make, PoolSettings(actors=int(actors))) as pool:
    pool.fill()
    tally = EmbedRun(settings, catalog_of(settings.source), int(shard)).run(pool)
print(json.dumps({"wall": tally.seconds, "start": tally.starting, "count": tally.new.recordings}))
"""


def write_fleet(folder: Path, clips: int) -> Path:
    """Write clips of 10 s of 12 machines: real recordings where they are at hand, else noise in a hum."""
    real = recordings("dcase2023_mini7")
    found = sorted(real.rglob("*.wav"))[:clips] if real else []
    rng = np.random.default_rng(0)
    t = np.arange(10 * RATE) / RATE
    for i in range(clips):
        if i < len(found):
            sound, rate = soundfile.read(found[i], dtype="float32", always_2d=True)
            sound = sound[:, 0]
        else:
            hum = 0.1 * np.sin(2 * np.pi * 50 * (1 + i % MACHINES) * t)
            sound, rate = hum + 0.02 * rng.standard_normal(len(t)), RATE
        path = folder / f"machine{i % MACHINES:02d}" / f"2026-03-{1 + i // MACHINES % 4:02d}" / f"{i:05d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, rate)
    return folder


def told(program: str, *arguments: object) -> dict[str, float]:
    """Run a program and return what it prints last."""
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    answer: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def compare(source: Path, scratch: Path, encoder: str, rounds: int, shard: int) -> None:
    """Print clips per second of each way and the ratios within each round."""
    ratios: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        plain = told(PLAIN, source, encoder)
        print(f"round {number}: plain loop on one core {plain['count'] / plain['wall']:.1f} clips/s", flush=True)
        for actors in ratios:
            out = scratch / f"out-{number}-{actors}"
            fleet = told(FLEET, source, encoder, out, actors, shard)
            assert fleet["count"] == plain["count"]
            ratios[actors].append(plain["wall"] / fleet["wall"])
            speed = fleet["count"] / fleet["wall"]
            print(f"  {actors} actors: {speed:.1f} clips/s, {ratios[actors][-1]:.2f} times", end="", flush=True)
            print(f"; start {fleet['start']:.1f} s", flush=True)
    for actors, values in ratios.items():
        if values:
            print(f"{actors} actors: median {statistics.median(values):.2f} of {rounds}, least {min(values):.2f}")


def rows_of(out: Path) -> Counter[tuple[object, ...]]:
    """Return every row of a dataset, its vector by its bytes, and how often it is there."""
    from pyarrow.parquet import ParquetFile

    found: Counter[tuple[object, ...]] = Counter()
    for path in out.rglob("*.parquet"):
        with ParquetFile(path) as file:
            for row in file.read().to_pylist():
                vectors = [np.asarray(row.pop(name), np.float32).tobytes() for name in ("vector", "profile")]
                found[(*row.values(), *vectors)] += 1
    return found


def embed_command(source: Path, out: Path, encoder: str, shard: int) -> list[str]:
    """Return the command of a run."""
    options = ["--set", f"model.embedding={encoder}", "--actors", "2", "--shard", str(shard), "--hop", "10s"]
    return [sys.executable, "-m", "echobank", "fleet", "embed", str(source), "--out", str(out), *options]


def kill_runs(source: Path, scratch: Path, encoder: str, kills: int, shard: int, seed: int) -> None:
    """Kill something at a random moment, run again, and compare with a run that was left alone."""
    rng = random.Random(seed)
    whole = scratch / "whole"
    began = time.monotonic()
    subprocess.run(embed_command(source, whole, encoder, shard), check=True, capture_output=True)
    length = time.monotonic() - began
    wanted = rows_of(whole)
    for number in range(kills):
        victim = ("driver", "actor", "raylet")[number % 3]
        out = scratch / f"killed-{number}"
        pipe = subprocess.DEVNULL
        process = subprocess.Popen(embed_command(source, out, encoder, shard), stdout=pipe, stderr=pipe)
        time.sleep(rng.uniform(0.3, 0.95) * length)
        found = _victims(process.pid, victim)
        if found:
            os.kill(rng.choice(found), signal.SIGKILL)
        code = process.wait(timeout=600)
        shards = len(list(out.rglob("*.parquet")))
        again = subprocess.run(embed_command(source, out, encoder, shard), capture_output=True, text=True, timeout=600)
        same = rows_of(out) == wanted
        left = len(list(out.rglob("*.tmp")))
        print(f"{number:2d} {victim:<6} hit {bool(found)}, exit {code}, {shards} shards; ", end="")
        print(f"again exit {again.returncode}, rows equal {same}, temporaries {left}", flush=True)
        if not same or left or again.returncode:
            raise SystemExit(again.stderr)


def _victims(driver: int, kind: str) -> list[int]:
    if kind == "driver":
        return [driver]
    word = {"actor": "ray::_Actor", "raylet": "raylet/raylet"}[kind]
    lines: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                lines[int(entry.name)] = parent, words
            except OSError:
                continue
    below = {driver}
    while more := {pid for pid, (parent, _) in lines.items() if parent in below} - below:
        below |= more
    return [pid for pid in below if word in lines[pid][1]]


def main() -> None:
    """Write the recordings and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--shard", type=int, default=12, help="recordings per shard")
    parser.add_argument("--encoder", default="logmel_stats")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = write_fleet(scratch / "in", args.clips)
        compare(source, scratch, args.encoder, args.rounds, args.shard)
        if args.kills:
            kill_runs(source, scratch, args.encoder, args.kills, args.shard, args.seed)


if __name__ == "__main__":
    main()
