"""Seconds a 10 s clip on one core, peak memory and size of each encoder, in one run. Prints a table.

  python benchmarks/encoders.py --onnx mn04_features.onnx --onnx soundnet_features.onnx --beats BEATs_iter3.pt

Each encoder has a process of its own, held to one core. The ratio is to logmel_stats. Time is the median of
seven clips in the quietest of three rounds. Peak memory is that of the whole process: Python, libraries, encoder, clip.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROUNDS = 3
CLIPS = 7
SECONDS = 10
# The tables of the log-mel front end inside mn04 are constants, not parameters.
NOT_LEARNED = ("dft", "mb")


def main() -> None:
    """Measure the encoders in turns and print the table; with --one, measure a single one and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", action="append", default=[], type=Path, help="an ONNX encoder; may be repeated")
    parser.add_argument("--beats", action="append", default=[], type=Path, help="a BEATs checkpoint; may be repeated")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return
    names = ["logmel_stats", "soundnet", *(f"onnx:{path}" for path in args.onnx), *map(str, args.beats)]
    in_process(names[1])  # fetches and converts the weights, which is not what is measured
    rounds = [{name: in_process(name) for name in names} for _ in range(ROUNDS)]
    print(f"{'encoder':28}{'ms/clip':>10}{'x logmel':>10}{'peak MB':>9}{'parameters':>12}")
    rival = min(found["logmel_stats"]["ms"] for found in rounds)
    for name in names:
        ms = min(found[name]["ms"] for found in rounds)
        peak = max(found[name]["peak_mb"] for found in rounds)
        label = Path(name.removeprefix("onnx:")).name
        print(f"{label:28}{ms:10.1f}{ms / rival:10.2f}{peak:9.0f}{parameters(name):12,}")


def in_process(name: str) -> dict[str, float]:
    """Measure one encoder in a process that may use one thread and one core."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, env={**os.environ, **one}, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(name: str) -> dict[str, float]:
    """Return the median milliseconds of a clip, after one that warms up, and the peak memory in MB."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from echobank.models.registry import load_encoder

    encoder = load_encoder(name)
    clip = np.random.default_rng(0).normal(0, 0.1, SECONDS * encoder.facts.sample_rate).astype(np.float32)
    encoder.tokens([clip])
    spent = []
    for _ in range(CLIPS):
        start = time.perf_counter()
        encoder.tokens([clip])
        spent.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return {"ms": 1e3 * statistics.median(spent), "peak_mb": peak}


def parameters(name: str) -> int:
    """Return how many numbers were learned, as they run: batch norm folded into the convolutions."""
    if name == "logmel_stats":
        return 0
    if name == "soundnet":
        from echobank.models.encoders.soundnet import SHAPES

        return sum((shape.kernel * shape.channels_in + 1) * shape.channels_out for shape in SHAPES)
    if name.startswith("onnx:"):
        import onnx

        tensors = onnx.load(name.removeprefix("onnx:")).graph.initializer
        return sum(int(np.prod(item.dims)) for item in tensors if item.name not in NOT_LEARNED)
    import torch

    return sum(item.numel() for item in torch.load(name, weights_only=True, map_location="cpu")["model"].values())


if __name__ == "__main__":
    main()
