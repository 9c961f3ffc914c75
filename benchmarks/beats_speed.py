"""Our BEATs against the official code and against the machine's matrix peak, in one run.

    python benchmarks/beats_speed.py --official DIR --batch 8 --rounds 7

DIR is a checkout of microsoft/unilm's folder beats; without it only our variants run. Rounds are interleaved and
medians are printed, since machines drift. Without torchaudio, which the official front end needs, ours stands in.
Weights are random unless --weights names a checkpoint: speed does not depend on them, deviations do.
"""

import argparse
import importlib.util
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echobank.models.beats.allocator import keep_memory
from echobank.models.beats.beats_encoder import BeatsEncoder, load
from echobank.models.beats.checkpoint import BeatsConfig, expected_shapes
from echobank.models.logmel import logmel_tensor
from echobank.models.pooling import Pooling

OURS = {
    "fp32": ("fp32", False),
    "bf16": ("bf16", False),
    "fp32 compiled": ("fp32", True),
    "bf16 compiled": ("bf16", True),
}
SECONDS = 10
_PEAK_SECONDS = 10.0  # after which no more products are timed
GFLOP = 98.67  # of one 10 s clip through base: projections 28.1, feed-forward 56.2, attention 9.1, position 4.7

Embed = Callable[[list[np.ndarray]], np.ndarray]


def main() -> None:
    """Read the options and compare, or tell the peak memory of one variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, metavar="DIR")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--variants", nargs="+", choices=OURS, default=["fp32", "bf16"])
    parser.add_argument("--mallopt", action="store_true", help="keep freed memory, for every variant alike")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.mallopt:
        keep_memory()
    if args.memory_of:
        variant(args.memory_of, args)(clips(args.batch))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        args.weights = args.weights or random_weights(Path(folder) / "random.pt")
        compare([*(["official"] if args.official else []), *args.variants], args)


def compare(names: list[str], args: argparse.Namespace) -> None:
    """Print one line per variant; the first is what the others are compared with."""
    memory = {name: peak_memory(name, args) for name in names}
    embeds = {name: variant(name, args) for name in names}
    waveforms = clips(args.batch)
    vectors = {name: embed(waveforms) for name, embed in embeds.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(args.rounds):
        for name, embed in embeds.items():
            start = time.perf_counter()
            embed(waveforms)
            seconds[name].append(time.perf_counter() - start)
            print(f"{name} {args.batch / seconds[name][-1]:.3f}", file=sys.stderr, flush=True)
    peaks = {kind: matrix_peak(kind, args.device) for kind in ("fp32", "bf16")}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, device {args.device}, batch {args.batch}")
    print(f"matrix peak GFLOP/s: fp32 {peaks['fp32']:.0f}, bf16 {peaks['bf16']:.0f}")
    print("variant          clips/s  ratio  of peak  peak RSS MB  max abs     1 - cos")
    reference = names[0]
    for name in names:
        rate = args.batch / statistics.median(seconds[name])
        ratio = statistics.median(a / b for a, b in zip(seconds[reference], seconds[name], strict=True))
        share = rate * GFLOP / (max(peaks.values()) if "bf16" in name else peaks["fp32"])
        worst, angle = deviation(vectors[reference], vectors[name])
        print(f"{name:15s} {rate:8.2f} {ratio:6.2f} {share:8.0%} {memory[name]:12d}  {worst:.1e}  {angle:.1e}")


def variant(name: str, args: argparse.Namespace) -> Embed:
    """Return a function from waveforms of one length to mean tokens [B, D]."""
    if name == "official":
        return official(args.official, args.weights, args.device)
    precision, compiled = OURS[name]
    encoder: BeatsEncoder = load(None, args.weights, args.device, precision, compiled)
    return lambda waveforms: np.stack([clip[0][0] for clip in encoder.embed(waveforms, [Pooling()])])


def official(folder: Path, weights: Path, device: str) -> Embed:
    """Return the same of the official code."""
    if importlib.util.find_spec("torchaudio") is None:
        print("torchaudio is not installed: our log-mel stands in for the official front end", file=sys.stderr)
        stand_in()
    sys.path.insert(0, str(folder))
    module: Any = importlib.import_module("BEATs")
    content = torch.load(weights, map_location="cpu", weights_only=True)
    model = module.BEATs(module.BEATsConfig(content["cfg"]))
    model.load_state_dict(content["model"])
    model.eval().to(device)

    def embed(waveforms: list[np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            samples = torch.from_numpy(np.stack(waveforms)).to(device)
            return model.extract_features(samples)[0].mean(dim=1).cpu().numpy()

    return embed


def stand_in() -> None:
    """Put a `torchaudio.compliance.kaldi.fbank` in place that computes our log-mel."""
    kaldi = types.ModuleType("torchaudio.compliance.kaldi")
    kaldi.fbank = lambda waveform, **_: logmel_tensor(waveform / 2**15)[0]  # type: ignore[attr-defined]
    for name in ("torchaudio", "torchaudio.compliance"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchaudio.compliance.kaldi"] = kaldi
    sys.modules["torchaudio.compliance"].kaldi = kaldi  # type: ignore[attr-defined]
    sys.modules["torchaudio"].compliance = sys.modules["torchaudio.compliance"]  # type: ignore[attr-defined]


def random_weights(path: Path) -> Path:
    """Write a checkpoint of base size with random weights of unit gain."""
    config = BeatsConfig()
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for key, shape in expected_shapes(config).items():
        tensor = torch.randn(shape, generator=generator)
        if len(shape) > 1 and not key.endswith(("grep_a", "weight_g")):
            tensor = tensor / float(np.prod(shape[1:])) ** 0.5
        elif key.endswith("weight"):
            tensor = 1 + 0.1 * tensor
        elif key.endswith("weight_g"):
            tensor = tensor.abs()
        elif key.endswith("bias"):
            tensor = 0.05 * tensor
        if key.endswith("relative_attention_bias.weight"):
            tensor = state.get("encoder.layers.0.self_attn.relative_attention_bias.weight", tensor)
        state[key] = tensor
    cfg = {
        "embed_dim": config.embed, "encoder_layers": config.layers, "encoder_embed_dim": config.dimension,
        "encoder_ffn_embed_dim": config.hidden, "encoder_attention_heads": config.heads,
        "input_patch_size": config.patch, "conv_pos": config.position_taps, "conv_pos_groups": config.position_groups,
        "num_buckets": config.buckets, "max_distance": config.max_distance, "deep_norm": True, "conv_bias": False,
        "relative_position_embedding": True, "gru_rel_pos": True, "layer_norm_first": False,
        "activation_fn": "gelu", "finetuned_model": False,
    }  # fmt: skip
    torch.save({"cfg": cfg, "model": state}, path)
    return path


def clips(count: int) -> list[np.ndarray]:
    """Return different 10 s clips of a hum in noise."""
    rng = np.random.default_rng(0)
    times = np.arange(16000 * SECONDS) / 16000
    hums = (np.sin(2 * np.pi * rng.uniform(50, 500) * times) for _ in range(count))
    return [(0.1 * hum + 0.03 * rng.standard_normal(len(times))).astype(np.float32) for hum in hums]


def peak_memory(name: str, args: argparse.Namespace) -> int:
    """Return the peak resident memory in MB of a process that embeds one batch."""
    command = [sys.executable, __file__, "--memory-of", name, "--batch", str(args.batch), "--device", args.device]
    command += ["--weights", str(args.weights), *(["--official", str(args.official)] if args.official else [])]
    command += ["--mallopt"] if args.mallopt else []
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def matrix_peak(kind: str, device: str) -> float:
    """Return the best rate of a square matrix product, GFLOP/s."""
    size = 2048 if device == "cpu" else 8192
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16 if kind == "bf16" else torch.float32)
    best = float("inf")
    end = time.perf_counter() + _PEAK_SECONDS
    for turn in range(10):
        if turn and time.perf_counter() > end:
            break  # without a unit for bfloat16 one product takes seconds; one is always timed
        start = time.perf_counter()
        product = a @ a
        product[0, 0].item()  # waits for a GPU
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def deviation(reference: np.ndarray, vectors: np.ndarray) -> tuple[float, float]:
    """Return the largest absolute difference and the largest 1 - cos of embeddings [B, D]."""
    a, b = reference.astype(np.float64), vectors.astype(np.float64)
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(np.abs(a - b).max()), float((1 - cosine).max())


if __name__ == "__main__":
    main()
