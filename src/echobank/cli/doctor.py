"""Check what is installed and available, from the versions to the microphones, and score one tiny recording.

One line per part, with what to do where something is missing. The exit code is 3 where something is a problem, else 0:
what is only missing matters to some commands alone. Nothing is downloaded.
"""

import argparse
import dataclasses
import sys

from echobank.cli.outputs import add_json
from echobank.cli.terminal import coloured
from echobank.errors import EXIT_OK, EXIT_SKIPPED
from echobank.names import to_json

_COLOURS = {"ok": "green", "missing": "yellow", "problem": "red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank doctor`."""
    add_json(parser, "one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Look at every part and say what was found."""
    from echobank.cli.checks import PROBLEM, all_checks

    found = []
    for check in all_checks():
        found.append(check)
        if not args.json:
            hint = f"  -> {check.hint}" if check.hint else ""
            print(f"{coloured(f'{check.state:<8}', _COLOURS[check.state])} {check.name:<14} {check.text}{hint}")
            sys.stdout.flush()
    if args.json:
        print(to_json({"checks": [dataclasses.asdict(check) for check in found]}))
    return EXIT_SKIPPED if any(check.state == PROBLEM for check in found) else EXIT_OK
