"""Clips a second of BEATs base and SoundNet beside a program that keeps one core busy, against an older version.

    git worktree add /tmp/before 116e4fb
    python benchmarks/busy.py --before /tmp/before --cores 0 1

Both versions embed the same clips through their own feeder, in processes that live for the whole run; rounds are
interleaved. Weights are random ones of the published shapes, the same for both: speed does not depend on them.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

SECONDS = {"beats": 10.0, "soundnet": 10.0}
NOW = Path(__file__).resolve().parents[1]


def main() -> None:
    """Compare, or be the process of one version."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, metavar="DIR", help="checkout of the older version")
    parser.add_argument("--encoders", nargs="+", choices=SECONDS, default=list(SECONDS))
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, nargs=2, metavar="N", help="run on these two cores (Linux)")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve[0], Path(args.serve[1]), args.clips)
        return
    if args.cores:
        os.sched_setaffinity(0, args.cores)
    versions = {"now": NOW, **({"before": args.before} if args.before else {})}
    with tempfile.TemporaryDirectory() as folder:
        for encoder in args.encoders:
            compare(encoder, versions, Path(folder), args.clips, args.rounds)


def compare(encoder: str, versions: dict[str, Path], folder: Path, clips: int, rounds: int) -> None:
    """Print the clips a second of each version, quiet and busy, and how far their embeddings are apart."""
    children = {name: start(encoder, source, folder / f"{encoder}_{name}", clips) for name, source in versions.items()}
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for situation in ("quiet", "busy"):
            for name, child in children.items():
                with neighbour(situation == "busy"):
                    rates.setdefault((situation, name), []).append(clips / ask(child))
                print(f"{encoder} {situation} {name} {rates[situation, name][-1]:.3f}", file=sys.stderr, flush=True)
    for child in children.values():
        child.communicate("stop\n")
    for situation in ("quiet", "busy"):
        line = {name: statistics.median(rates[situation, name]) for name in versions}
        text = ", ".join(f"{name} {rate:.2f} clips/s" for name, rate in line.items())
        if "before" in line:
            pairs = zip(rates[situation, "now"], rates[situation, "before"], strict=True)
            text += f", {statistics.median(now / before for now, before in pairs):.2f} times"
        print(f"{encoder:9s} {situation:6s} {text}", flush=True)
    found = [np.load(folder / f"{encoder}_{name}" / "vectors.npy") for name in versions]
    print(f"{encoder:9s} largest difference {np.abs(found[0] - found[-1]).max():.1e}", flush=True)


def start(encoder: str, source: Path, folder: Path, clips: int) -> "subprocess.Popen[str]":
    """Return a process of one version that has its model loaded and embedded the clips once."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(source / "src"), str(NOW)))}
    command = [sys.executable, __file__, "--serve", encoder, str(folder), "--clips", str(clips)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    ask(child)
    return child


def ask(child: "subprocess.Popen[str]") -> float:
    """Let a process embed the clips and return the seconds that it took."""
    assert child.stdin and child.stdout
    child.stdin.write("go\n")
    child.stdin.flush()
    return float(json.loads(child.stdout.readline()))


@contextmanager
def neighbour(there: bool):  # type: ignore[no-untyped-def]
    """Run a program that keeps a core busy."""
    program = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if there else None
    try:
        time.sleep(0.3)
        yield
    finally:
        if program:
            program.kill()
            program.wait()


def serve(encoder: str, folder: Path, clips: int) -> None:
    """Embed the clips whenever a line comes in; runs on the older version, too."""
    try:
        from echobank.models.feeding import Source, embed
    except ImportError:
        from echobank.models.embedding import Source, embed
    from echobank.models.pooling import Pooling

    model = beats() if encoder == "beats" else soundnet()
    rng = np.random.default_rng(0)
    samples = int(SECONDS[encoder] * model.facts.sample_rate)
    waves = [(0.1 * rng.standard_normal(samples)).astype(np.float32) for _ in range(clips)]
    sources = [Source(str(i), "", lambda i=i: (f"{i:064x}", waves[i])) for i in range(clips)]
    for line in sys.stdin:
        if line.strip() != "go":
            return
        begin = time.perf_counter()
        vectors = embed(sources, model, Pooling()).vectors
        print(time.perf_counter() - begin, flush=True)
        np.save(folder / "vectors.npy", vectors)


def beats():  # type: ignore[no-untyped-def]
    """Return BEATs base with random weights, by this version of the code."""
    from echobank import load_encoder

    path = Path(tempfile.gettempdir()) / f"echobank-busy-{os.getpid()}.pt"
    try:
        return load_encoder(random_weights()(path))
    finally:
        path.unlink(missing_ok=True)


def random_weights():  # type: ignore[no-untyped-def]
    """Return the function of beats_speed.py of the version that runs."""
    import importlib.util

    import echobank

    place = Path(echobank.__file__).parents[2] / "benchmarks" / "beats_speed.py"
    spec = importlib.util.spec_from_file_location("beats_speed", place)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.random_weights


def soundnet():  # type: ignore[no-untyped-def]
    """Return SoundNet, its published weights fetched, or random ones where that is not possible."""
    from echobank import load_encoder
    from echobank.errors import EchobankError

    try:
        return load_encoder("soundnet")
    except EchobankError as error:
        print(f"random weights: {error}", file=sys.stderr)
    try:
        from echobank.models.encoders import soundnet as module
    except ImportError:
        from echobank.models import soundnet as module
    rng, digest = np.random.default_rng(0), hashlib.sha256()
    tensors = {}
    for number, shape in enumerate(module.SHAPES, start=1):
        wide = (shape.kernel, 1, shape.channels_in, shape.channels_out)
        for part in module.PARTS:
            size = wide if part == "weights" else wide[-1:]
            values = rng.normal(0, 0.1, size) if part != "var" else rng.uniform(0.5, 2, size)
            tensors[f"conv{number}.{part}"] = values.astype(np.float32)
            digest.update(tensors[f"conv{number}.{part}"].tobytes())
    module.CONTENT_SHA256 = digest.hexdigest()  # the published numbers, as far as this process knows
    return module.SoundNet(tensors, "0" * 64)


if __name__ == "__main__":
    main()
