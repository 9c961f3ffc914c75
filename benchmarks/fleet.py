"""Fleet: Ray with one and two one-thread actors against the plain loop limited to one core, in one run.

The plain loop embeds and keeps nothing; each fleet writes a dataset of its own. They take turns. The start of Ray and
of the encoders is reported apart. PASS is a median of 0.85 times the plain loop with one actor, 1.6 times with two.

OMP_NUM_THREADS=1 python benchmarks/fleet.py --clips 1200 --rounds 5
OMP_NUM_THREADS=1 python benchmarks/fleet.py --clips 600 --rounds 5 --encoder soundnet
"""

import argparse
import io
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from recordings import recordings

RATE = 16_000
MACHINES = 12
WANTED = {1: 0.85, 2: 1.6}  # times the plain loop
REAL = (("dcase2020_slider",), ("dcase2023_toycar_half",), ("bldc_motors", "dcase2023_mini7"))  # machines 0 to 2

PLAIN = """
import json, os, sys, time
from dataclasses import replace
from pathlib import Path
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
from echobank.machines.fit import machine_config, make_listener
source, encoder, flags = sys.argv[1:4]
config = machine_config(None, ["model.embedding=" + encoder])
listener = replace(make_listener(config, 10.0, 10.0), traits=float(flags) > 0)
paths = sorted(Path(source).rglob("*.wav"))
list(listener.hear(paths[:1]))
wall = time.perf_counter()
count = sum(1 for _ in listener.hear(paths))
print(json.dumps({"wall": time.perf_counter() - wall, "count": count}))
"""

FLEET = """
import json, os, sys, time
from functools import partial
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
from echobank.fleet.catalog import catalog_of
from echobank.fleet.cluster import PoolSettings, RayPool
from echobank.fleet.embed_run import EmbedRun
from echobank.fleet.embedding import EmbedSettings, EmbedWorker
from echobank.fleet.location import Location
from echobank.machines.fit import machine_config
source, encoder, flags, out, actors, shard = sys.argv[1:7]
config = machine_config(None, ["model.embedding=" + encoder, "scoring.flag_rate=" + flags])
settings = EmbedSettings(config, 10.0, 10.0, Location(source), Location(out))
make = partial(EmbedWorker, settings)
with RayPool(make, PoolSettings(actors=int(actors))) as pool:
    began = time.perf_counter()
    pool.fill()
    start = time.perf_counter() - began
    tally = EmbedRun(settings, catalog_of(settings.source), int(shard)).run(pool)
print(json.dumps({"wall": tally.seconds, "start": start, "count": tally.new.recordings, "windows": tally.new.windows}))
"""


def write_fleet(folder: Path, clips: int) -> Path:
    """Write clips of 10 s or a little more of 12 machines on four days: real recordings where they are at hand.

    Machine 0 is a slider, machine 1 a toy car, machine 2 a mixture of others; what they lack, and all other machines,
    is noise in a hum.
    """
    each = -(-clips // MACHINES)
    real = [_real(names, each) for names in REAL]
    for i in range(clips):
        machine, number = i % MACHINES, i // MACHINES
        path = folder / f"machine{machine:02d}" / f"2026-03-{1 + 4 * number // each:02d}" / f"{number:05d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        if machine < len(real) and number < len(real[machine]):
            shutil.copyfile(real[machine][number], path)
        else:
            soundfile.write(path, synthetic(machine, number), RATE)
    return folder


def synthetic(machine: int, number: int) -> np.ndarray:
    """Return 10 s of a made-up machine, float64[T]."""
    t = np.arange(10 * RATE) / RATE
    noise = np.random.default_rng([machine, number]).standard_normal(len(t))
    return np.asarray(0.1 * np.sin(2 * np.pi * 50 * (1 + machine) * t) + 0.02 * noise)


def _real(names: tuple[str, ...], most: int) -> list[Path]:
    folders = [folder for name in names if (folder := recordings(name))]
    found = [path for folder in folders for path in sorted(folder.rglob("*.wav"))]
    step = max(1, len(found) // most)
    return found[::step][:most]


def told(program: str, *arguments: object) -> dict[str, float]:
    """Run a program and return what it prints last."""
    done = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    answer: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def compare(source: Path, scratch: Path, encoder: str, flags: str, rounds: int, shard: int) -> None:
    """Print clips per second of each way and the ratios within each round."""
    ratios: dict[int, list[float]] = {actors: [] for actors in WANTED}
    for number in range(rounds):
        plain = told(PLAIN, source, encoder, flags)
        print(f"round {number}: plain loop on one core {plain['count'] / plain['wall']:.1f} clips/s", flush=True)
        for actors in ratios:
            out = scratch / f"out-{number}-{actors}"
            fleet = told(FLEET, source, encoder, flags, out, actors, shard)
            assert fleet["count"] == plain["count"]
            ratios[actors].append(plain["wall"] / fleet["wall"])
            speed = fleet["count"] / fleet["wall"]
            print(f"  {actors} actors: {speed:.1f} clips/s, {ratios[actors][-1]:.2f} times", end="", flush=True)
            size = sum(path.stat().st_size for path in out.rglob("*.parquet")) / fleet["windows"]
            print(f"; start {fleet['start']:.1f} s, {size:.0f} bytes per window", flush=True)
    for actors, values in ratios.items():
        middle = statistics.median(values)
        said = "PASS" if middle >= WANTED[actors] else "FAIL"
        print(f"{said} {actors} actors: median {middle:.2f} of {rounds} rounds, {min(values):.2f} to {max(values):.2f}")


def say_flac() -> None:
    """Print how much smaller real recordings are as FLAC."""
    found = [path for names in REAL[:2] for path in _real(names, 40)]
    shares = []
    for path in found:
        sound, rate = soundfile.read(path, dtype="int16")
        packed = io.BytesIO()
        soundfile.write(packed, sound, rate, format="FLAC")
        shares.append(len(packed.getvalue()) / path.stat().st_size)
    if shares:
        print(f"FLAC: {statistics.median(shares):.2f} of WAV, {len(shares)} real recordings")


def main() -> None:
    """Write the recordings and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shard", type=int, default=256, help="most recordings per shard")
    parser.add_argument("--encoder", default="logmel_stats")
    parser.add_argument("--no-flags", action="store_true", help="leave out what flags are made of")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = write_fleet(scratch / "in", args.clips)
        compare(source, scratch, args.encoder, "0" if args.no_flags else "0.02", args.rounds, args.shard)
        say_flac()


if __name__ == "__main__":
    main()
