"""Check whether the bank of a machine is still good after weeks and months, since when it is not, and what to do.

It reads what `--trend` of watch, listen or score kept, BANK/trend if nothing else is said, or what a service holds.
"""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from echobank.cli.outputs import add_json
from echobank.cli.trend import add_trend_source, database_of, trend_folder
from echobank.errors import InputError

if TYPE_CHECKING:
    from echobank.machines.checkup.checkup import Checkup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank checkup`."""
    parser.add_argument("bank", metavar="BANK", help="folder or file of the bank, for example banks/pump7")
    add_trend_source(parser)
    parser.add_argument("--report", metavar="PAGE", help="also write a page for people: one HTML file")
    parser.add_argument(
        "--false-alarms",
        type=float,
        default=0.1,
        metavar="N",
        help="most false alarms per year of a healthy machine, on average (default: 0.1)",
    )
    parser.add_argument("--next", type=int, default=0, metavar="N", help="also list N clips to listen to and to add")
    add_json(parser, "one JSON object instead of sentences")


def run(args: argparse.Namespace) -> int:
    """Check, and print what was found."""
    from echobank.cli.outputs import PAGE, check_output
    from echobank.machines.archive import bank_file
    from echobank.machines.checkup.checkup_page import lines_of, write_checkup

    if args.report:
        check_output(args.report, PAGE, "--report", [bank_file(args.bank)])
    checkup = make_checkup(args)
    if args.report:
        write_checkup(args.report, checkup)
        print(f"wrote {args.report}", file=sys.stderr)
    clips = _next(args, checkup) if args.next else []
    if args.json:
        print(json.dumps({**checkup.to_values(), **({"next": clips} if args.next else {})}, ensure_ascii=False))
        return 0
    print("\n".join(lines_of(checkup)))
    if args.next:
        print(f"clips that the bank covers least ({len(clips)}); listen, then `echobank bank add --from-trend DIR`:")
        for clip in clips:
            where = f"{clip['file']} at {clip['start']:g} s, {clip['at']}"
            print(f"  {where}, {clip['state']}, distance {clip['distance']:.2g}")
    return 0


def _next(args: argparse.Namespace, checkup: "Checkup") -> list[dict[str, Any]]:
    """Return the clips to listen to next, as plain values; a service keeps no embeddings to choose from."""
    from echobank.cli.bank_from_trend import next_of
    from echobank.detection.bank import load_bank
    from echobank.machines.archive import bank_file
    from echobank.machines.trend.reservoir import read_reservoir

    if args.data or args.database:
        hint = "use --trend DIR"
        raise InputError("--next chooses from the sample of a trend, which a database does not have", hint=hint)
    sample = read_reservoir(trend_folder(args) / "sample")
    chosen = next_of(load_bank(bank_file(args.bank)), sample, checkup, args.next)
    return [
        {
            "file": one.sampled.window.file,
            "start": one.sampled.window.start or 0.0,
            "at": one.at,
            "state": one.state,
            "distance": one.distance,
        }
        for one in chosen
    ]


def make_checkup(args: argparse.Namespace) -> "Checkup":
    """Return the checkup that the options describe."""
    from echobank.detection.bank import load_bank
    from echobank.machines.archive import bank_file
    from echobank.machines.checkup.checkup import check_up
    from echobank.machines.checkup.history import history_in
    from echobank.machines.machine import own_machine, require_own
    from echobank.machines.trend.reservoir import read_reservoir
    from echobank.moments import now_ms

    file = bank_file(args.bank)
    bank = require_own(load_bank(file), file)
    settings = {"now": now_ms(), "false_alarms": args.false_alarms}
    if url := database_of(args):
        from echobank.serve.trend_source import events_of, history_from, reading

        with reading(url) as connection:
            name = own_machine(bank).name
            return check_up(bank, history_from(connection, name), events=events_of(connection, name), **settings)
    folder = trend_folder(args)
    return check_up(bank, history_in(folder), sample=read_reservoir(folder / "sample"), **settings)
