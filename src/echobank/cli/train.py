"""Embed the healthy training clips of every machine and write one memory bank per machine and section."""

import argparse
import sys

from echobank.cli.options import add_config, read_config, report_skipped
from echobank.cli.progress import bar
from echobank.pipeline.run import Run
from echobank.pipeline.train import train

_ZERO = "training clips sound exactly alike, and every clip that is not an exact copy of one alarms"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank train`."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Train and say what each bank holds."""
    result = train(Run(read_config(args), bar))
    for notice in result.notices:
        print(notice, file=sys.stderr)
    for bank in result.banks:
        clips = " + ".join(f"{count} {domain}" for domain, count in bank.clips.items())
        print(f"{bank.machine} section {bank.section}: {clips} clips, {bank.augmented} augmented rows")
        if bank.note:
            print(f"  augmentation: {bank.note}")
        for threshold in bank.thresholds:
            if threshold.value <= 0:
                print(f"  the alarm threshold is 0: {_ZERO}", file=sys.stderr)
        print(f"  wrote {bank.path}")
    print(f"wrote {result.record}")
    return report_skipped(result.skipped)
