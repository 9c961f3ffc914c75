"""Decide again on the scores of a run at another false-alarm rate, without fitting or scoring anything.

For each machine it prints the clips n that set the threshold, the rate that was asked for, and where the true rate lies
with nine chances in ten (5th to 95th percentile) for new normal clips like those of the bank. Normal clips of another
operating state than the bank's can raise more alarms than that.
"""

import argparse
from pathlib import Path

from echobank.detection.decision import METHODS
from echobank.errors import EXIT_OK
from echobank.pipeline.decide import decide_again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank decide`."""
    parser.add_argument("--results", metavar="DIR", required=True, help="output.dir of a run, with its banks")
    parser.add_argument("--far", metavar="RATE", type=float, required=True, help="false-alarm rate, for example 0.05")
    parser.add_argument("--method", default="quantile", choices=tuple(METHODS), help="default: quantile, by domain")


def run(args: argparse.Namespace) -> int:
    """Decide again and print the thresholds."""
    for decided in decide_again(Path(args.results), args.method, args.far):
        machine, section = decided.key
        print(f"{machine} section {section}: {decided.called} of {decided.clips} clips called anomalous")
        for t in decided.thresholds:
            domain = t.domain or "all domains"
            span = f"{100 * t.low:.1f} to {100 * t.high:.1f} %"
            print(f"  {domain}: n = {t.n}, asked {100 * t.rate:g} %, true rate {span}, threshold {t.value:.6g}")
    return EXIT_OK
