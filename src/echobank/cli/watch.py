"""Score recordings of a machine as they land in a folder; open and close events; send them to sinks."""

import argparse
from pathlib import Path

from echobank.cli.own import add_bank, add_trend, open_bank, seconds, with_facts
from echobank.cli.watching import add_watching, run_watches, settings_of, sinks_of, try_sinks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank watch`."""
    add_bank(parser)
    parser.add_argument("folder", metavar="FOLDER", help="folder where recordings land, including sub-folders")
    parser.add_argument("--state", metavar="DIR", help="journal and cursors (default: beside the bank, in watch/)")
    parser.add_argument(
        "--settle", metavar="TIME", type=seconds, default=2.0, help="how long a file must stay unchanged (default: 2s)"
    )
    parser.add_argument("--only-new", action="store_true", help="leave out what is there at the first start")
    parser.add_argument("--once", action="store_true", help="stop when nothing is left to do")
    add_trend(parser)
    add_watching(parser, poll=1.0)


def run(args: argparse.Namespace) -> int:
    """Watch until interrupted."""
    from echobank.machines.archive import bank_file
    from echobank.watch.engine import Watch
    from echobank.watch.feeds.folder_feed import FolderFeed

    machine = open_bank(args)
    state = Path(args.state) if args.state else bank_file(args.bank).parent / "watch"
    settings, sinks = settings_of(args, only_new=args.only_new), sinks_of(args, machine.name)
    if args.test_alarm:
        return try_sinks(sinks, machine.name)
    feed = FolderFeed(Path(args.folder), args.settle)
    machine, trend = with_facts(machine, args.trend), Path(args.trend) if args.trend else None
    watch = Watch(machine, Path(args.bank), feed, state, sinks, settings, rate=args.far, trend=trend)
    run_watches([watch], args.poll, until_done=args.once)
    return 0
