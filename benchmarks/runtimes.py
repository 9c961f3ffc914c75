"""BEATs by torch beside its ONNX file in onnxruntime and in OpenVINO: clips per second, and how far each is from fp32.

    echobank export FILE --out DIR [--int8]
    python benchmarks/runtimes.py --weights FILE --onnx DIR/*.onnx

One clip of 10 s at a time, which is all that the ONNX file takes; rounds are interleaved, medians are printed. OpenVINO
runs where it is installed (`pip install openvino`), in fp32 and in bf16.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from echobank.models.logmel import logmel_torch
from echobank.models.registry import load_encoder

SECONDS = 10

Float32 = NDArray[np.float32]
Run = Callable[[Float32], Float32]


def main() -> None:
    """Run every way over one clip and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="a BEATs checkpoint, or a card's name")
    parser.add_argument("--onnx", type=Path, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    ways = {f"echobank {precision}": ours(args.weights, precision) for precision in ("fp32", "bf16")}
    for file in args.onnx:
        ways[f"onnxruntime {file.stem}"] = by_onnxruntime(file)
        if importlib.util.find_spec("openvino"):
            ways |= {f"OpenVINO {hint} {file.stem}": by_openvino(file, hint) for hint in ("f32", "bf16")}
    samples = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * 16000)
    compare(ways, logmel_torch(samples.astype(np.float32)), args.rounds)


def compare(ways: dict[str, Run], features: Float32, rounds: int) -> None:
    """Print clips per second and 1 - cos of the mean token to the first way."""
    means = {name: mean_token(run(features)) for name, run in ways.items()}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            time.sleep(0.2)  # until the threads of the way before have come to rest
            start = time.perf_counter()
            run(features)
            spent[name].append(time.perf_counter() - start)
    first = next(iter(means.values()))
    print(f"{torch.get_num_threads()} threads")
    for name, times in spent.items():
        cosine = means[name] @ first / np.linalg.norm(means[name]) / np.linalg.norm(first)
        print(f"{name:40}{1 / statistics.median(times):6.2f} clips/s   1 - cos {1 - cosine:8.1e}", flush=True)


def mean_token(tokens: Float32) -> NDArray[np.float64]:
    """Return the mean of all tokens of a clip, float64[D]."""
    return tokens.reshape(-1, tokens.shape[-1]).mean(axis=0, dtype=np.float64)


def ours(weights: str, precision: str) -> Run:
    """Return the encoder, log-mel to tokens."""
    encoder = load_encoder(weights, precision=precision, device="cpu")
    return lambda features: encoder.tokens_from_logmel([features])[0]


def by_onnxruntime(file: Path) -> Run:
    """Return the file in onnxruntime, on as many threads as torch takes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda features: np.asarray(session.run(None, {name: features[None]})[0])


def by_openvino(file: Path, hint: str) -> Run:
    """Return the file in OpenVINO, compiled for one clip at a time."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    model = openvino.Core().compile_model(file, "CPU", {**settings, "PERFORMANCE_HINT": "LATENCY"})
    return lambda features: np.asarray(model(features[None])[0])


if __name__ == "__main__":
    main()
