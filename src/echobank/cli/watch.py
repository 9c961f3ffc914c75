"""Score recordings of a machine as they land in a folder; open and close events; tell sinks about them."""

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.cli.own import add_bank, add_far, open_bank, seconds, seconds_from_zero
from echobank.errors import ConfigError

if TYPE_CHECKING:
    from echobank.watch.sinks.sink import Sink


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank watch`."""
    add_bank(parser)
    parser.add_argument("folder", metavar="FOLDER", help="where recordings land; sub-folders count")
    parser.add_argument("--state", metavar="DIR", help="journal and cursors (default: beside the bank, in watch/)")
    parser.add_argument("--k-of-n", type=k_of_n, default=(3, 5), metavar="K/N", help="windows that open (default: 3/5)")
    parser.add_argument("--hysteresis", type=float, default=0.3, help="0 closes at the threshold, 1 at the median")
    parser.add_argument("--settle", type=seconds, default=2.0, help="a file must stay the same so long (default: 2s)")
    parser.add_argument("--poll", type=seconds, default=1.0, help="time between two looks (default: 1s)")
    parser.add_argument(
        "--heartbeat", type=seconds_from_zero, default=60.0, help="time of a sign of life, 0 for none (default: 1min)"
    )
    parser.add_argument("--only-new", action="store_true", help="leave out what lies there at the first start")
    parser.add_argument("--once", action="store_true", help="stop when nothing is left to do")
    parser.add_argument("--quiet", action="store_true", help="no JSON lines on standard output")
    parser.add_argument("--csv", metavar="FILE", action="append", default=[], help="append every window and event")
    parser.add_argument("--webhook", metavar="URL", action="append", default=[], help="POST every event as JSON")
    parser.add_argument("--mqtt", metavar="URL", action="append", default=[], help="mqtt://host:1883/topic")
    parser.add_argument("--every-window", action="store_true", help="send scores to webhook and MQTT too")
    add_far(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until interrupted."""
    from echobank.machines.archive import bank_file
    from echobank.watch.engine import Watch, WatchSettings
    from echobank.watch.feeds.folder_feed import FolderFeed

    machine = open_bank(args)
    state = Path(args.state) if args.state else bank_file(args.bank).parent / "watch"
    settings = WatchSettings(
        k=args.k_of_n[0],
        n=args.k_of_n[1],
        hysteresis=args.hysteresis,
        heartbeat=args.heartbeat,
        only_new=args.only_new,
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    feed = FolderFeed(Path(args.folder), args.settle)
    watch = Watch(machine, Path(args.bank), feed, state, _sinks(args, machine.name), settings, rate=args.far)
    print(watch.summary, file=sys.stderr)
    said: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    try:
        while not stop.is_set():
            done = watch.step(stop.is_set)
            said = _complain(watch.troubles, said)
            if feed.left_out != left_out:
                left_out = feed.left_out
                print(*(f"echobank: {line}" for line in left_out), sep="\n", file=sys.stderr)
            if not done:
                if args.once and watch.idle:
                    break
                stop.wait(max(args.poll, watch.rest))
    finally:
        watch.close()
    print(f"stopped; {watch.summary}", file=sys.stderr)
    return 0


def k_of_n(text: str) -> tuple[int, int]:
    """Return (k, n) of a text such as 3/5."""
    k, slash, n = text.partition("/")
    if not (slash and k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise argparse.ArgumentTypeError(f"not k of n: {text!r}; write 3/5")
    return int(k), int(n)


def _sinks(args: argparse.Namespace, machine: str) -> "list[Sink]":
    from echobank.cli.outputs import check_growing
    from echobank.watch.sinks.csv_file import CSV_COLUMNS, CsvSink
    from echobank.watch.sinks.lines import LineSink
    from echobank.watch.sinks.mqtt import MqttSink
    from echobank.watch.sinks.sink import EVENTS, ROWS
    from echobank.watch.sinks.webhook import WebhookSink

    kinds = EVENTS | ROWS if args.every_window else EVENTS
    sinks: list[Sink] = [] if args.quiet else [LineSink()]
    sinks += [CsvSink(check_growing(path, CSV_COLUMNS, "--csv")) for path in args.csv]
    sinks += [WebhookSink(url, kinds) for url in args.webhook]
    sinks += [MqttSink(url, machine, kinds) for url in args.mqtt]
    names = [sink.name for sink in sinks]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError("a place is named twice", value=sorted(twice)[0])
    return sinks


def _complain(now: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """Print troubles that are new, and that they are over."""
    for trouble in now:
        if trouble not in before:
            print(f"echobank: {trouble}", file=sys.stderr)
    if before and not now:
        print("echobank: all is well again", file=sys.stderr)
    return now
