"""What a bank of 100 hours costs: info, score of one recording, leave-one-out, add; and whether 500,000 windows work.

    python benchmarks/big_bank.py --work DIR
    python benchmarks/big_bank.py --work DIR --rows 500000 --sample 4000

Windows of 10 s, 7 per recording of 35 s, vectors as an encoder's: recordings scatter around 40 states, and windows
around their recording. The encoder of the commands is soundnet, whose embeddings have 256 values. `info`, `score` and
`add` are the commands, each in a process of its own; processor time and peak memory are what the system counted for it.
Leave-one-out is in this process, beside the float32 product of the same rows with all rows. With `--sample` it is of
that many rows, and the bank that the commands open carries scores that were drawn at random.
"""

import argparse
import dataclasses
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

from echobank.detection.backends import make_backend
from echobank.detection.bank import Bank, Row, build_bank, load_bank, save_bank
from echobank.detection.header import BankHeader, OwnMachine, Scoring
from echobank.detection.leave_one_out import SelfScores
from echobank.machines.listener import Listener
from echobank.models.pooling import Pooling
from echobank.models.registry import load_encoder

SECONDS, HOP = 10.0, 5.0
WINDOWS = 7  # per recording
TILE = 4096
MELS = 128
RATE = 16_000


def made_bank(rows: int, dimension: int, seed: int = 0) -> Bank:
    """Return a bank without scores."""
    rng = np.random.default_rng(seed)
    recordings = -(-rows // WINDOWS)
    states = rng.standard_normal((40, dimension), dtype=np.float32)
    centres = states[rng.integers(40, size=recordings)]
    centres += 0.6 * rng.standard_normal((recordings, dimension), dtype=np.float32)
    which = np.arange(rows) // WINDOWS
    vectors = np.abs(centres)[which] + 0.3 * rng.standard_normal((rows, dimension), dtype=np.float32)
    hashes = [f"{i:064x}" for i in range(recordings)]
    tags = [{"speed": f"{i % 4}", "added": f"2026-01-{1 + i % 28:02d}T00:00:00+00:00"} for i in range(recordings)]
    facts = [
        Row(
            f"{i // 1000:03d}/{i:06d}.wav",
            "pump",
            domain=f"speed={i % 4}",
            attributes=tags[i],
            sha256=hashes[i],
            group=hashes[i],
            start=HOP * (row % WINDOWS),
            seconds=SECONDS,
        )
        for row, i in enumerate(which.tolist())
    ]
    profile = rng.standard_normal((rows, 2, MELS), dtype=np.float32)
    listener = Listener(load_encoder("soundnet"), Pooling(), SECONDS, HOP)
    header = BankHeader(listener.provenance, Scoring(k=1), machine=OwnMachine("pump", "soundnet"))
    return build_bank(vectors[:, None], facts, header, {"profile": profile})


def product(vectors: np.ndarray, rows: int) -> float:
    """Return the processor time of the float32 product of the first rows with all rows, tile by tile, seconds."""
    start = time.process_time()
    for i in range(0, rows, TILE):
        for j in range(0, len(vectors), TILE):
            np.matmul(vectors[i : min(i + TILE, rows)], vectors[j : j + TILE].T)
    return time.process_time() - start


def leave_one_out(bank: Bank, rows: int) -> tuple[SelfScores, float]:
    """Return leave-one-out scores of the bank, and the processor time of those of the first rows, seconds."""
    start = time.process_time()
    backend = make_backend("knn", k=1, metric="cosine", params={}).fit(bank)
    if rows == len(bank):
        scores = backend.self_scores()
        distances, nearest = backend.others()
        return SelfScores(scores, nearest=nearest, distances=distances), time.process_time() - start
    backend.rows_().nearest(bank.vectors[:rows], 1, bank.groups[:rows], bank.groups)
    took = time.process_time() - start
    drawn = 0.1 + 0.02 * np.random.default_rng(2).random(len(bank))  # about what the true ones are
    return SelfScores(drawn, nearest=np.roll(np.arange(len(bank)), WINDOWS), distances=drawn), took


# A process of its own that is small: the peak memory of a child begins at what its parent held.
LAUNCHER = """
import os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen([sys.executable, "-m", "echobank", *sys.argv[1:]], stdout=2, stderr=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def measured(words: list[str]) -> tuple[float, float, float]:
    """Run a command; return seconds by the clock, of the processor, and its peak memory in MB."""
    command = [sys.executable, "-c", LAUNCHER, *words]
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    code, clock, processor, memory = map(float, said.split())
    if code not in (0, 1):  # 1: the noise is anomalous
        raise SystemExit(f"echobank {' '.join(words)} failed")
    return clock, processor, memory / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the bank")
    parser.add_argument("--rows", type=int, default=70_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--sample", type=int, help="rows whose leave-one-out scores are timed (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    file = args.work / "pump" / "bank.safetensors"
    bank = made_bank(args.rows, args.dimension)
    rows = min(args.sample or args.rows, args.rows)
    spent = product(bank.vectors[:, 0], rows)
    own, took = leave_one_out(bank, rows)
    print(
        f"{args.rows} windows; of {rows}: product {spent:.1f} s, leave-one-out {took:.1f} s, {took / spent:.2f} times"
    )
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    save_bank(dataclasses.replace(bank, own=own), file)
    del bank, own
    print(f"file {file.stat().st_size / 1e6:.0f} MB")
    sound = 0.1 * np.random.default_rng(1).standard_normal(round(SECONDS * RATE))
    soundfile.write(args.work / "new.wav", sound, RATE)
    for name, words in (
        ("bank info", ["bank", "info", str(file.parent)]),
        ("score of one recording of 10 s", ["score", str(file.parent), str(args.work / "new.wav")]),
    ):
        runs = [measured(words) for _ in range(args.rounds)]
        clock, processor, memory = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{name}: {clock:.2f} s, {processor:.2f} s of processor time, {memory:.0f} MB")
    clock, processor, memory = measured(["bank", "add", str(file.parent), str(args.work / "new.wav")])
    print(f"bank add of one recording: {clock:.2f} s, {processor:.2f} s of processor time, {memory:.0f} MB")
    assert len(load_bank(file)) == args.rows + 1


if __name__ == "__main__":
    main()
