"""One machine of DCASE size from WAV files to official CSVs, stage by stage, and once more from the caches.

    python benchmarks/pipeline.py --work /tmp/pipeline --embedding beats_base --weights FILE --precision bf16

The rival is the encoder alone: the same clips, read beforehand, in the same batches. Recordings are synthetic (1,000
train and 200 test clips of 10 s); speed does not depend on what they sound like. `--scale small` takes a tenth.
"""

import argparse
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from echobank.cli import main as echobank
from echobank.data.audio import read_clip
from echobank.data.dcase import scan
from echobank.models.registry import load_encoder

MACHINE = "fan"
SCALES = {
    "full": ["--scale", "full"],
    "small": ["--train-source", "99", "--train-target", "1", "--test", "5", "--supplemental", "2"],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("demo/pipeline"))
    parser.add_argument("--embedding", default="logmel_stats")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--scale", choices=SCALES, default="small")
    args = parser.parse_args()
    data = args.work / f"data-{args.scale}"
    seconds("synth", ["--out", str(data), "--machines", MACHINE, "--seconds", "10", *SCALES[args.scale]], [])
    clips = [r.path for r in scan(data).recordings if r.split != "supplemental"]
    alone = encoder_alone(clips[:64], args) * len(clips)
    print(f"{len(clips)} clips; the encoder alone needs {alone:.1f} s ({len(clips) / alone:.2f} clips/s)")
    run = args.work / f"run-{time.time_ns()}"
    settings = {
        "data.root": data,
        "data.cache": run / "cache",
        "output.dir": run / "results",
        "model.embedding": args.embedding,
        "model.precision": args.precision,
    }
    if args.weights:
        settings["weights.path"] = args.weights
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    for name in ("first run", "second run"):
        spent = {stage: seconds(stage, [], words) for stage in ("preprocess", "train", "infer")}
        spent["evaluate"] = seconds("evaluate", ["--results", str(run / "results")], [])
        total = sum(spent.values())
        stages = ", ".join(f"{stage} {value:.1f} s" for stage, value in spent.items())
        print(f"{name}: {stages}; in all {total:.1f} s")
        if name == "first run":
            print(f"  beyond the encoder alone: {total - alone:.1f} s, {total / alone:.2f} times its time")


def encoder_alone(paths: list[Path], args: argparse.Namespace) -> float:
    """Return seconds per clip of the encoder on clips that are in memory, the first batch left out."""
    encoder = load_encoder(args.embedding, precision=args.precision, weights=args.weights)
    waves = [read_clip(path, sample_rate=encoder.facts.sample_rate).samples for path in paths]
    encoder.tokens(waves[:8])
    start = time.perf_counter()
    for first in range(8, len(waves), 8):
        encoder.tokens(waves[first : first + 8])
    return (time.perf_counter() - start) / (len(waves) - 8)


def seconds(command: str, arguments: list[str], settings: list[str]) -> float:
    """Run a command of echobank quietly and return how long it took."""
    start = time.perf_counter()
    with redirect_stdout(StringIO()):
        code = echobank([command, *arguments, *settings])
    if code:
        raise SystemExit(f"{command} ended with exit code {code}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
