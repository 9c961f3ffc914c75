"""Where BEATs spends its time on this processor, and its own ways beside the plain ones: positions and attention.

    python benchmarks/beats_parts.py --rounds 15

Base size, one clip of 10 s, random numbers, milliseconds per clip. The rivals are torch's grouped convolution and its
fused attention with the bias as a mask; rounds are interleaved and medians are printed. Then a batch of eight goes
through the whole model under torch's profiler.
"""

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from beats_speed import clips, random_weights
from torch.profiler import profile

from echobank.models.beats.attention import Solo, attend
from echobank.models.beats.beats_encoder import load
from echobank.models.beats.checkpoint import BeatsConfig
from echobank.models.beats.position import PositionConvolution
from echobank.models.logmel import logmel_tensor

TOKENS = 496
BATCH = 8
KINDS = {
    "mkldnn::_linear_pointwise": "products of the layers",
    "aten::bmm": "products of attention and spectra",
    "aten::_softmax": "softmax",
    "aten::addcmul_": "bias of attention",
    "aten::copy_": "copies and changes of type",
    "aten::native_layer_norm": "norms",
    "aten::add": "residuals",
    "aten::_fft_r2c": "spectra",
    "aten::_fft_c2r": "spectra",
}


def main() -> None:
    """Compare the parts and print where a batch spends its time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with torch.inference_mode():
        compare("positions", positions(), args.rounds)
        compare("attention, a layer", attentions(), args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights(Path(folder) / "random.pt")
        for precision in ("fp32", "bf16"):
            shares(weights, precision)


def positions() -> dict[str, Callable[[], torch.Tensor]]:
    """Return the position convolution by taps and by spectra."""
    config, x = BeatsConfig(), torch.randn(1, TOKENS, BeatsConfig().dimension)
    ways = {}
    for name in ("taps fp32", "taps bf16", "spectra"):
        way = PositionConvolution(config.dimension, config.position_taps, config.position_groups).requires_grad_(False)
        if name == "spectra":
            way.transform()
        ways[name] = (lambda it: lambda: it(x))(way.bfloat16() if name == "taps bf16" else way)
    return ways


def attentions() -> dict[str, Callable[[], torch.Tensor]]:
    """Return torch's fused attention and ours, in both precisions."""
    config, ways = BeatsConfig(), {}
    shape = config.heads, TOKENS, config.dimension // config.heads
    gate, bias = torch.rand(config.heads, TOKENS, 1), torch.randn(config.heads, TOKENS, TOKENS)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        q, k, v = (torch.randn(shape).to(dtype) for _ in range(3))
        solo, whole = Solo(bias, dtype), [part[None] for part in (q, k, v, gate)]
        ways[f"fused {name}"] = (lambda parts: lambda: attend(*parts, bias))(whole)
        ways[f"four heads {name}"] = (lambda it, parts: lambda: it.attend(*parts))(solo, (q, k, v, gate))
    return ways


def compare(what: str, ways: dict[str, Callable[[], torch.Tensor]], rounds: int) -> None:
    """Print the median of each way."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 2):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if turn >= 2:
                spent[name].append(1e3 * (time.perf_counter() - start))
    print(f"{what}: " + ", ".join(f"{name} {statistics.median(times):.1f} ms" for name, times in spent.items()))


def shares(weights: Path, precision: str) -> None:
    """Print the share of each kind of work in a batch."""
    model = load(None, weights, "cpu", precision, False).model
    logmels = torch.cat([logmel_tensor(torch.from_numpy(clip)[None]) for clip in clips(BATCH)])
    with torch.inference_mode():
        model(logmels)
        with profile() as profiler:
            model(logmels)
    spent: Counter[str] = Counter()
    for event in profiler.key_averages():
        spent[KINDS.get(event.key, "else")] += event.self_cpu_time_total
    parts = (f"{kind} {time_ / spent.total():.0%}" for kind, time_ in spent.most_common())
    print(f"{precision}, a batch of {BATCH}: {', '.join(parts)}")


if __name__ == "__main__":
    main()
