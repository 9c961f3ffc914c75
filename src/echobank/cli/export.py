"""Write a machine as one folder for a device, or an encoder as one ONNX file, and say how far it is from the original.

An argument that holds a bank is a bank; anything else is an encoder.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.cli.own import rate
from echobank.cli.progress import bar
from echobank.errors import EXIT_BAD_INPUT, EXIT_OK, EXIT_SKIPPED, ConfigError

if TYPE_CHECKING:
    from echobank.edge.parity import EdgeParity

_LARGE = 100_000_000  # bytes from which a package takes its time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank export`."""
    parser.add_argument(
        "encoder", metavar="BANK_OR_ENCODER", help="a bank (banks/pump7), a card's name (beats_base) or a checkpoint"
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="where the package, or the .onnx and .json, goes")
    parser.add_argument("--rate", type=int, metavar="HZ", help="bank: rate of the device's recorder")
    parser.add_argument("--far", type=rate, metavar="RATE", help="bank: false-alarm rate, for example 0.05 or 5%%")
    parser.add_argument(
        "--layer", metavar="N", type=int, help="layer whose tokens come out, from 1 (default: the last)"
    )
    parser.add_argument(
        "--int8", action="store_true", help="8-bit weights of BEATs: smaller, and less exact; of a bank with --check"
    )
    parser.add_argument("--weights", metavar="FILE", help="weights file of the encoder")
    parser.add_argument("--check", metavar="PATH", help="a recording or a folder of them to compare both on")


def run(args: argparse.Namespace) -> int:
    """Export, check, and say what was written."""
    return _export_machine(args) if _holds_bank(args.encoder) else _export_encoder(args)


def _holds_bank(text: str) -> bool:
    from echobank.machines.archive import bank_file

    file = bank_file(text)
    if not file.is_file():
        return False
    from echobank.detection.tensor_file import text_of

    return text_of(file, "echobank") is not None


def _export_machine(args: argparse.Namespace) -> int:
    from echobank.edge.bundle import write_bundle
    from echobank.edge.parity import compare_package
    from echobank.machines.machine import open_machine

    if args.layer is not None:
        raise ConfigError("--layer is for an encoder", value=args.layer, hint="the bank says which layer made it")
    if args.int8 and not args.check:
        hint = "--check RECORDINGS, best some that the bank does not hold"
        raise ConfigError("what --int8 loses must be measured", where=args.encoder, hint=hint)
    clips = _recordings(Path(args.check)) if args.check else []
    machine = open_machine(args.encoder, device="cpu", weights=args.weights)
    for notice in machine.notices:
        print(notice, file=sys.stderr)
    machine = machine if args.far is None else machine.at_rate(args.far)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of tracing is for its own developers
        facts = write_bundle(
            machine, args.encoder, args.out, sample_rate=args.rate, int8=args.int8, announce=_announced
        )
    size = sum(file.stat().st_size for file in Path(args.out).rglob("*") if file.is_file())
    print(
        f"wrote {args.out} ({size / 1e6:.1f} MB): {facts.machine}, revision {facts.revision}, hears "
        f"{facts.sample_rate} Hz, threshold {facts.threshold:.4g}"
    )
    if not args.check:
        return EXIT_OK
    result = compare_package(machine, args.encoder, args.out, clips, bar)
    for file, reason in result.left_out:
        print(f"skipped: {reason or file}", file=sys.stderr)
    if not result.windows:
        print(f"nothing was compared: give recordings of {facts.sample_rate} Hz to --check", file=sys.stderr)
        return EXIT_BAD_INPUT
    _print_parity(result, args.int8)
    if result.decisions:
        return EXIT_BAD_INPUT
    return EXIT_SKIPPED if result.left_out else EXIT_OK


def _print_parity(result: "EdgeParity", int8: bool) -> None:
    """Say how far a package is from its machine."""
    ties = f" ({result.ties} of them equally near)" if result.ties else ""
    print(
        f"over {result.windows} windows of {result.recordings} recordings: scores differ by at most "
        f"{result.largest:.1e} of their value, {result.decisions} decisions differ, {result.neighbours} nearest "
        f"recordings differ{ties}; the score next to the threshold is {result.margin:.1e} of it away"
    )
    if result.odd_bands:
        print(f"{result.odd_bands} flags odd_band differ")
    if int8:
        print(f"--int8: rank correlation of the scores {result.rank:.4f}, largest change {result.largest:.1%}")


def _announced(size: int) -> None:
    if size > _LARGE:
        print(f"the package will have about {size / 1e6:,.0f} MB", flush=True)


def _export_encoder(args: argparse.Namespace) -> int:
    from echobank.models.torch_extra import require_torch

    for name in ("rate", "far"):
        if getattr(args, name) is not None:
            raise ConfigError(f"--{name} is for a bank, and this is not one", value=args.encoder)
    require_torch("exporting an encoder")
    from echobank.data.audio import read_clip
    from echobank.models.beats.onnx_export import compare, export_onnx
    from echobank.models.registry import load_encoder

    encoder = load_encoder(args.encoder, weights=args.weights, progress=bar)
    clips = _recordings(Path(args.check)) if args.check else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of tracing is for its own developers
        path = export_onnx(encoder, args.out, layer=args.layer, int8=args.int8)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    print(f"wrote {path.with_suffix('.json')}")
    if clips:
        exported = load_encoder(f"onnx:{path}")
        heard = bar((read_clip(clip).samples for clip in clips), total=len(clips), label="compare")
        result = compare(encoder, exported, heard, args.layer)
        print(
            f"over {result.clips} clips: tokens differ by at most {result.tokens:.2e}, embeddings by at most "
            f"1 - cos = {result.cosine:.2e}, rank correlation of distances {result.rank:.6f}"
        )
    return EXIT_OK


def _recordings(path: Path) -> list[Path]:
    from echobank.machines.tags import find_recordings

    return [recording for recording, _ in find_recordings([path])]
