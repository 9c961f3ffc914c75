"""Acknowledge the sound of an event: it does not alarm again for a time, or until it changes; it is never learnt.

The watch or listener may be running. For good: echobank bank add BANK FILE --as nuisance NAME
"""

import argparse
import sys
from pathlib import Path

from echobank.cli.own import seconds
from echobank.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank mute`."""
    parser.add_argument("bank", metavar="BANK", help="folder or file of the bank")
    parser.add_argument("event", metavar="EVENT", help="id of the event, or its first characters")
    parser.add_argument("--state", metavar="DIR", help="of the watch (default: listen/ or watch/ beside the bank)")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--for", dest="duration", type=seconds, metavar="TIME", help="for this long, for example 2h")
    how.add_argument("--until-changed", action="store_true", help="until the sound changes")


def run(args: argparse.Namespace) -> int:
    """Mute one event."""
    from echobank.machines.archive import bank_file
    from echobank.watch.mutes import mute

    beside = bank_file(args.bank).parent
    states = [Path(args.state)] if args.state else [beside / "listen", beside / "watch"]
    refusals: list[InputError] = []
    for state in states:
        try:
            event = mute(state, args.event, seconds=args.duration)
        except InputError as error:
            refusals.append(error)
        else:
            print(f"muted {event}", file=sys.stderr)
            return 0
    raise next((error for error in refusals if not error.hint.endswith("none")), refusals[0])
