"""Read and check every recording of a DCASE folder once; keep an index and log-mel spectrograms for later stages."""

import argparse
import sys

from echobank.cli.options import add_config, read_config, report_skipped
from echobank.cli.progress import bar
from echobank.pipeline.preprocess import preprocess
from echobank.pipeline.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank preprocess`."""
    parser.add_argument("--dcase_root", metavar="ROOT", help="folder of the recordings (data.root)")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Preprocess and say what was heard."""
    extra = [f"data.root={args.dcase_root!r}"] if args.dcase_root else []
    result = preprocess(Run(read_config(args, extra), bar))
    print(f"{result.clips} recordings, {result.hours:.2f} hours")
    for flag, count in result.flags.items():
        print(f"  {count} {flag}")
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"wrote {result.folder}")
    return report_skipped(result.skipped)
