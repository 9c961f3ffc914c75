"""Kills: a fleet embeds 3,000 clips and loses something at a random moment; the rows after a second run are compared.

In turn: the driver, an actor, the raylet (SIGKILL), and one of two nodes that is removed (ray.cluster_utils, in a
network namespace of its own, where both nodes are on loopback). After the second run the multiset of rows must be that
of a run that was left alone, each Parquet file readable, and no temporary file left. Exits 1 otherwise. Needs Linux,
and the permission to make a network namespace for the nodes.

OMP_NUM_THREADS=1 python benchmarks/fleet_kills.py --kills 20
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from fleet import write_fleet

VICTIMS = ("driver", "actor", "raylet", "node")
WORDS = {"actor": "ray::_Actor", "raylet": "raylet/raylet"}
CLUSTER = """
import os, subprocess, sys, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
out, after, delay, command = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
cluster = Cluster()
cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
second = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
run = subprocess.Popen([*command, "--ray", cluster.address, "--spread"])
while run.poll() is None and sum(1 for _ in out.rglob("*.parquet")) < after:
    time.sleep(0.05)
time.sleep(delay)
hit = run.poll() is None
if hit:
    cluster.remove_node(second, allow_graceful=False)
code = run.wait()
print("hit" if hit else "late", flush=True)
cluster.shutdown()
os._exit(code)
"""
NAMESPACE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def rows_of(out: Path) -> Counter[tuple[object, ...]]:
    """Return every row of a dataset, its arrays by their bytes, and how often it is there; reads every Parquet file."""
    from pyarrow.parquet import ParquetFile

    found: Counter[tuple[object, ...]] = Counter()
    for path in out.rglob("*.parquet"):
        with ParquetFile(path) as file:
            for row in file.read().to_pylist():
                vectors = [np.asarray(row.pop(name), np.float32).tobytes() for name in ("vector", "profile", "traits")]
                found[(*row.values(), *vectors)] += 1
    return found


def embed_command(source: Path, out: Path, encoder: str, shard: int) -> list[str]:
    """Return the command of a run."""
    options = ["--set", f"model.embedding={encoder}", "--actors", "2", "--shard", str(shard), "--hop", "10s"]
    return [sys.executable, "-m", "echobank", "fleet", "embed", str(source), "--out", str(out), *options]


def killed_run(command: list[str], out: Path, victim: str, after: int, rng: random.Random) -> tuple[bool, int]:
    """Run a command and kill something soon after `after` shards; return whether it ran yet, and the exit code."""
    quiet, delay = subprocess.DEVNULL, rng.uniform(0, 0.2)
    if victim == "node":
        inside = [*NAMESPACE, sys.executable, "-c", CLUSTER, str(out), str(after), str(delay), *command]
        done = subprocess.run(
            inside, capture_output=True, text=True, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        )
        return "hit" in done.stdout.splitlines(), done.returncode
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    while process.poll() is None and sum(1 for _ in out.rglob("*.parquet")) < after:
        time.sleep(0.05)
    time.sleep(delay)
    found = [process.pid] if victim == "driver" else below(process.pid, WORDS[victim])
    hit = bool(found) and process.poll() is None
    if hit:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(found), signal.SIGKILL)
    return hit, process.wait(timeout=900)


def below(pid: int, word: str) -> list[int]:
    """Return the processes below one whose command line holds a word."""
    lines: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                lines[int(entry.name)] = parent, words
            except OSError:
                continue
    family = {pid}
    while more := {child for child, (parent, _) in lines.items() if parent in family} - family:
        family |= more
    return [child for child in family if word in lines.get(child, (0, ""))[1]]


def kill_runs(source: Path, scratch: Path, args: argparse.Namespace) -> bool:
    """Kill, run again, and compare with a run that was left alone; return whether all were equal."""
    rng = random.Random(args.seed)
    whole = scratch / "whole"
    alone = embed_command(source, whole, args.encoder, args.shard)
    subprocess.run(alone, check=True, stdout=subprocess.DEVNULL)
    wanted = rows_of(whole)
    shards = len(list(whole.rglob("*.parquet")))
    print(f"left alone: {shards} shards, {wanted.total()} rows", flush=True)
    good = True
    for number in range(args.kills):
        victim, out = VICTIMS[number % len(VICTIMS)], scratch / f"killed-{number}"
        command = embed_command(source, out, args.encoder, args.shard)
        hit, code = killed_run(command, out, victim, rng.randrange(1, shards), rng)
        there = len(list(out.rglob("*.parquet")))
        again = subprocess.run(command, capture_output=True, text=True, timeout=900)
        facts = {"victim": victim, "hit": hit, "exit": code, "shards": there, "again": again.returncode}
        same, left = rows_of(out) == wanted, len(list(out.rglob("*.tmp")))
        held = same and not left and not again.returncode
        print(f"{'PASS' if held else 'FAIL'} {number} {json.dumps({**facts, 'rows equal': same, 'temporaries': left})}")
        print(again.stderr if again.returncode else "", end="", flush=True)
        good &= held
    return good


def main() -> None:
    """Write the recordings and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--shard", type=int, default=12, help="recordings per shard")
    parser.add_argument("--encoder", default="logmel_stats")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        good = kill_runs(write_fleet(scratch / "in", args.clips), scratch, args)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
