"""Options and steps that `watch` and `listen` share: the rule, the sinks, and the loop around the engine."""

import argparse
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.cli.own import add_far, seconds, seconds_from_zero
from echobank.errors import EXIT_BAD_INPUT, ConfigError, InputError

_MAIL_PASSWORD = "ECHOBANK_MAIL_PASSWORD"

if TYPE_CHECKING:
    from echobank.watch.engine import Watch, WatchSettings
    from echobank.watch.sinks.sink import Sink


def add_watching(parser: argparse.ArgumentParser, *, poll: float) -> None:
    """Add the options of the rule and of the sinks."""
    parser.add_argument(
        "--k-of-n",
        type=k_of_n,
        default=(3, 5),
        metavar="K/N",
        help="K of N windows above the threshold open an event (default: 3/5)",
    )
    parser.add_argument(
        "--hysteresis",
        metavar="X",
        type=float,
        default=0.3,
        help="score at which an event closes: 0 the threshold, 1 the healthy median (default: %(default)s)",
    )
    parser.add_argument(
        "--poll",
        metavar="TIME",
        type=seconds,
        default=poll,
        help=f"time between two polls (default: {poll:g}s)".replace("%", "%%"),
    )
    parser.add_argument(
        "--heartbeat",
        metavar="TIME",
        type=seconds_from_zero,
        default=60.0,
        help="time between heartbeats, 0 for none (default: 1min)",
    )
    parser.add_argument(
        "--silence-after",
        type=seconds_from_zero,
        default=0.0,
        metavar="TIME",
        help="open an event no_sound when nothing was heard for this long, for example 5min (default: never)",
    )
    parser.add_argument(
        "--schedule",
        action="append",
        default=[],
        metavar="TEXT",
        help='when it alarms, in local time, for example "Mon-Fri 06:00-22:00" (default: always)',
    )
    parser.add_argument("--quiet", action="store_true", help="no JSON lines on standard output")
    parser.add_argument("--csv", metavar="FILE", action="append", default=[], help="append every window and event")
    add_places(parser)
    parser.add_argument(
        "--test-alarm", action="store_true", help="send one message to every sink and report which ones answered"
    )
    parser.add_argument("--every-window", action="store_true", help="send scores to webhook and MQTT too")
    add_far(parser)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options of the places behind a network that messages go to."""
    parser.add_argument("--webhook", metavar="URL", action="append", default=[], help="POST every event as JSON")
    parser.add_argument("--mqtt", metavar="URL", action="append", default=[], help="mqtt://host:1883/topic")
    parser.add_argument("--mqtt-user", metavar="NAME", default="", help="user of the broker")
    parser.add_argument("--mqtt-password-file", metavar="FILE", help="or the variable ECHOBANK_MQTT_PASSWORD")
    parser.add_argument(
        "--mqtt-ca", metavar="FILE", default="", help="certificates of the authority that signed the broker's"
    )
    parser.add_argument("--mqtt-cert", metavar="FILE", default="", help="our own certificate")
    parser.add_argument("--mqtt-key", metavar="FILE", default="", help="its key")
    parser.add_argument(
        "--mqtt-discovery",
        metavar="PREFIX",
        nargs="?",
        const="homeassistant",
        default="",
        help="announce the machine to Home Assistant (default prefix: homeassistant)",
    )
    parser.add_argument("--ntfy", metavar="URL", action="append", default=[], help="https://ntfy.sh/topic")
    parser.add_argument("--ntfy-token-file", metavar="FILE", help="or the variable ECHOBANK_NTFY_TOKEN")
    parser.add_argument("--mail", metavar="URL", action="append", default=[], help="smtp://user@host:587/?to=...")
    parser.add_argument("--mail-password-file", metavar="FILE", help="or the variable ECHOBANK_MAIL_PASSWORD")


def settings_of(args: argparse.Namespace, *, only_new: bool = False) -> "WatchSettings":
    """Return the settings of the options that `add_watching` added."""
    from echobank.watch.engine import WatchSettings
    from echobank.watch.rest import parse_schedule

    return WatchSettings(
        k=args.k_of_n[0],
        n=args.k_of_n[1],
        hysteresis=args.hysteresis,
        heartbeat=args.heartbeat,
        only_new=only_new,
        silence_after=args.silence_after,
        schedule=tuple(span for text in args.schedule for span in parse_schedule(text)),
    )


def sinks_of(args: argparse.Namespace, machine: str) -> "list[Sink]":
    """Return the sinks of one machine.

    Raises:
        ConfigError: An address is impossible, or a place is named twice.
        InputError: A file cannot be appended to.
    """
    from echobank.cli.outputs import check_growing
    from echobank.watch.sinks.csv_file import CSV_COLUMNS, CsvSink
    from echobank.watch.sinks.lines import LineSink

    sinks: list[Sink] = [] if args.quiet else [LineSink()]
    sinks += [CsvSink(check_growing(path, CSV_COLUMNS, "--csv")) for path in args.csv]
    sinks += [make(machine) for make in places_of(args, args.every_window).values()]
    names = [sink.name for sink in sinks]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError("a place is named twice", value=sorted(twice)[0])
    return sinks


def places_of(args: argparse.Namespace, every_window: bool = False) -> "dict[str, Callable[[str], Sink]]":
    """Return what makes the sink of a machine for every place of `add_places`, by a name that gives no secret away.

    Raises:
        ConfigError: A place is named twice.
        InputError: A file with a password cannot be read.
    """
    from echobank.watch.sinks.mail import MailSink
    from echobank.watch.sinks.mqtt import MqttAccess, MqttSink
    from echobank.watch.sinks.ntfy import NtfySink
    from echobank.watch.sinks.sink import EVENTS, ROWS, digest
    from echobank.watch.sinks.webhook import WebhookSink

    kinds = EVENTS | ROWS if every_window else EVENTS
    access = MqttAccess(
        user=args.mqtt_user,
        password=secret(args.mqtt_password_file, "ECHOBANK_MQTT_PASSWORD"),
        ca=args.mqtt_ca,
        certificate=args.mqtt_cert,
        key=args.mqtt_key,
    )
    ntfy, mail = secret(args.ntfy_token_file, "ECHOBANK_NTFY_TOKEN"), secret(args.mail_password_file, _MAIL_PASSWORD)
    mqtt = partial(MqttSink, kinds=kinds, access=access, discovery=args.mqtt_discovery)
    found: list[tuple[str, str, Callable[[str], Sink]]] = [
        *(("webhook", url, lambda _, url=url: WebhookSink(url, kinds)) for url in args.webhook),
        *(("mqtt", url, partial(mqtt, url)) for url in args.mqtt),
        *(("ntfy", url, lambda _, url=url: NtfySink(url, ntfy)) for url in args.ntfy),
        *(("mail", url, lambda _, url=url: MailSink(url, mail)) for url in args.mail),
    ]
    places = {f"{kind}-{digest(url)}": make for kind, url, make in found}
    if len(places) < len(found):
        raise ConfigError("a place is named twice", hint="name it once")
    return places


def try_sinks(sinks: "Sequence[Sink]", machine: str) -> int:
    """Send one message through every sink and say what answered; return 2 when one did not take it."""
    from echobank.watch.events import TrialAlarm
    from echobank.watch.sinks.sink import SinkError

    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    message, failed = TrialAlarm(id=uuid.uuid4().hex, machine=machine, time=now), 0
    for sink in sinks:
        if sink.name.startswith("csv-"):
            print(f"{sink.name}: a table gets no test", file=sys.stderr)
            continue
        try:
            sink.send([message])
            print(f"{sink.name}: taken", file=sys.stderr)
        except SinkError as error:
            failed += 1
            print(f"{sink.name}: {error}", file=sys.stderr)
        finally:
            sink.close()
    if not sinks:
        print("no sink is given", file=sys.stderr)
    return EXIT_BAD_INPUT if failed or not sinks else 0


def secret(file: str | None, variable: str) -> str:
    """Return a password from a file or the environment; every user of the computer can read the command line."""
    if file is None:
        return os.environ.get(variable, "")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the password cannot be read", where=file) from error


def run_watches(watches: "Sequence[Watch]", poll: float, *, until_done: bool) -> None:
    """Run watches until the process is stopped or, with `until_done`, until nothing is left to do.

    Args:
        watches: They take turns.
        poll: Seconds between two polls when there is nothing to do.
        until_done: True stops when every watch is idle.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    said: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    for watch in watches:
        print(watch.summary, file=sys.stderr)
    try:
        while not stop.is_set():
            done = sum([watch.step(stop.is_set) for watch in watches])
            said = _complain(tuple(trouble for watch in watches for trouble in watch.troubles), said)
            lines = tuple(line for watch in watches for line in watch.left_out)
            if lines != left_out:
                left_out = lines
                print(*(f"echobank: {line}" for line in left_out), sep="\n", file=sys.stderr)
            if not done:
                if (until_done or all(watch.ended for watch in watches)) and all(watch.idle for watch in watches):
                    break
                stop.wait(max(poll, *(watch.rest for watch in watches)))
    finally:
        for watch in watches:
            watch.close()
    for watch in watches:
        print(f"stopped; {watch.summary}", file=sys.stderr)


def k_of_n(text: str) -> tuple[int, int]:
    """Return (k, n) of a text such as 3/5."""
    k, slash, n = text.partition("/")
    if not (slash and k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise argparse.ArgumentTypeError(f"not k of n: {text!r}; write 3/5")
    return int(k), int(n)


def _complain(now: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """Print new troubles, and when all of them are over."""
    for trouble in now:
        if trouble not in before:
            print(f"echobank: {trouble}", file=sys.stderr)
    if before and not now:
        print("echobank: all is well again", file=sys.stderr)
    return now
