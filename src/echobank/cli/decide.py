"""Decide again on the scores of a run at another false-alarm rate, without scoring any recording.

For each machine and domain it prints the clips n that set the threshold, the rate that was asked for, and where the
true rate lies with nine chances in ten (5th to 95th percentile) as far as the assumption of the method, printed below,
is true. The domain of a test clip is taken as unknown: it is held against the largest threshold, so that the rate is
not exceeded in any domain. A rate that so few clips cannot support is refused, and nothing is written.

  gamma      percentile of a gamma distribution, as the official baseline of DCASE; promises nothing
  quantile   by domain, from its clips alone; no rate below 1/(n + 1)
  pooled     one for all domains; the rate does not hold in each
  transport  by domain; a domain of a few clips borrows the shape of the largest one's scores

--leave-out state scores each clip of the bank without any recording of its operating state (its attributes), so that
the rate also allows for states that were hardly or never heard. Where the bank was not trained so, that takes seconds
(with min_fusion minutes).
docs/thresholds.md has the rates that were measured.
"""

import argparse
import dataclasses
from pathlib import Path

from echobank.cli.outputs import add_json
from echobank.detection.decision import ASSUMES, METHODS
from echobank.detection.threshold import Threshold
from echobank.errors import EXIT_OK
from echobank.names import to_json
from echobank.pipeline.decide import decide_again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank decide`."""
    parser.add_argument("--results", metavar="DIR", required=True, help="output.dir of a run, with its banks")
    parser.add_argument("--far", metavar="RATE", type=float, required=True, help="false-alarm rate, for example 0.05")
    parser.add_argument(
        "--method", default="quantile", choices=tuple(METHODS), help="how thresholds are found (default: quantile)"
    )
    parser.add_argument(
        "--leave-out",
        default="clip",
        choices=("clip", "state"),
        help="what is left out when a clip of the bank is scored (default: clip)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Decide again and print the thresholds."""
    every = decide_again(Path(args.results), args.method, args.far, args.leave_out)
    if args.json:
        listed = [dataclasses.asdict(decided) for decided in every]
        print(to_json({"method": args.method, "assumes": ASSUMES[args.method], "machines": listed}))
        return EXIT_OK
    for decided in every:
        machine, section = decided.key
        print(f"{machine} section {section}: {decided.called} of {decided.clips} clips called anomalous")
        for threshold in decided.thresholds:
            print(f"  {_line(threshold)}")
    print(f"{args.method} assumes: {ASSUMES[args.method]}")
    return EXIT_OK


def _line(t: Threshold) -> str:
    states = f" in {t.states} states" if t.states else ""
    span = f"{100 * t.low:.1f} to {100 * t.high:.1f} %"
    asked = f"asked {100 * t.rate:g} %, true rate {span}"
    return f"{t.domain or 'all domains'}: n = {t.n}{states}, {asked}, threshold {t.value:.6g}"
