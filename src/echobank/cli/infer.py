"""Score the test clips of every machine against its bank and write the CSVs of the challenge."""

import argparse
import sys
from collections import Counter

from echobank.cli.options import add_config, read_config, report_skipped
from echobank.cli.progress import bar
from echobank.pipeline.infer import infer
from echobank.pipeline.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank infer`."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Infer and say what was written."""
    result = infer(Run(read_config(args), bar))
    for notice in result.notices:
        print(notice, file=sys.stderr)
    for machine, count in result.clips.items():
        print(f"{machine}: {count} clips scored")
    for folder, count in Counter(path.parent for path in result.files).items():
        print(f"wrote {count} files into {folder}")
    if result.levels:
        print("wrote the levels of the clips beside them (level_*.csv)")
    return report_skipped(result.skipped)
