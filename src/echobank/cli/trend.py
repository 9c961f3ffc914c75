"""Print the history of a machine as CSV: windows, minutes or hours, from a trend or from a service.

Without an option the trend of the bank is read: BANK/trend. Times are milliseconds since 1970, UTC.
"""

import argparse
import csv
import itertools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echobank.cli.outputs import add_json
from echobank.errors import InputError
from echobank.names import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank trend`."""
    parser.add_argument("bank", metavar="BANK", help="folder or file of the bank, for example banks/pump7")
    add_trend_source(parser)
    parser.add_argument("--step", choices=("windows", "minutes", "hours"), default="hours", help="default: hours")
    parser.add_argument("--since", type=moment, default=0, metavar="TIME", help="for example 2026-05-01 (UTC)")
    parser.add_argument("--until", type=moment, default=1 << 53, metavar="TIME", help="to before this time")
    parser.add_argument("--out", metavar="TABLE", help="CSV to write (default: standard output)")
    add_json(parser, "JSON lines on standard output instead of CSV")


def run(args: argparse.Namespace) -> int:
    """Print the rows."""
    from echobank.cli.outputs import CSV, check_output
    from echobank.storage import atomic_path

    if args.json and args.out is None:
        with _rows(args) as rows:
            for row in rows:
                print(to_json(dict(row)))
        return 0
    if args.out is None:
        _write(sys.stdout, args)
        return 0
    check_output(args.out, CSV, "--out")
    with atomic_path(args.out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        count = _write(stream, args)
    print(f"{count} rows\nwrote {args.out}", file=sys.stderr)
    return 0


def add_trend_source(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a trend lies."""
    places = parser.add_mutually_exclusive_group()
    places.add_argument("--trend", metavar="DIR", help="folder of the trend (default: beside the bank)")
    places.add_argument("--data", metavar="DIR", help="folder of a service, as in `echobank serve --data DIR`")
    places.add_argument("--database", metavar="URL", help="database of a service: postgresql://USER@HOST/NAME")


def trend_folder(args: argparse.Namespace) -> Path:
    """Return the folder of the trend that the options name."""
    from echobank.machines.archive import bank_file

    return Path(args.trend) if args.trend else bank_file(args.bank).parent / "trend"


def database_of(args: argparse.Namespace) -> str:
    """Return the address of the database that the options name; empty where they name a folder of a trend.

    Raises:
        InputError: The folder of the service has no database.
    """
    if args.database:
        return str(args.database)
    if not args.data:
        return ""
    from echobank.serve.database import embedded

    folder = Path(args.data)
    if not (folder / "echobank.db").is_file():
        hint = "its database is elsewhere? name it with --database"
        raise InputError("no database of a service lies here", where=folder, hint=hint)
    return embedded(folder)


def machine_of(bank: str) -> str:
    """Return the name of the machine of a bank.

    Raises:
        BankError: It cannot be read, or is not of an own machine.
    """
    from echobank.detection.bank import load_bank
    from echobank.machines.archive import bank_file
    from echobank.machines.machine import own_machine

    return own_machine(load_bank(bank_file(bank))).name


def moment(text: str) -> int:
    """Return a time such as 2026-05-01 or 2026-05-01T12:00 in milliseconds since 1970; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a time: {text!r}; write 2026-05-01 or 2026-05-01T12:00") from None
    return round(1000 * (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


@contextmanager
def _rows(args: argparse.Namespace) -> Iterator[Iterator[Mapping[str, Any]]]:
    if url := database_of(args):
        from echobank.serve.trend_source import reading, rows_of

        with reading(url) as connection:
            yield rows_of(connection, machine_of(args.bank), args.step, args.since, args.until)
        return
    from echobank.machines.trend.trend_reader import rows_in

    yield rows_in(trend_folder(args), args.step, args.since, args.until)


def _write(stream: Any, args: argparse.Namespace) -> int:
    from echobank.machines.trend.trend_files import JSON_COLUMNS, SUMMARY_COLUMNS
    from echobank.machines.trend.trend_reader import as_text
    from echobank.machines.trend.trend_window import WINDOW_COLUMNS

    columns = WINDOW_COLUMNS if args.step == "windows" else (*SUMMARY_COLUMNS, *JSON_COLUMNS, "facts")
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    count = 0
    with _rows(args) as rows:
        first = next(rows, None)  # a trend that cannot be read is an error without a header before it
        writer.writeheader()
        for row in () if first is None else itertools.chain([first], rows):
            writer.writerow(as_text(row))
            count += 1
    return count
