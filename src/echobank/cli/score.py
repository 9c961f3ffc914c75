"""Score recordings of a machine against its bank: one line per window, and what is anomalous."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from echobank.cli.outputs import add_json
from echobank.cli.own import add_bank, add_far, add_trend, add_without_level, open_bank, with_facts
from echobank.cli.progress import bar
from echobank.data.folder import LeftOut
from echobank.errors import EXIT_ANOMALIES, EXIT_OK, EXIT_SKIPPED, ConfigError
from echobank.machines.tags import find_recordings

if TYPE_CHECKING:
    from echobank.machines.machine import Machine
    from echobank.machines.page import Digest
    from echobank.machines.score import Keep, Tally
    from echobank.machines.verdict import Verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank score`."""
    add_bank(parser)
    parser.add_argument("files", metavar="FILE", nargs="+", help="recordings, or folders of them")
    parser.add_argument(
        "--out",
        metavar="TABLE",
        help="table to write: .csv, .jsonl or .parquet; an interrupted run continues (default: CSV on standard output)",
    )
    add_json(parser, "JSON lines on standard output instead of CSV")
    parser.add_argument("--report", metavar="PAGE", help="also write a page for people: one HTML file")
    add_trend(parser)
    add_far(parser)
    add_without_level(parser)


def run(args: argparse.Namespace) -> int:
    """Score, and say what is anomalous; anomalies come before skipped recordings in the exit code."""
    from echobank.cli.outputs import PAGE, TABLE, check_output
    from echobank.machines.archive import bank_file
    from echobank.machines.score import score_to_table
    from echobank.machines.table import check_table

    reads = [*args.files, bank_file(args.bank), args.weights]
    if args.out:
        check_table(args.out)
        check_output(args.out, TABLE, "--out", reads)
    if args.report:
        check_output(args.report, PAGE, "--report", reads)
    if args.trend and args.without_level:
        raise ConfigError("a trend needs scores with level", hint="leave out --trend or --without-level")
    digest = _digest() if args.report else None
    machine = open_bank(args)
    left_out = LeftOut()
    paths = _existing(args.files, left_out)
    see: Callable[[Verdict], object] = digest.see if digest else lambda _: None
    with _trend(args.trend, machine) as keep:
        tracing = with_facts(machine, args.trend)
        if args.out:
            result = score_to_table(tracing, args.bank, paths, args.out, bar, see, keep)
            print(f"wrote {args.out}", file=sys.stderr)
        else:
            result = _print(tracing, paths, see, keep, as_json=args.json)
    if digest:
        from echobank.machines.page import write_page

        write_page(args.report, machine, digest)
        print(f"wrote {args.report}", file=sys.stderr)
    return _conclude(machine, result, left_out)


def _digest() -> "Digest":
    """Return what the page is made from; all that a page needs is imported only where one was asked for."""
    from echobank.machines.page import Digest
    from echobank.report.figures import require_matplotlib

    require_matplotlib()
    return Digest()


def _existing(files: list[str], left_out: LeftOut) -> list[Path]:
    """Return the recordings; a file that was named but is not there becomes an error row, not the end."""
    named = [Path(file) for file in files]
    missing = [path for path in named if not path.exists()]
    present = [path for path in named if path.exists()]
    found = [path for path, _ in find_recordings(present, left_out)] if present else []
    return [*found, *dict.fromkeys(missing)]


@contextmanager
def _trend(folder: str | None, machine: "Machine") -> "Iterator[Keep]":
    """Provide a function that keeps scored recordings in a trend; without a folder it does nothing."""
    if folder is None:
        yield lambda _heard, _verdicts: None
        return
    from echobank.machines.archive import revision_of
    from echobank.machines.trend.trend_keeper import TrendKeeper, windows_of_file

    keeper, revision = TrendKeeper(Path(folder)), revision_of(machine.bank)
    try:
        yield lambda heard, verdicts: keeper.take(windows_of_file(heard, verdicts, machine.name, revision), heard)
    finally:
        keeper.close()
        if keeper.trouble:
            print(f"echobank: {keeper.trouble}", file=sys.stderr)


def _print(
    machine: "Machine", paths: list[Path], see: Callable[["Verdict"], object], keep: "Keep", *, as_json: bool
) -> "Tally":
    from echobank.machines.score import Counting, score_stream
    from echobank.machines.table import write_csv_rows, write_json_rows

    counting = Counting()
    if not as_json:
        write_csv_rows(sys.stdout, (), header=True)
    for rows in score_stream(machine, paths, keep):
        if as_json:
            write_json_rows(sys.stdout, counting.watch(rows, see))
        else:
            write_csv_rows(sys.stdout, counting.watch(rows, see), header=False)
        sys.stdout.flush()
    return counting.result()


def _conclude(machine: "Machine", result: "Tally", left_out: LeftOut) -> int:
    from echobank.machines.gain import describe_shift, levels_of
    from echobank.machines.health import counted, percent
    from echobank.machines.level_off import hears_level

    for file, reason in result.errors:
        print(f"skipped: {reason or file}", file=sys.stderr)
    for line in left_out.lines:
        print(f"skipped: {line}", file=sys.stderr)
    resumed = f", {result.resumed} of them before an interruption" if result.resumed else ""
    print(
        f"{machine.name}: {counted(result.files, 'recording')}{resumed}, {counted(result.windows, 'window')}; "
        f"anomalous: {counted(result.anomalous_windows, 'window')} of {counted(result.anomalous_files, 'recording')} "
        f"(score above {machine.threshold:.4g}); {result.failed} could not be scored",
        file=sys.stderr,
    )
    if machine.flags is None:
        print("flags: odd_band and impulses are not available for this bank; fit again to have them", file=sys.stderr)
    elif result.flagged:
        print(
            f"flags: odd_band or impulses on {counted(result.flagged, 'window')} below the threshold; up to "
            f"{percent(machine.flags.rate)} of healthy windows carry each (`echobank explain` says what it is)",
            file=sys.stderr,
        )
    if said := describe_shift(levels_of(machine.bank), result.levels):
        hint = "; --without-level leaves level out of the score" if hears_level(machine.bank) else ""
        print(f"level: {said}{hint}", file=sys.stderr)
    if result.anomalous_windows:
        return EXIT_ANOMALIES
    return EXIT_SKIPPED if result.failed or left_out.lines else EXIT_OK
