"""Months of a machine as files, by the command line from end to end: fit, score --trend, checkup; and the real motors.

    python benchmarks/months_audio.py audio --out DIR --seeds 3
    python benchmarks/months_audio.py motors --out DIR --motors FOLDER

`audio` writes four recordings of 6 s per day, near and far microphone, whose files carry the times at which they would
have been made; the change begins on day 50 of 115. `motors` fits on the early half of the healthy recordings of each
real motor and asks for a checkup with the late half.
"""

import argparse
import io
import json
import os
import shutil
import sys
from collections import defaultdict
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import soundfile
from months_conditions import CONDITIONS, clip_of, steps_of

from echobank.cli import main as echobank

BEGIN, DAY = 1_735_689_600, 86_400  # 1 January 2025, seconds
CHANGE, DAYS, A_DAY = 50, 115, 4
SCENARIOS = ("none", "gain_step", "lost_band", "swapped", "slow_fault")


def quiet(words: list[str]) -> str:
    """Run a command, and return what it printed."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        code = echobank(words)
    if code not in (0, 1):
        raise SystemExit(f"echobank {' '.join(words)} gave {code}")
    return out.getvalue()


def write(path: Path, clip: np.ndarray, at: float) -> None:
    """Write a recording that ends at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, clip, 16_000, subtype="PCM_16")
    os.utime(path, (at, at))


def audio(out: Path, seeds: int, encoder: str) -> None:
    """Print a row per seed and scenario."""
    print(
        "| seed | change | named | days to find it | begins, days from the truth |\n|---|---|---|---|---|", flush=True
    )
    for seed in range(seeds):
        for scenario in SCENARIOS:
            found = one_year(out, scenario, seed, encoder)
            names = "; ".join(f"{about}: {kind}" for about, kind, _, _ in found) or "nothing"
            delay, error = (f"{found[0][2] - CHANGE:.1f}", f"{found[0][3] - CHANGE:+.1f}") if found else ("-", "-")
            print(f"| {seed} | {scenario} | {names} | {delay} | {error} |", flush=True)


def one_year(out: Path, scenario: str, seed: int, encoder: str) -> list[tuple[str, str, float, float]]:
    """Return what each change was named, when it was found and when it began, in days."""
    root, rng = out / f"{scenario}-{seed}", np.random.default_rng([seed, len(scenario)])
    shutil.rmtree(root / "banks", ignore_errors=True)
    if len(list((root / "later").glob("*.wav"))) < DAYS * A_DAY:  # what an earlier run rendered is kept
        render(root, scenario, rng)
    settings = ["--window", "6s", "--set", f"model.embedding={encoder}"]
    quiet(["fit", str(root / "healthy"), "--machine", "bearing", "--out", str(root / "banks"), *settings])
    bank = str(root / "banks" / "bearing")
    quiet(["score", bank, str(root / "later"), "--out", str(root / "t.csv"), "--trend", f"{bank}/trend"])
    checkup = json.loads(quiet(["checkup", bank, "--json", "--report", str(root / "checkup.html")]))
    changes = [it for it in checkup["findings"] if it["found"] is not None and it["level"] == "warning"]
    told = [
        (it["about"], it["kind"], (it["found"] / 1000 - BEGIN) / DAY, (it["since"] / 1000 - BEGIN) / DAY)
        for it in changes
    ]
    return sorted(told, key=lambda it: it[2])


def render(root: Path, scenario: str, rng: np.random.Generator) -> None:
    """Write the recordings of a machine."""
    for i in range(40):
        write(root / "healthy" / f"{i:03d}.wav", clip_of("temperature", 1 + i % 3, rng), BEGIN - DAY + i)
    last = dict(steps_of())
    for i in range(DAYS * A_DAY):
        day = i / A_DAY
        far = CONDITIONS[scenario](day - CHANGE) if scenario in CONDITIONS else 0.0
        clip = clip_of("temperature", int(rng.integers(1, 4)), rng)
        if far > 0:
            at = far * (last[scenario] + 1) - 1
            step = int(np.floor(at) + (rng.random() < at - np.floor(at)))
            clip = clip_of(scenario, step, rng) if step >= 0 else clip
        write(root / "later" / f"{i:04d}.wav", clip, BEGIN + day * DAY)


def motors(out: Path, folder: Path, encoder: str) -> None:
    """Print what a checkup says of the late healthy recordings of real motors."""
    groups = defaultdict(list)
    for path in sorted(folder.rglob("*.wav")):
        if "healthy" in str(path).lower() or "normal" in str(path).lower():
            groups[path.parent.name].append(path)
    every = sorted(path for paths in groups.values() for path in paths)
    half = len(every) // 2
    root = out / "motors"
    settings = ["--window", "2s", "--set", f"model.embedding={encoder}"]
    quiet(["fit", *map(str, every[:half]), "--machine", "motors", "--out", str(root), *settings])
    bank = str(root / "motors")
    quiet(["score", bank, *map(str, every[half:]), "--out", str(root / "t.csv"), "--trend", f"{bank}/trend"])
    print(f"{len(every)} healthy recordings, fitted on {half}, the others scored")
    print(quiet(["checkup", bank]))


def main() -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("audio", "motors"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--motors", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--encoder", default="soundnet")
    args = parser.parse_args()
    if args.what == "audio":
        audio(args.out, args.seeds, args.encoder)
    else:
        motors(args.out, args.motors, args.encoder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
