"""What `echobank bank` takes from a trend: clips that were heard, and a slow refresh."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.machines import archive

if TYPE_CHECKING:
    from echobank.detection.bank import Bank
    from echobank.machines.checkup.checkup import Checkup
    from echobank.machines.checkup.next_recordings import Suggestion
    from echobank.machines.trend.reservoir import Sampled


def add_refresh(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bank refresh`."""
    parser.add_argument(
        "--policy",
        required=True,
        metavar="TEXT",
        help="default, or hold_back=45,most=2%%,settled=2026-01-31: days that are held back, share of the rows in 30 "
        "days, and until when changes were looked at and are no fault",
    )
    parser.add_argument("--from-trend", metavar="DIR", help="folder of the trend (default: beside the bank)")
    parser.add_argument("--apply", action="store_true", help="change the bank; `bank undo` takes it back")


def add_from_trend(args: argparse.Namespace, bank: "Bank") -> "Bank":
    """Take the clips that a checkup would list as healthy, and return the bank after it."""
    from echobank.machines import curate
    from echobank.machines.checkup.next_recordings import harvest_of

    chosen = next_of(bank, *_trend(bank, Path(args.from_trend)), args.count)
    if not chosen:
        print("no clip qualifies: none is both certainly healthy and new", file=sys.stderr)
        return bank
    for one in chosen:
        print(f"{one.sampled.window.file}, {one.at}, {one.state}")
    harvest = harvest_of(bank, chosen, by="trend")
    files = [row.file for row in harvest.rows]
    return archive.change(args.bank, lambda old: curate.add(old, harvest), "add", files=files[:100])


def refresh_from_trend(args: argparse.Namespace, bank: "Bank") -> "Bank":
    """Print a plan, carry it out where that is asked for, and return the bank after it."""
    from echobank.machines.checkup.refresh import parse_policy, plan_refresh, refreshed
    from echobank.moments import now_ms

    policy = parse_policy(args.policy)
    folder = Path(args.from_trend) if args.from_trend else archive.bank_file(args.bank).parent / "trend"
    sample, checkup = _trend(bank, folder)
    plan = plan_refresh(bank, sample, checkup, policy, now_ms())
    for one in plan.additions:
        print(f"+ {one.sampled.window.file}, {one.at}, {one.state}")
    for file in plan.removals:
        print(f"- {file}")
    for line in plan.report:
        print(line)
    if not args.apply:
        if plan.additions or plan.removals:
            print("this is a proposal; --apply changes the bank")
        return bank
    return archive.change(args.bank, lambda old: refreshed(old, plan), "refresh", policy=args.policy)


def next_of(bank: "Bank", sample: "list[Sampled]", checkup: "Checkup", count: int) -> "list[Suggestion]":
    """Return the clips to listen to next; none that was heard after a change that nobody explained."""
    from echobank.machines.checkup.finding import WARNING
    from echobank.machines.checkup.next_recordings import suggest, surely_healthy

    changes = [it.low for it in checkup.findings if it.found is not None and it.low is not None and it.level == WARNING]
    return suggest(bank, surely_healthy(bank, sample, min(changes, default=None)), count)


def _trend(bank: "Bank", folder: Path) -> "tuple[list[Sampled], Checkup]":
    from echobank.machines.checkup.checkup import check_up
    from echobank.machines.checkup.history import history_in
    from echobank.machines.trend.reservoir import read_reservoir
    from echobank.moments import now_ms

    sample = read_reservoir(folder / "sample")
    return sample, check_up(bank, history_in(folder), now=now_ms(), sample=sample)
