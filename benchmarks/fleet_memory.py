"""Memory of a fleet: the driver with 10,000 and 1,000,000 listed recordings, an actor after 1,000 and 10,000 clips.

The recordings of the driver are names only; it runs in a process of its own for each count. The actor is one of Ray and
embeds clips of 2 s. Peaks of resident memory; PASS where ten or a hundred times as many take at most a tenth more.

OMP_NUM_THREADS=1 python benchmarks/fleet_memory.py
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import soundfile
from fleet import RATE, synthetic
from fleet_kills import WORDS, below

from echobank.cli.fleet import _RAY, _RAY_HERE
from echobank.fleet.catalog import catalog_of
from echobank.fleet.cluster import PoolSettings, RayPool
from echobank.fleet.embed_run import EmbedRun, Pace
from echobank.fleet.embedding import EmbedSettings, EmbedWorker
from echobank.fleet.location import Location
from echobank.machines.fit import machine_config

DRIVER = """
import json, resource, sys
from echobank.fleet.catalog import Listed, Partition
from echobank.fleet.embed_run import EmbedRun
from echobank.fleet.embedding import EmbedSettings, ShardDone
from echobank.fleet.location import Location
from echobank.fleet.shards import Counts
from echobank.machines.fit import machine_config, make_listener
out, count = sys.argv[1], int(sys.argv[2])

class Names:
    def partitions(self, left_out):
        for begin in range(0, count, 1000):
            machine, day = f"machine{begin // 1000 % 100:05d}", f"day{begin // 100_000:05d}"
            names = range(begin, begin + 1000)
            yield Partition(machine, day, tuple(Listed(f"{machine}/{day}/{i}.wav", f"{i}-1", 1) for i in names))

class Nobody:
    def first(self):
        return provenance

    def map(self, tasks):
        for task in tasks:
            yield task, ShardDone(Counts(len(task.items)))

config = machine_config(None, ["model.embedding=logmel_stats"])
provenance = make_listener(config, 10.0, 5.0).provenance
tally = EmbedRun(EmbedSettings(config, 10.0, 5.0, Location(out), Location(out)), Names()).run(Nobody())
assert tally.new.recordings == count
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
"""


def driver_peak(count: int) -> float:
    """Return the peak of a driver that lists so many names, MiB."""
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, out, str(count)], capture_output=True, text=True, check=True
        )
    return float(json.loads(done.stdout))


def actor_peaks(few: int, many: int, encoder: str) -> tuple[float, float]:
    """Return the peaks of an actor after few clips and after many, MiB."""
    peaks: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        for number in range(many):
            path = source / f"machine{number // 1000:02d}" / f"day{number // 250 % 4}" / f"{number:05d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            if number == 0:
                soundfile.write(path, synthetic(0, 0)[: 2 * RATE], RATE)
            else:
                os.link(source / "machine00" / "day0" / "00000.wav", path)
        config = machine_config(None, [f"model.embedding={encoder}"])
        settings = EmbedSettings(config, 2.0, 2.0, Location(str(source)), Location(str(Path(folder) / "out")))

        def see(pace: Pace) -> None:
            (actor,) = below(os.getpid(), WORDS["actor"])
            status = (Path("/proc") / str(actor) / "status").read_text()
            peak = float(status.partition("VmHWM:")[2].split()[0]) / 1024
            for mark in (few, many):
                if pace.done <= mark:
                    peaks[mark] = peak

        with RayPool(partial(EmbedWorker, settings), PoolSettings(actors=1)) as pool:
            EmbedRun(settings, catalog_of(settings.source)).run(pool, see)
    return peaks[few], peaks[many]


def say(what: str, few: float, many: float) -> bool:
    """Print two peaks and whether the second is flat."""
    flat = many <= 1.1 * few
    print(f"{'PASS' if flat else 'FAIL'} {what}: {few:.0f} and {many:.0f} MiB", flush=True)
    return flat


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listed", type=int, nargs=2, default=(10_000, 1_000_000))
    parser.add_argument("--clips", type=int, nargs=2, default=(1_000, 10_000))
    parser.add_argument("--encoder", default="logmel_stats")
    args = parser.parse_args()
    os.environ.update({**_RAY, **_RAY_HERE})
    flat = say(f"driver, {args.listed[0]} and {args.listed[1]} listed", *map(driver_peak, args.listed))
    flat &= say(f"actor, after {args.clips[0]} and {args.clips[1]} clips", *actor_peaks(*args.clips, args.encoder))
    raise SystemExit(0 if flat else 1)


if __name__ == "__main__":
    main()
