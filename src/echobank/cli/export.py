"""Write an encoder as one ONNX file with its sidecar, and say how far it is from the original on real recordings."""

import argparse
import warnings
from pathlib import Path

from echobank.cli.progress import bar
from echobank.data.audio import read_clip
from echobank.errors import EXIT_OK
from echobank.machines.tags import find_recordings
from echobank.models.registry import load_encoder
from echobank.models.torch_extra import require_torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank export`."""
    parser.add_argument("encoder", help="a card's name (beats_base) or a BEATs checkpoint")
    parser.add_argument("--out", metavar="DIR", required=True, help="where the .onnx and .json go")
    parser.add_argument("--layer", type=int, help="layer whose tokens come out, from 1 (default: the last)")
    parser.add_argument("--int8", action="store_true", help="8-bit weights: smaller, and less exact")
    parser.add_argument("--weights", metavar="FILE", help="weights file of the encoder")
    parser.add_argument("--check", metavar="PATH", help="a recording or a folder of them to compare both encoders on")


def run(args: argparse.Namespace) -> int:
    """Export, check, and say what was written."""
    require_torch("exporting")
    from echobank.models.beats.onnx_export import compare, export_onnx

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
    return [recording for recording, _ in find_recordings([path])]
