"""Make a small BEATs of your own from bigger or other encoders, on recordings without labels and synthetic machines.

echobank distil --teacher onnx:mn04.onnx soundnet --student beats_tiny --audio recordings/ --out weights/
writes weights/beats_tiny.pt in the official checkpoint format: give it to any command with --set model.embedding=FILE
Run the same command again to continue an interrupted run. On a GPU add --device cuda --workers 16.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.cli.outputs import refuse_overwriting
from echobank.cli.progress import bar
from echobank.errors import EXIT_OK, EXIT_SKIPPED, ConfigError
from echobank.models.torch_extra import require_torch
from echobank.training.distil_settings import STUDENTS, DistilSettings, Weights
from echobank.training.recordings import scan_audio
from echobank.training.streams import StreamSettings

if TYPE_CHECKING:
    from echobank.training.distillation import Distilled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank distil`."""
    loop, stream, weights = DistilSettings(), StreamSettings(), Weights()
    add = parser.add_argument
    add("--teacher", nargs="+", action="extend", required=True, metavar="CARD|onnx:PATH", help="one or more encoders")
    add("--student", metavar="NAME", default=loop.student, help=f"architecture: {', '.join(STUDENTS)} (%(default)s)")
    add("--audio", nargs="+", action="extend", default=[], metavar="DIR", help="folders of recordings of any kind")
    add("--out", required=True, metavar="DIR", help="where checkpoint, card, journal and curves go")
    add("--clips", metavar="N", type=int, default=loop.clips, help="distinct clips that are made (%(default)s)")
    add("--passes", metavar="N", type=float, default=loop.passes, help="passes over all clips (%(default)s)")
    add("--groups", metavar="N", type=int, default=stream.groups, help="machines or places per batch (%(default)s)")
    add("--members", metavar="N", type=int, default=stream.members, help="clips per machine or place (%(default)s)")
    add("--seconds", type=float, nargs=2, default=stream.seconds, metavar=("MIN", "MAX"), help="length of clips (2 3)")
    add(
        "--synthetic",
        metavar="X",
        type=float,
        default=stream.synthetic,
        help="share of synthetic machines (%(default)s)",
    )
    add(
        "--identities",
        metavar="N",
        type=int,
        default=stream.identities,
        help="individuals per type of machine (%(default)s)",
    )
    add("--identity-loss", metavar="X", type=float, default=weights.identity, help="weight, 0 is off (%(default)s)")
    add(
        "--within-loss", metavar="X", type=float, default=weights.within, help="weight of centred targets (%(default)s)"
    )
    add(
        "--learning-rate",
        metavar="X",
        type=float,
        default=loop.learning_rate,
        help="highest learning rate of AdamW (%(default)s)",
    )
    add(
        "--ema",
        metavar="X",
        type=float,
        default=loop.ema,
        help="decay of the running mean that is written (%(default)s)",
    )
    add("--precision", choices=("fp32", "bf16"), default=loop.precision, help="arithmetic (%(default)s)")
    add("--device", metavar="NAME", default="auto", help="auto, cpu or cuda (%(default)s)")
    add("--workers", metavar="N", type=int, default=loop.workers, help="processes that make clips ahead (%(default)s)")
    add("--seed", metavar="N", type=int, default=stream.seed, help="seed of all random numbers (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Distil, and say what came out."""
    refuse_overwriting(Path(args.out) / f"{args.student}.pt", "--out", _teacher_files(args.teacher))
    require_torch("distilling")
    from echobank.training.distillation import distil

    recordings, unusable = scan_audio([Path(folder) for folder in args.audio])
    for line in unusable:
        print(f"skipped: {line}", file=sys.stderr)
    result = distil(recordings, _settings(args), Path(args.out), bar)
    _tell(result)
    return EXIT_SKIPPED if unusable else EXIT_OK


def _teacher_files(teachers: list[str]) -> list[str]:
    """Return what may be files among teachers such as soundnet, onnx:mn04.onnx, tiny.pt and a+b."""
    parts = [part for teacher in teachers for part in (teacher, *teacher.split("+"))]
    return [part.removeprefix("onnx:") for part in parts]


def _settings(args: argparse.Namespace) -> DistilSettings:
    from echobank.models.device import pick_device

    for name in ("clips", "passes", "groups", "members", "identities", "learning_rate"):
        if getattr(args, name) <= 0:
            raise ConfigError(f"--{name.replace('_', '-')} must be above 0", value=getattr(args, name))
    shortest, longest = args.seconds
    if not 1.0 <= shortest <= longest:
        raise ConfigError("--seconds must be two lengths of 1 s or more, the shorter first", value=args.seconds)
    stream = StreamSettings(
        groups=args.groups,
        members=args.members,
        seconds=(shortest, longest),
        synthetic=args.synthetic,
        identities=args.identities,
        seed=args.seed,
    )
    return DistilSettings(
        student=args.student,
        teachers=tuple(args.teacher),
        clips=args.clips,
        passes=args.passes,
        learning_rate=args.learning_rate,
        ema=args.ema,
        precision=args.precision,
        workers=args.workers,
        device=str(pick_device(args.device)),
        weights=Weights(within=args.within_loss, identity=args.identity_loss),
        stream=stream,
    )


def _tell(result: "Distilled") -> None:
    print(f"{result.parameters / 1e6:.2f} M parameters, {result.journal.step} steps in {result.journal.seconds:.0f} s")
    print(f"{'target':<36} explained  within a machine")
    for name, overall, within in result.explained:
        print(f"{name:<36} {overall:9.1%}  {within:16.1%}")
    for path in (result.path, *result.files):
        print(f"wrote {path}")
