"""Write a synthetic data set in the layout of DCASE 2025 Task 2, for the demo and for tests.

Small physical models stand in for machines: scores on them mean nothing about real machines.
"""

import argparse
import dataclasses

from echobank.cli.progress import bar
from echobank.data.synthesis.machine_types import MACHINES
from echobank.data.synthesis.synthetic_set import NOTICE, SCALES, synthesise

_COUNTS = {
    "source": "healthy training clips of the source domain",
    "target": "healthy training clips of the target domain",
    "test": "test clips of each domain, normal and anomalous each",
    "supplemental": "clips of the machine alone or of noise alone",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank synth`."""
    parser.add_argument("--out", metavar="FOLDER", default="demo/data", help="output folder (%(default)s)")
    parser.add_argument("--machines", metavar="NAME", nargs="+", default=list(MACHINES), help=", ".join(MACHINES))
    parser.add_argument(
        "--scale",
        choices=list(SCALES),
        default="small",
        help="full is the size of DCASE: 990 + 10 and 200 clips per machine",
    )
    small, full = SCALES["small"], SCALES["full"]
    for name, text in _COUNTS.items():
        option = f"--{name}" if name not in ("source", "target") else f"--train-{name}"
        counts = f"{getattr(small, name)} or {getattr(full, name)}"
        parser.add_argument(option, metavar="N", type=int, dest=name, help=f"{text} per machine ({counts})")
    parser.add_argument(
        "--seconds", metavar="SECONDS", type=float, help=f"length of a clip ({small.seconds:g} or {full.seconds:g})"
    )
    parser.add_argument(
        "--channels", type=int, metavar="N", help="2: a near and a far microphone with shared noise (1)"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="another seed makes other individuals (0)")
    parser.add_argument("--workers", metavar="N", type=int, default=0, help="processes; 0: one per core (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the data set and say where it is."""
    names = (*_COUNTS, "seconds", "seed", "channels")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    settings = dataclasses.replace(SCALES[args.scale], **given)
    result = synthesise(args.out, args.machines, settings, args.workers, bar)
    kept = f", {result.kept} already there" if result.kept else ""
    print(f"{result.written} clips made{kept}\n{NOTICE}\nwrote {result.root}")
    return 0
