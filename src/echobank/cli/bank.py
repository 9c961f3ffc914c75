"""Look at the bank of a machine and keep it up to date.

actions:
  info       what it holds, what looks wrong, what it can support
  add        take recordings as healthy, for example a false alarm; nothing else is embedded again
  remove     forget recordings, by name, pattern or the start of their hash
  merge      write one bank of several that were made alike
  compact    keep at most --rows windows, now and after later additions
  calibrate  compute the threshold again, for another false-alarm rate with --far
  refresh    propose rows to add and remove so that a bank follows its machine slowly; --apply does it
  diff       how two banks differ
  undo       bring back the state before the last change
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echobank.cli.bank_from_trend import add_from_trend, add_refresh, refresh_from_trend
from echobank.cli.own import add_engine, add_far, add_tags, tagging
from echobank.cli.progress import bar
from echobank.detection.bank import Bank, load_bank
from echobank.errors import InputError
from echobank.machines import archive
from echobank.machines.tags import find_recordings
from echobank.names import to_json

if TYPE_CHECKING:
    from echobank.machines.harvest import Harvest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `echobank bank`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, work in _ACTIONS.items():
        action = actions.add_parser(name, description=work.__doc__, help=(work.__doc__ or "").partition(".")[0].lower())
        action.add_argument("bank", metavar="BANK", help="folder or file of the bank")
        action.set_defaults(work=work)
        if name in ("info", "diff"):
            action.add_argument("--json", action="store_true", help="one JSON object instead of sentences")
        if name == "info":
            action.add_argument("--rows", action="store_true", help="list every window and where it came from")
            action.add_argument("--log", action="store_true", help="list every change")
        if name == "add":
            action.add_argument("files", metavar="FILE", nargs="*", help="healthy recordings, or folders of them")
            action.add_argument("--from-trend", metavar="DIR", help="take what `echobank checkup --next` lists")
            action.add_argument("--count", type=int, default=10, metavar="N", help="with --from-trend (default: 10)")
            add_tags(action)
            add_engine(action)
            action.add_argument(
                "--as",
                dest="kind",
                nargs=2,
                metavar=("nuisance", "NAME"),
                help="sounds that must not alarm",
            )
        if name == "refresh":
            add_refresh(action)
        if name == "remove":
            action.add_argument("patterns", metavar="NAME", nargs="+", help="name, pattern such as '2024-*', or hash")
        if name == "merge":
            action.add_argument("others", metavar="BANK", nargs="+", help="banks whose rows are added to the first")
            action.add_argument("--out", metavar="BANK", required=True, help="where the merged bank goes")
        if name == "compact":
            action.add_argument("--rows", metavar="N", type=int, required=True, help="windows to keep")
        if name == "calibrate":
            add_far(action)
        if name == "diff":
            action.add_argument("other", metavar="BANK", help="the bank to compare with")


def run(args: argparse.Namespace) -> int:
    """Do one action."""
    work: Callable[[argparse.Namespace], int] = args.work
    return work(args)


def info(args: argparse.Namespace) -> int:
    """Say what a bank holds, what looks wrong, and what it can support."""
    from echobank.machines.health import describe_health, health
    from echobank.machines.machine import own_machine, provenance_of, window_of

    bank = _load(args.bank)
    if args.json:
        print(to_json(_as_plain(bank, rows=args.rows, log=args.log)))
        return 0
    machine, made = own_machine(bank), provenance_of(bank)
    print(f"{machine.name}, revision {machine.revision}, {archive.bank_file(args.bank)}")
    window = window_of(bank.header)
    print(f"encoder {made.encoder.name}, windows of {window.seconds:g} s every {window.hop:g} s")
    for line in describe_health(health(bank)):
        print(line)
    if args.log:
        for entry in machine.log:
            print(to_json(entry.to_header()))
    if args.rows:
        for row in bank.rows:
            print(f"{row.file}\t{row.start:g}\t{row.domain}\t{row.attributes.get('added', '')}\t{row.sha256[:12]}")
    return 0


def add(args: argparse.Namespace) -> int:
    """Take recordings as healthy. Nothing else is embedded again."""
    if args.from_trend:
        return _take_from_trend(args)
    if not args.files:
        raise InputError("say what to add", hint="recordings, folders, or --from-trend DIR")
    from echobank.cli.options import report_skipped
    from echobank.data.folder import LeftOut
    from echobank.machines import curate
    from echobank.machines.fit import roots_of
    from echobank.machines.harvest import gather
    from echobank.machines.machine import listener_of, own_machine

    bank = _load(args.bank)
    machine = own_machine(bank)
    listener, notices = listener_of(bank, archive.bank_file(args.bank), device=args.device, weights=args.weights)
    for notice in notices:
        print(notice, file=sys.stderr)
    left_out = LeftOut()
    recordings = find_recordings(args.files, left_out)
    harvest = gather(recordings, listener, tagging(args.tags), machine.name, bar, left_out)
    if args.kind:
        return _add_nuisance(args, listener.provenance.to_header(), harvest)
    folders = roots_of(args.files)
    files = sorted({row.file for row in harvest.rows})
    after = archive.change(args.bank, lambda old: curate.add(old, harvest, folders), "add", files=files[:100])
    _say(bank, after)
    return report_skipped(harvest.skipped)


def _take_from_trend(args: argparse.Namespace) -> int:
    if args.files or args.kind or args.tags:
        raise InputError("--from-trend takes no recordings, tags or nuisances", hint="give one or the other")
    before = _load(args.bank)
    _say(before, add_from_trend(args, before))
    return 0


def refresh(args: argparse.Namespace) -> int:
    """Propose which rows to add and remove so that a bank follows its machine slowly; with --apply, do it."""
    before = _load(args.bank)
    after = refresh_from_trend(args, before)
    if args.apply:
        _say(before, after)
    return 0


def _add_nuisance(args: argparse.Namespace, made: dict[str, Any], harvest: "Harvest") -> int:
    from echobank.cli.options import report_skipped
    from echobank.cli.own import machine_name
    from echobank.machines.nuisance import NUISANCES, SUFFIX, Nuisance, save_nuisance

    kind, name = args.kind
    if kind != "nuisance":
        raise InputError("recordings are added as healthy, or as a nuisance", value=kind, hint="--as nuisance NAME")
    try:
        machine_name(name)
    except argparse.ArgumentTypeError as error:
        raise InputError(str(error)) from error
    path = archive.bank_file(args.bank).parent / NUISANCES / f"{name}{SUFFIX}"
    save_nuisance(path, Nuisance(name, harvest.vectors, made))
    print(f"{len(harvest.vectors)} windows are remembered as the nuisance {name}; the bank is unchanged\nwrote {path}")
    return report_skipped(harvest.skipped)


def remove(args: argparse.Namespace) -> int:
    """Forget recordings, by name, pattern or the start of their hash."""
    from echobank.machines import curate

    before = _load(args.bank)
    after = archive.change(
        args.bank, lambda old: curate.remove(old, args.patterns), "remove", patterns=list(args.patterns)
    )
    _say(before, after)
    return 0


def merge(args: argparse.Namespace) -> int:
    """Write one bank of several that were made alike."""
    from echobank.machines import curate

    banks = [_load(path) for path in (args.bank, *args.others)]
    sources = [str(Path(path)) for path in (args.bank, *args.others)]
    after = archive.put(args.out, curate.merge(banks), "merge", banks=sources)
    print(f"{len(after)} windows\nwrote {archive.bank_file(args.out)}")
    return 0


def compact(args: argparse.Namespace) -> int:
    """Keep at most --rows windows, now and after later additions."""
    from echobank.machines import curate

    before = _load(args.bank)
    after = archive.change(args.bank, lambda old: curate.compact(old, args.rows), "compact", limit=args.rows)
    _say(before, after)
    return 0


def calibrate(args: argparse.Namespace) -> int:
    """Compute the threshold again, for another false-alarm rate with --far."""
    from echobank.machines import curate

    before = _load(args.bank)
    after = archive.change(args.bank, lambda old: curate.recalibrate(old, args.far), "calibrate", rate=args.far)
    _say(before, after)
    return 0


def diff(args: argparse.Namespace) -> int:
    """Say how two banks differ."""
    from echobank.machines import curate

    result = curate.difference(_load(args.bank), _load(args.other))
    if args.json:
        print(to_json(dataclasses.asdict(result)))
        return 0
    for sign, files in (("+", result.added), ("-", result.removed)):
        for file in files:
            print(f"{sign} {file}")
    for name, first, second in result.settings:
        print(f"{name}: {first!r} -> {second!r}")
    print(f"threshold: {result.thresholds[0]:.6g} -> {result.thresholds[1]:.6g}")
    return 0


def undo(args: argparse.Namespace) -> int:
    """Bring back the state before the last change."""
    before = _load(args.bank)
    _say(before, archive.undo(args.bank))
    return 0


_ACTIONS = {
    "info": info,
    "add": add,
    "remove": remove,
    "merge": merge,
    "compact": compact,
    "refresh": refresh,
    "calibrate": calibrate,
    "diff": diff,
    "undo": undo,
}


def _load(path: str) -> Bank:
    from echobank.machines.machine import require_own

    file = archive.bank_file(path)
    return require_own(load_bank(file), file)


def _as_plain(bank: Bank, *, rows: bool, log: bool) -> dict[str, Any]:
    """Return what `info` says as plain values."""
    from echobank.machines.health import health
    from echobank.machines.machine import own_machine, provenance_of, window_of

    machine = own_machine(bank)
    facts = {
        "machine": machine.name,
        "revision": machine.revision,
        "encoder": provenance_of(bank).encoder.name,
        "window": dataclasses.asdict(window_of(bank.header)),
        **dataclasses.asdict(health(bank)),
    }
    listed = {"listed": [dataclasses.asdict(row) for row in bank.rows]} if rows else {}
    return {**facts, **listed, **({"log": [entry.to_header() for entry in machine.log]} if log else {})}


def _say(before: Bank, after: Bank) -> None:
    from echobank.machines.health import percent
    from echobank.machines.machine import ZERO_THRESHOLD, rate_and_threshold

    if archive.revision_of(before) == archive.revision_of(after):
        print(f"nothing to change: {len(after)} windows as before (revision {archive.revision_of(after)})")
        return
    (_, old), (rate, new) = rate_and_threshold(before), rate_and_threshold(after)
    print(f"{len(before)} windows before, {len(after)} now (revision {archive.revision_of(after)})")
    print(f"alarm above {old:.4g} before, {new:.4g} now, at a rate of {percent(rate)}")
    if before.header.scoring != after.header.scoring and after.header.scoring:
        scoring = after.header.scoring
        params = "".join(f", {key}={value}" for key, value in scoring.params.items())
        print(f"the remaining rows are now scored differently: by {scoring.backend}{params}")
    if new <= 0:
        print(ZERO_THRESHOLD, file=sys.stderr)
