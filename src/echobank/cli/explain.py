"""Say why a recording got its score: which seconds, which band in Hz, how many dB, and what is nearest."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echobank.cli.own import add_bank, add_far, add_without_level, open_bank, seconds_from_zero
from echobank.names import to_json

if TYPE_CHECKING:
    from echobank.machines.explain import Explanation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank explain`."""
    add_bank(parser)
    parser.add_argument("file", metavar="FILE", help="the recording")
    parser.add_argument(
        "--at", metavar="SECONDS", type=seconds_from_zero, help="start of the window (default: the worst window)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
    parser.add_argument("--report", metavar="PAGE", help="also write a page for people: one HTML file")
    add_far(parser)
    add_without_level(parser)


def run(args: argparse.Namespace) -> int:
    """Explain."""
    from echobank.cli.outputs import PAGE, check_output
    from echobank.machines.archive import bank_file
    from echobank.machines.explain import explain
    from echobank.machines.page import digest_of, write_page

    if args.report:
        check_output(args.report, PAGE, "--report", [args.file, bank_file(args.bank), args.weights])
    machine = open_bank(args)
    explanation = explain(machine, args.file, args.at)
    if args.json:
        print(to_json(as_plain(explanation)))
    else:
        print("\n".join(explanation.sentences))
    if args.report:
        asked = explanation if args.at is not None else None
        write_page(args.report, machine, digest_of(machine, [Path(args.file)]), asked)
        print(f"wrote {args.report}", file=sys.stderr)
    return 0


def as_plain(it: "Explanation") -> dict[str, Any]:
    """Return an explanation as plain values; times are from the beginning of the recording, seconds."""
    from echobank.machines.verdict import plain

    start = it.verdict.start or 0.0
    regions = [
        {
            "start": round(start + finding.region.start, 3),
            "end": round(start + finding.region.end, 3),
            "low_hz": round(finding.region.low_hz, 1),
            "high_hz": round(finding.region.high_hz, 1),
            "excess_db": round(finding.region.excess_db, 1),
            "score_without": finding.score_without,
            **({} if finding.p_value is None else {"p_value": finding.p_value}),  # louder than the rest of the window
        }
        for finding in it.findings
    ]
    facts: dict[str, Any] = {"threshold": it.threshold, "level_db": round(it.level_db, 1)}
    if it.quantities:
        facts["quantities"] = [
            {"name": one.name, "unit": one.unit, "value": one.value, "low": one.low, "high": one.high}
            for one in it.quantities
        ]
    facts |= {"impulses": _impulses(it, start)} if it.impulses else {}
    return {**plain(it.verdict), **facts, "regions": regions, "sentences": list(it.sentences)}


def _impulses(it: "Explanation", start: float) -> dict[str, Any]:
    train = it.impulses
    assert train is not None
    return {
        "count": train.count,
        "times": [round(start + time, 3) for time in train.times],
        "rate_hz": train.rate_hz,
        "low_hz": train.low_hz,
        "high_hz": train.high_hz,
        "db": round(train.height, 1),
        "kurtosis": round(train.kurtosis, 2),
        "p_value": it.impulses_p_value,
    }
