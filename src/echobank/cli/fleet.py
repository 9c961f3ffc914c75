"""Many machines on Ray: embed recordings by machine and day, fit a bank per machine, score, and say which are worst.

embed SRC --out DATASET     recordings to a Parquet dataset of embeddings; only what is new
fit DATASET --out BANKS     a bank per machine, the same as `echobank fit` makes
score DATASET --banks BANKS --out VERDICTS    verdicts, and a summary with the worst machine first
pack SRC --out PACKS        many short files into one object per machine and hour, which embed reads
status DATASET              what a dataset holds

SRC is a folder or s3://bucket/prefix laid out as {machine}/{date}/..., or a Parquet list with the columns recording,
machine and day. DATASET is a folder or s3://bucket/prefix.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from echobank.cli import fleet_banks
from echobank.cli.own import seconds
from echobank.errors import EXIT_OK, EXIT_SKIPPED

if TYPE_CHECKING:
    from echobank.fleet.cluster import PoolSettings, RayPool
    from echobank.fleet.embed_run import EmbedTally, Pace
    from echobank.fleet.reasons import Reasons

PoolOf = Callable[[Callable[[], Any], argparse.Namespace], "RayPool[Any, Any]"]
_RAY = {"RAY_USAGE_STATS_ENABLED": "0"}
_RAY_HERE = {
    "MALLOC_ARENA_MAX": "2",  # of glibc: each arena keeps the most that any thread used, and each shard has new threads
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # by this Ray listens on loopback only, also on Windows and macOS
    "RAY_worker_niceness": "0",  # its own 15 would have the work that was asked for wait for everything else
}
_EVERY = 60.0  # seconds between lines of progress where there is no terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of `echobank fleet`."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    embed = commands.add_parser("embed", help="recordings to a dataset of embeddings; only what is new")
    embed.set_defaults(work=_embed)
    _add_source(embed)
    embed.add_argument("--out", metavar="DATASET", required=True, help="folder or s3:// of the dataset")
    embed.add_argument("--window", metavar="TIME", type=seconds, default=10.0, help="length of a window (default: 10s)")
    embed.add_argument(
        "--hop", metavar="TIME", type=seconds, help="step from window to window (default: half a window)"
    )
    embed.add_argument(
        "--shard", type=int, default=256, metavar="N", help="at most this many recordings per shard (default: 256)"
    )
    embed.add_argument("--config", metavar="FILE", help="settings; model.*, data.channel, weights.* apply")
    embed.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="override one setting")
    _add_ray(embed)
    fit = commands.add_parser("fit", help="a bank per machine from a dataset")
    fit.set_defaults(work=lambda args: fleet_banks.fit(args, _pool_of))
    fleet_banks.add_fit(fit)
    _add_ray(fit)
    score = commands.add_parser("score", help="verdicts by the banks, and the worst machines")
    score.set_defaults(work=lambda args: fleet_banks.score(args, _pool_of))
    fleet_banks.add_score(score)
    _add_ray(score)
    pack = commands.add_parser("pack", help="many short files into one object per machine and hour")
    pack.set_defaults(work=_pack)
    _add_source(pack)
    pack.add_argument("--out", metavar="PACKS", required=True, help="folder or s3:// of the packs")
    pack.add_argument(
        "--time", metavar="REGEX", help="finds the hour in a name: its group h (default: time of change, UTC)"
    )
    status = commands.add_parser("status", help="what a dataset holds")
    status.set_defaults(work=_status)
    status.add_argument("dataset", metavar="DATASET", help="folder or s3:// of the dataset")
    status.add_argument("--machines", action="store_true", help="one line per machine")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand."""
    return int(args.work(args))


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="folder or s3:// of recordings, or a Parquet list")
    parser.add_argument(
        "--pattern",
        metavar="PATTERN",
        default="{machine}/{date}",
        help="names of the folders from the top, with {machine}, {date} and * (default: {machine}/{date})",
    )


def _add_ray(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        default="local",
        help="local (default), or the address of a cluster: auto, host:port or ray://host:port",
    )
    parser.add_argument(
        "--actors", type=int, default=0, metavar="N", help="at most this many actors (default: one per core)"
    )
    parser.add_argument(
        "--cpus", metavar="N", type=float, default=1.0, help="cores reserved for each actor (default: 1)"
    )
    parser.add_argument(
        "--gpus", metavar="N", type=float, default=0.0, help="GPUs reserved for each actor (default: 0)"
    )
    parser.add_argument(
        "--retries", metavar="N", type=int, default=3, help="retries of a task whose actor died (default: 3)"
    )
    parser.add_argument("--spread", action="store_true", help="spread actors over nodes")


def _pool_of(make: Callable[[], Any], args: argparse.Namespace) -> "RayPool[Any, Any]":
    """Return the pool that the options describe."""
    from echobank.fleet.cluster import RayPool

    return RayPool(make, _pool_settings(args))


def _pool_settings(args: argparse.Namespace) -> "PoolSettings":
    """Return where actors run, after telling Ray, by its environment, to keep to itself.

    Ray reads these variables when it is imported.
    """
    from echobank.fleet.cluster import LOCAL, PoolSettings

    for name, value in {**_RAY, **(_RAY_HERE if args.ray == LOCAL else {})}.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray").setLevel(logging.ERROR)
    return PoolSettings(args.ray, args.actors, args.cpus, args.gpus, args.retries, args.spread)


def _embed(args: argparse.Namespace) -> int:
    from functools import partial

    from echobank.cli.options import settled
    from echobank.errors import InputError
    from echobank.fleet.catalog import catalog_of
    from echobank.fleet.embed_run import EmbedRun
    from echobank.fleet.embedding import EmbedSettings, EmbedWorker
    from echobank.fleet.location import Location
    from echobank.machines.fit import machine_config

    hop = args.hop or args.window / 2
    if hop > args.window or args.shard < 1:
        raise InputError("hop must be at most the window, and shards hold 1 recording or more")
    source = Location(args.source)
    catalog = catalog_of(source, args.pattern)
    root = getattr(catalog, "root", source)
    config = settled(machine_config(args.config, args.set))
    settings = EmbedSettings(config, args.window, hop, root, Location(args.out), max(1, int(args.cpus)))
    with _pool_of(partial(EmbedWorker, settings), args) as pool, _Showing("embed") as showing:
        tally = EmbedRun(settings, catalog, args.shard).run(pool, showing)
    return _say_embedded(tally, args.out)


def _say_embedded(tally: "EmbedTally", out: str) -> int:
    from echobank.machines.health import counted

    new, lost = tally.new, len(tally.lost)
    done = new.recordings + new.errors
    if not done and not tally.known and not len(tally.waiting) and not lost:
        print("no recordings found", file=sys.stderr)
    elif not tally.shards:
        print(f"nothing new: {counted(tally.known, 'recording')} known, no encoder was started")
    else:
        rate = f", {done / tally.seconds:.1f} per second" if tally.seconds else ""
        same = f"; {tally.same} touched, with the bytes that they had" if tally.same else ""
        print(
            f"{counted(new.recordings - tally.same, 'recording')} embedded, {counted(new.windows, 'window')}, in "
            f"{counted(tally.shards, 'shard')}{rate}; {tally.known} known before{same}; "
            f"start {tally.starting:.1f} s, work {tally.seconds:.1f} s"
        )
    print(f"dataset {out}" + (f", key {tally.made.key}" if tally.made else ""))
    _table("cannot be used", tally.errors)
    _table("left for the next run", tally.waiting)
    _table("given up, as their actors died; run again", tally.lost)
    for line in tally.left_out.lines:
        print(f"skipped: {line}", file=sys.stderr)
    bad = len(tally.errors) or len(tally.waiting) or lost or tally.left_out.lines
    return EXIT_SKIPPED if bad else EXIT_OK


def _table(title: str, reasons: "Reasons") -> None:
    """Print how many and why, on stderr."""
    if not len(reasons):
        return
    print(f"{len(reasons)} {title}:", file=sys.stderr)
    for count, reason, example in reasons:
        print(f"{count:>8}  {reason}  (for example {example})", file=sys.stderr)


def _pack(args: argparse.Namespace) -> int:
    from echobank.data.folder import LeftOut
    from echobank.fleet.catalog import catalog_of
    from echobank.fleet.location import Location
    from echobank.fleet.packs import pack_source
    from echobank.machines.health import counted

    source, left_out = Location(args.source), LeftOut()
    catalog = catalog_of(source, args.pattern)
    packed = pack_source(getattr(catalog, "root", source), catalog, Location(args.out), args.time, left_out)
    print(
        f"{counted(packed.recordings, 'recording')} in {counted(packed.packs, 'pack')}, {packed.size / 2**20:.1f} MiB, "
        f"written to {args.out}; {counted(packed.known, 'pack')} there before"
    )
    _table("could not be read; run again", packed.waiting)
    for line in left_out.lines:
        print(f"skipped: {line}", file=sys.stderr)
    return EXIT_SKIPPED if len(packed.waiting) or left_out.lines else EXIT_OK


def _status(args: argparse.Namespace) -> int:
    from echobank.fleet.dataset import VectorDataset
    from echobank.fleet.location import Location
    from echobank.fleet.totals import totals_of
    from echobank.machines.health import counted

    dataset = VectorDataset(Location(args.dataset))
    kinds = dataset.made_by() or [dataset.only()]
    for made in kinds:
        total = totals_of(dataset, made.key)
        facts = made.provenance
        grid = f", windows of {facts.window.seconds:g} s every {facts.window.hop:g} s" if facts.window else ""
        print(f"{made.key}  {facts.encoder.name}{grid}, from {made.source}")
        print(
            f"  {counted(len(total.machines), 'machine')}, {counted(total.days, 'day')} of a machine, "
            f"{counted(total.shards, 'shard')}, {total.size / 2**20:.1f} MiB: "
            f"{counted(total.counts.recordings, 'recording')}, {counted(total.counts.windows, 'window')}, "
            f"{total.counts.errors} cannot be used"
        )
        for name, counts in total.machines.items() if args.machines else ():
            print(f"  {name}: {counts.recordings} recordings, {counts.windows} windows, {counts.errors} errors")
    return EXIT_OK


class _Showing:
    """Shows how far a run is: a bar on a terminal, one line per minute elsewhere."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._said = time.monotonic()

    def __enter__(self) -> "_Showing":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, pace: "Pace") -> None:
        """Show it."""
        if sys.stderr.isatty():
            from tqdm import tqdm

            if self._bar is None:
                self._bar = tqdm(desc=self._label, unit="rec", delay=2, leave=False, dynamic_ncols=True)
            self._bar.total = pace.total
            self._bar.update(pace.done - self._bar.n)
        elif time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            print(describe_pace(self._label, pace), file=sys.stderr)


def describe_pace(label: str, pace: "Pace") -> str:
    """Return how far a run is and when it ends at this rate, in a line."""
    of = "" if pace.total is None else f" of {pace.total}"
    left = f", about {_length(pace.left)} left at this rate" if pace.left is not None else ", still counting the rest"
    return f"{label}: {pace.done}{of} done, {pace.rate:.1f} per second{left}"


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
