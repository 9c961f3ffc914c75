"""`echobank fleet fit` and `echobank fleet score`: a bank per machine from a dataset, and verdicts by them."""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from echobank.cli.own import add_far, add_tags, tagging
from echobank.errors import EXIT_ANOMALIES, EXIT_OK, EXIT_SKIPPED, InputError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from echobank.cli.fleet import PoolOf
    from echobank.fleet.dataset import MadeBy, VectorDataset
    from echobank.fleet.scoring import Standing

_DAYS = 31  # days per task of scoring
_SHOWN = 20  # machines that are printed


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fleet fit`."""
    _add_dataset(parser)
    parser.add_argument("--out", metavar="BANKS", default="banks", help="folder or s3:// of banks (default: banks)")
    add_tags(parser)
    add_far(parser)
    parser.add_argument("--config", metavar="FILE", help="settings; scoring.* and model.k apply")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override one setting")


def add_score(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fleet score`."""
    _add_dataset(parser)
    parser.add_argument("--banks", metavar="BANKS", default="banks", help="folder or s3:// of banks (default: banks)")
    parser.add_argument("--out", metavar="VERDICTS", required=True, help="folder or s3:// of verdicts and the summary")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="feed the database of echobank serve: sqlite:///DIR/echobank.db or postgresql://...",
    )
    add_far(parser)


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="folder or s3:// of embeddings")
    parser.add_argument(
        "--key", metavar="KEY", default="", help="which embeddings, where the dataset holds several kinds"
    )
    parser.add_argument("--machines", metavar="NAME", nargs="+", default=[], help="only these machines")
    parser.add_argument("--days", metavar="FROM..TO", default="", help="only these days, for example 2026-03-01..")


def fit(args: argparse.Namespace, pool_of: "PoolOf") -> int:
    """Fit a bank per machine; one that cannot be fitted is a line, and the others are still processed."""
    from functools import partial

    from echobank.fleet.cluster import Lost
    from echobank.fleet.fitting import FitTask, FitWorker, FleetFitSettings, fit_config, overrides_of
    from echobank.fleet.location import Location
    from echobank.machines.fit import machine_config

    dataset, made = _opened(args)
    config = fit_config(machine_config(args.config, (*overrides_of(made), *args.set)), made)
    banks = Location(args.out)
    settings = FleetFitSettings(config, dataset.at, made, banks, tagging(args.tags or ["none"]), args.far)
    tasks = [FitTask(machine, tuple(days)) for machine, days in _wanted(args, dataset, made)]
    fitted = rows = failed = skipped = 0
    with pool_of(partial(FitWorker, settings), args) as pool:
        for task, done in pool.map(iter(tasks)):
            if isinstance(done, Lost) or done.error:
                failed += 1
                reason = done.reason if isinstance(done, Lost) else done.error
                print(f"skipped: {task.machine}: {reason}", file=sys.stderr)
                continue
            fitted, rows = fitted + done.fresh, rows + done.rows
            skipped += len(done.skipped)
            for count, reason, _ in done.skipped:
                print(f"skipped: {task.machine}: {count} recordings: {reason}", file=sys.stderr)
    kept = len(tasks) - failed - fitted
    print(f"{fitted} banks written to {args.out}, {kept} of the same embeddings kept, {rows} rows; {failed} failed")
    return EXIT_SKIPPED if failed or skipped else EXIT_OK


def score(args: argparse.Namespace, pool_of: "PoolOf") -> int:
    """Score machines, and say which are worst."""
    from functools import partial

    from echobank.fleet.cluster import Lost
    from echobank.fleet.location import Location
    from echobank.fleet.scoring import FleetScoreSettings, ScoreTask, ScoreWorker, Standing
    from echobank.fleet.summary import FILE, worst_first, write_summary

    dataset, made = _opened(args)
    database = _database(args.database) if args.database else None  # now, not after hours of work
    out = Location(args.out)
    settings = FleetScoreSettings(dataset.at, made, Location(args.banks), out, args.far)
    standings: dict[str, Standing] = {}
    fresh = 0
    with pool_of(partial(ScoreWorker, settings), args) as pool:
        parts = (
            ScoreTask(machine, tuple(days[begin : begin + _DAYS]))
            for machine, days in _wanted(args, dataset, made)
            for begin in range(0, len(days), _DAYS)
        )
        for task, done in pool.map(parts):
            one = Standing(task.machine, error=done.reason) if isinstance(done, Lost) else done.standing
            fresh += 0 if isinstance(done, Lost) else done.fresh
            before = standings.get(task.machine)
            standings[task.machine] = before + one if before else one
    write_summary(out, standings.values())
    _say(worst_first(standings.values()))
    if database is not None:
        new = _feed(database, args, dataset, made, {one.machine for one in standings.values() if not one.error})
        print(f"{new} windows new in the database", file=sys.stderr)
    print(f"{fresh} files of verdicts written; summary {out.show(FILE)}", file=sys.stderr)
    if any(one.anomalous_windows for one in standings.values()):
        return EXIT_ANOMALIES
    return EXIT_SKIPPED if any(one.error or one.errors for one in standings.values()) else EXIT_OK


def _database(url: str) -> "Engine":
    """Open the database of the service.

    Raises:
        ConfigError: A library of the service is not installed, or no such kind of database.
        InputError: It cannot be used.
    """
    from echobank.cli.serve import require_libraries

    require_libraries("--database", ("sqlalchemy", "alembic"))
    from echobank.serve.database import open_database

    return open_database(url)


def _feed(
    engine: "Engine", args: argparse.Namespace, dataset: "VectorDataset", made: "MadeBy", scored: "set[str]"
) -> int:
    """Feed the database with the verdicts of the machines that were scored; return how many windows were new."""
    from echobank.fleet.bank_cache import BankCache
    from echobank.fleet.location import Location
    from echobank.serve.fleet_feed import FleetFeed
    from echobank.serve.writer import Writer

    banks = BankCache(Location(args.banks), made.provenance, args.far, most=1)
    writer = Writer(engine)
    try:
        feed = FleetFeed(writer, str(engine.url), dataset, made, Location(args.out))
        wanted = [(machine, days) for machine, days in _wanted(args, dataset, made) if machine in scored]
        return sum(feed.take(banks.get(machine).machine, machine, days) for machine, days in wanted)
    finally:
        writer.close()
        engine.dispose()


def _say(standings: "list[Standing]") -> None:
    print("machine,recordings,windows,anomalous_recordings,anomalous_windows,worst_score,threshold,worst_file")
    for one in standings[:_SHOWN]:
        numbers = (one.recordings, one.windows, one.anomalous_recordings, one.anomalous_windows)
        worst = "" if one.worst_score is None else f"{one.worst_score:.4g},{one.threshold:.4g},{one.worst_file}"
        print(",".join([one.machine, *map(str, numbers), worst]))
    if len(standings) > _SHOWN:
        print(f"... and {len(standings) - _SHOWN} more machines, all in the summary")
    for one in standings:
        if one.error:
            print(f"skipped: {one.machine}: {one.error}", file=sys.stderr)
    errors = sum(one.errors for one in standings)
    if errors:
        print(f"{errors} recordings could not be scored", file=sys.stderr)


def _opened(args: argparse.Namespace) -> "tuple[VectorDataset, MadeBy]":
    from echobank.fleet.dataset import VectorDataset
    from echobank.fleet.location import Location

    dataset = VectorDataset(Location(args.dataset))
    return dataset, dataset.only(args.key)


def _wanted(args: argparse.Namespace, dataset: "VectorDataset", made: "MadeBy") -> Iterator[tuple[str, list[str]]]:
    """Yield machines and their days, as far as they are asked for.

    Raises:
        InputError: A machine that is asked for is not there, or nothing is left.
    """
    there = dataset.machines(made.key)
    if missing := sorted(set(args.machines) - set(there)):
        raise InputError("the dataset has no such machine", value=", ".join(missing), where=args.dataset)
    begin, dots, end = args.days.partition("..")
    end = end if dots else begin
    found = 0
    for machine in args.machines or there:
        days = [day for day in dataset.days(made.key, machine) if begin <= day and (not end or day <= end)]
        if days:
            found += 1
            yield machine, days
    if not found:
        raise InputError("no embeddings of these days", value=args.days or "any", where=args.dataset)
