"""Learn what a machine of your own sounds like from a folder of healthy recordings; write its memory bank."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.cli.own import add_far, add_tags, machine_name, seconds, tagging
from echobank.cli.progress import bar

if TYPE_CHECKING:
    from echobank.machines.harvest import Harvest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank fit`."""
    parser.add_argument("healthy", metavar="HEALTHY", nargs="+", help="folders or files of healthy recordings")
    parser.add_argument(
        "--machine", metavar="NAME", type=machine_name, required=True, help="name of the machine, for example pump7"
    )
    parser.add_argument("--out", metavar="DIR", default="banks", help="folder of banks (default: banks)")
    parser.add_argument(
        "--window", metavar="TIME", type=seconds, default=10.0, help="length of a window (default: 10s)"
    )
    parser.add_argument(
        "--hop", metavar="TIME", type=seconds, help="step from window to window (default: half a window)"
    )
    add_tags(parser)
    add_far(parser)
    parser.add_argument("--config", metavar="FILE", help="settings; model.*, scoring.*, data.channel, weights.* apply")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override one setting")
    parser.add_argument("--weights", metavar="FILE", help="encoder weights")


def run(args: argparse.Namespace) -> int:
    """Fit, and say what was heard."""
    from echobank.cli.options import report_skipped, settled
    from echobank.machines import archive
    from echobank.machines.fit import FitSettings, fit_machine, machine_config
    from echobank.machines.gain import describe_shift
    from echobank.machines.health import describe_health, health

    overrides = [*args.set, *([f"weights.path={args.weights!r}"] if args.weights else [])]
    config = settled(machine_config(args.config, overrides))
    hop = args.hop or args.window / 2
    wanted = FitSettings(args.machine, args.window, hop, tagging(args.tags), args.far)
    machine, harvest = fit_machine(config, args.healthy, wanted, bar)
    path = Path(args.out) / args.machine
    before = _levels_before(path)
    bank = archive.put(path, machine.bank, "fit", recordings=len(harvest.heard))
    for line in [*describe_harvest(harvest), *describe_health(health(machine.bank))]:
        print(line)
    for notice in machine.notices:
        print(notice, file=sys.stderr)
    if said := describe_shift(before, [item.level_dbfs for item in harvest.heard]):
        print(f"level, compared with the bank that was replaced: {said}")
    print(f"wrote {archive.bank_file(path)}")
    if archive.revision_of(bank) > 1:
        print(f"to restore the bank that was there: echobank bank undo {path}")
    return report_skipped(harvest.skipped)


def _levels_before(path: Path) -> list[float]:
    """Return the levels of the recordings of the bank that is replaced; none where there is none, or it is damaged."""
    from echobank.detection.bank import load_bank
    from echobank.errors import BankError
    from echobank.machines.archive import bank_file
    from echobank.machines.gain import levels_of

    try:
        return [float(level) for level in levels_of(load_bank(bank_file(path)))]
    except BankError:
        return []


def describe_harvest(harvest: "Harvest") -> list[str]:
    """Return what was heard, one sentence per line."""
    from echobank.machines.health import counted

    heard = harvest.heard
    rates = Counter(item.source_rate for item in heard)
    levels = sorted(item.level_dbfs for item in heard)
    flags = Counter(flag for item in heard for flag in item.flags)
    hours = sum(item.seconds for item in heard) / 3600
    lines = [
        f"heard {counted(len(heard), 'recording')}, {hours:.2f} h, at "
        + ", ".join(f"{rate} Hz" for rate, _ in rates.most_common()),
        f"level {levels[0]:.1f} to {levels[-1]:.1f} dBFS, median {levels[len(levels) // 2]:.1f}",
    ]
    if len(rates) > 1:
        lines.append("the rates differ: recordings of different rates may differ in sound for that reason alone")
    lines += [f"{flag} in part or whole: {counted(n, 'recording')}" for flag, n in sorted(flags.items())]
    lines += [f"the same recording twice: {name} and {first}" for name, first in harvest.duplicates[:10]]
    if len(harvest.duplicates) > 10:
        lines.append(f"... and {len(harvest.duplicates) - 10} more copies, each remembered once")
    return lines
