"""Listen to a machine live: a microphone, standard input, or a network stream; open and close events as `watch` does.

sources:
  -                        raw samples or a WAV stream on standard input
  mic, mic:NAME            a microphone; --list shows them
  rtsp://..., rtsps://...  a camera or another stream; the sound only (needs ffmpeg)
  http://..., https://...  a web stream (needs ffmpeg)

With --source NAME=SOURCE, which may be given several times, BANK is a folder of banks. To record and nothing else:
echobank listen --record DIR --for 1h SOURCE
"""

import argparse
import dataclasses
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.cli.outputs import add_json
from echobank.cli.own import add_engine, add_trend, machine_name, seconds, seconds_from_zero, size, with_facts
from echobank.cli.watching import add_watching, run_watches, settings_of, sinks_of, try_sinks
from echobank.errors import EXIT_BAD_INPUT, ConfigError, InputError

if TYPE_CHECKING:
    from echobank.machines.machine import Machine
    from echobank.watch.clip_keeper import ClipSettings
    from echobank.watch.engine import Watch
    from echobank.watch.feeds.source import SoundSource


_RING_SECONDS = 40.0  # more than what may wait for the encoder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank listen`."""
    parser.add_argument("bank", metavar="BANK", nargs="?", help="bank of the machine, or a folder of banks")
    parser.add_argument("address", metavar="SOURCE", nargs="?", help="where its sound comes from")
    add_engine(parser)
    parser.add_argument(
        "--source",
        metavar="NAME=SOURCE",
        action="append",
        default=[],
        help="a source of one of several machines; repeat for each",
    )
    parser.add_argument("--list", action="store_true", help="list the microphones with their rates")
    add_json(parser, "with --list: one JSON object instead of lines")
    parser.add_argument("--rate", type=int, default=0, metavar="HZ", help="rate of raw samples or of the microphone")
    parser.add_argument("--channels", type=int, default=0, metavar="N", help="number of channels (default: 1)")
    parser.add_argument("--format", default="s16le", help="raw samples: u8, s16le, s24le, s32le, f32le or f64le")
    parser.add_argument("--state", metavar="DIR", help="journal and cursors (default: beside the bank, in listen/)")
    parser.add_argument("--clips", metavar="DIR", help="keep the sound of each event as FLAC")
    parser.add_argument(
        "--before",
        metavar="TIME",
        type=seconds_from_zero,
        default=10.0,
        help="sound kept before an event (default: 10s)",
    )
    parser.add_argument(
        "--after", metavar="TIME", type=seconds_from_zero, default=10.0, help="sound kept after an event (default: 10s)"
    )
    parser.add_argument(
        "--clip-longest", metavar="TIME", type=seconds, default=600.0, help="longest clip (default: 10min)"
    )
    parser.add_argument(
        "--clip-bytes",
        metavar="SIZE",
        type=size,
        default=2 << 30,
        help="size of all clips together (default: 2G; 0: no limit)",
    )
    parser.add_argument(
        "--clip-days", metavar="DAYS", type=float, default=0.0, help="remove clips that are older (default: never)"
    )
    parser.add_argument(
        "--clip-free", metavar="SIZE", type=size, default=1 << 30, help="free disk space to keep (default: 1G)"
    )
    parser.add_argument("--record", metavar="DIR", help="only record, in FLAC files of a minute; needs no bank")
    parser.add_argument(
        "--for", dest="duration", type=seconds, metavar="TIME", help="with --record: length of the recording"
    )
    add_trend(parser)
    add_watching(parser, poll=0.2)


def run(args: argparse.Namespace) -> int:
    """Listen until interrupted, or until standard input ends."""
    if args.list:
        return _list(as_json=args.json)
    if args.record:
        return _record(args)
    if args.bank is None or (args.address is None) == (not args.source):
        raise InputError("say what to listen to", hint="for example: echobank listen banks/pump7 mic")
    if args.test_alarm:
        from echobank.machines.machine import open_machine

        machine = open_machine(args.bank, device=args.device, weights=args.weights)
        return try_sinks(sinks_of(args, machine.name), machine.name)
    sources = _sources(args)
    watches: list[Watch] = []
    try:
        for name, source in sources.items():
            watches.append(_watch(args, name, source, [watch.machine for watch in watches]))
        run_watches(watches, args.poll, until_done=False)
    finally:
        for watch in watches:
            watch.close()
    return EXIT_BAD_INPUT if any(watch.ended and not watch.heard for watch in watches) else 0


def _sources(args: argparse.Namespace) -> "dict[str, SoundSource]":
    """Return the sources by name; the only one without a name has the empty one."""
    from echobank.watch.feeds.addresses import source_at

    named: dict[str, str] = {} if args.source else {"": args.address}
    for text in args.source:
        name, equals, address = text.partition("=")
        if not equals or not address:
            raise ConfigError("not a named source", value=text, hint="write --source pump7=mic")
        if name in named:
            raise ConfigError("a source is named twice", value=name)
        named[machine_name(name)] = address
    if list(named.values()).count("-") > 1:
        raise ConfigError("standard input can be one source only")
    if len(named) > 1 and args.csv:
        raise ConfigError("a table is for one machine", hint="run one `echobank listen` per machine, or use --webhook")
    return {
        name: source_at(address, rate=args.rate, channels=args.channels, kind=args.format)
        for name, address in named.items()
    }


def _watch(args: argparse.Namespace, name: str, source: "SoundSource", others: "list[Machine]") -> "Watch":
    from echobank.machines.archive import bank_file
    from echobank.machines.machine import open_machine
    from echobank.watch.engine import Watch
    from echobank.watch.feeds.stream_feed import StreamFeed

    bank = Path(args.bank) / name if name else Path(args.bank)
    machine = open_machine(bank, device=args.device, weights=args.weights)
    for other in others:
        if other.listener.encoder.facts == machine.listener.encoder.facts:  # one encoder in memory serves them all
            listener = dataclasses.replace(machine.listener, encoder=other.listener.encoder)
            machine = dataclasses.replace(machine, listener=listener)
            break
    state = bank_file(bank).parent / "listen"
    if args.state:
        state = Path(args.state) / name if name else Path(args.state)
    trend = (Path(args.trend) / name if name else Path(args.trend)) if args.trend else None
    machine = with_facts(machine, trend)
    settings, clips = settings_of(args), _clips(args)
    listener = machine.listener
    ring = (args.before + settings.n * listener.hop + listener.seconds + _RING_SECONDS) if clips else _RING_SECONDS
    feed = StreamFeed(name or machine.name, source, listener, ring)
    sinks = sinks_of(args, machine.name)
    return Watch(machine, bank, feed, state, sinks, settings, rate=args.far, clips=clips, trend=trend)


def _clips(args: argparse.Namespace) -> "ClipSettings | None":
    from echobank.watch.clip_keeper import ClipSettings

    if not args.clips:
        return None
    return ClipSettings(
        Path(args.clips),
        before=args.before,
        after=args.after,
        longest=args.clip_longest,
        most_bytes=args.clip_bytes,
        most_days=args.clip_days,
        least_free=args.clip_free,
    )


def _list(*, as_json: bool) -> int:
    from echobank.names import to_json
    from echobank.watch.feeds.microphone import devices

    found = devices()
    for device in () if as_json else found:
        print(f"mic:{device.index}\t{device.name}\t{device.channels} channels\t{device.rate} Hz")
    if as_json:
        print(to_json({"microphones": [dataclasses.asdict(device) for device in found]}))
    elif not found:
        print("no microphone")
    return 0


def _record(args: argparse.Namespace) -> int:
    """Record the only source; without a bank the address stands where the bank would."""
    from echobank.watch.feeds.addresses import source_at
    from echobank.watch.feeds.recorder import record

    texts = args.source or [args.address or args.bank or ""]
    if len(texts) != 1 or not texts[0]:
        raise InputError("record one source", hint="for example: echobank listen --record healthy --for 1h mic")
    name, _, address = texts[0].partition("=") if args.source else ("sound", "", texts[0])
    source = source_at(address, rate=args.rate, channels=args.channels, kind=args.format)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def tell(trouble: str) -> None:
        print(f"echobank: {trouble}; trying again" if trouble else "echobank: all is well again", file=sys.stderr)

    folder = Path(args.record)
    files, seconds = record(source, folder, machine_name(name), seconds=args.duration, stop=stop.is_set, tell=tell)
    print(f"recorded {seconds:.1f} s in {files} files\nwrote {folder}")
    return 0
