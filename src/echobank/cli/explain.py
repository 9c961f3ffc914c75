"""Say why a recording got its score: which seconds, which band in Hz, how many dB, and what is nearest."""

import argparse
from pathlib import Path

from echobank.cli.own import add_bank, add_far, open_bank, seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank explain`."""
    add_bank(parser)
    parser.add_argument("file", metavar="FILE", help="the recording")
    parser.add_argument("--at", type=seconds_from_zero, help="where the window begins (default: the worst window)")
    parser.add_argument("--report", metavar="PAGE", help="also write a page for people: one HTML file")
    add_far(parser)


def run(args: argparse.Namespace) -> int:
    """Explain."""
    from echobank.monitoring.explain import explain
    from echobank.monitoring.page import digest_of, write_page

    machine = open_bank(args)
    for sentence in explain(machine, args.file, args.at).sentences:
        print(sentence)
    if args.report:
        write_page(args.report, machine, digest_of(machine, [Path(args.file)]))
        print(f"wrote {args.report}")
    return 0


def seconds_from_zero(text: str) -> float:
    """Return a time in a recording; 0 is one."""
    return 0.0 if text.strip() in ("0", "0s") else seconds(text)
