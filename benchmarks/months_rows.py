"""Ten years of one machine, thinned to hours and as 31.6 million windows: time and memory of `echobank checkup`.

    python benchmarks/months_rows.py --out DIR [--years 10]

Windows follow each other every 10 s, one file per day, with the facts of their sound. Each checkup is a process of its
own; its processor time, its wall time and its largest memory are what the system says of it. DIR takes 3 GB.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echobank.data.sound_facts import MISSING, NAMES, THIRDS
from echobank.machines.trend.trend_files import window_schema, write_summaries
from echobank.machines.trend.trend_store import TrendStore, summarised, windows_in

BEGIN, DAY, HOUR = 1_420_070_400_000, 86_400_000, 3_600_000
A_DAY = 8640


def some_days(rng: np.random.Generator, count: int) -> list[Any]:
    """Return tables of some days; others are these with other times and ids."""
    return [_day(rng) for _ in range(count)]


def write_day(folder: Path, day: int, tables: Sequence[Any]) -> None:
    """Write the windows of a day."""
    import pyarrow
    from pyarrow import compute, parquet

    heard = BEGIN + day * DAY + np.arange(A_DAY) * 10_000
    table = tables[day % len(tables)]
    ids = compute.binary_join_element_wise(str(day), table["id"], "-")
    for name, values in (("id", ids), ("heard", pyarrow.array(heard)), ("received", pyarrow.array(heard))):
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    parquet.write_table(table, folder / f"{int(heard[-1]):013d}-{day:012x}.parquet", compression="zstd")


def _day(rng: np.random.Generator) -> Any:
    import pyarrow

    swing = np.interp(np.arange(A_DAY), np.arange(0, A_DAY + 360, 360), 0.1 * rng.standard_normal(25))
    score = np.exp(-2 + swing + 0.2 * rng.standard_normal(A_DAY))
    facts = np.full((A_DAY, len(NAMES)), MISSING, np.int16)
    values = -3000 - 40 * np.arange(THIRDS.stop)[None] + 80 * rng.standard_normal((A_DAY, 1))
    facts[:, : THIRDS.stop] = values + 60 * rng.standard_normal((A_DAY, THIRDS.stop))
    columns = {
        "id": [str(i) for i in range(A_DAY)],
        "heard": np.zeros(A_DAY, np.int64),
        "received": np.zeros(A_DAY, np.int64),
        "revision": np.ones(A_DAY, np.int32),
        "file": ["mic"] * A_DAY,
        "start": np.arange(A_DAY) * 10.0,
        "seconds": np.full(A_DAY, 10.0),
        "score": score,
        "p_value": rng.random(A_DAY),
        "percentile": np.full(A_DAY, 50.0),
        "decision": (score > 0.19).astype(np.int8),
        "nearest": [f"{i:02d}.wav" for i in rng.integers(0, 24, A_DAY)],
        "nearest_start": np.zeros(A_DAY),
        "level_dbfs": -30 + rng.standard_normal(A_DAY),
        **{name: [""] * A_DAY for name in ("flags", "error")},
        **{name: [None] * A_DAY for name in ("quiet", "clip")},
    }
    offsets = pyarrow.array(np.arange(A_DAY + 1) * len(NAMES), pyarrow.int32())
    lists = pyarrow.ListArray.from_arrays(offsets, pyarrow.array(facts.reshape(-1), pyarrow.int16()))
    schema = window_schema()
    arrays = [
        lists if name == "facts" else pyarrow.array(columns[name], schema.field(name).type) for name in schema.names
    ]
    return pyarrow.Table.from_arrays(arrays, schema=schema)


def thinned(whole: Path, out: Path, days: int) -> None:
    """Write the hours of the first days, and repeat them for all others: only their number matters here."""
    files = sorted((whole / "windows").glob("*.parquet"))[:28]
    hours = []
    for path in files:
        windows = windows_in(path)
        hours += [summarised(windows[i : i + 360]) for i in range(0, A_DAY, 360)]
    rows = [{"begins": BEGIN + i * HOUR, "revision": 1, **hours[i % len(hours)]} for i in range(days * 24)]
    for first in range(0, len(rows), 730):
        month = time.strftime("%Y-%m", time.gmtime(rows[first]["begins"] / 1000))
        write_summaries(out / "hours" / f"{month}-{first}.parquet", rows[first : first + 730], [])
    TrendStore(out).close()


def measure(bank: Path, trend: Path) -> str:
    """Return what a checkup takes, as a row."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "echobank", "checkup", str(bank), "--trend", str(trend), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    text = process.stdout.read() if process.stdout else b""
    _, _, used = os.wait4(process.pid, 0)
    wall, after = time.monotonic() - begun, used.ru_utime + used.ru_stime
    found = json.loads(text)
    return f"| {trend.name} | {found['windows']:,} | {wall:.1f} s | {after:.1f} s | {used.ru_maxrss / 1024:.0f} MB |"


def main() -> int:
    """Make the trends and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bank", type=Path, required=True, help="any bank of an own machine")
    parser.add_argument("--years", type=float, default=10.0)
    args = parser.parse_args()
    days, whole = round(args.years * 365.25), args.out / "unthinned"
    (whole / "windows").mkdir(parents=True, exist_ok=True)
    tables = some_days(np.random.default_rng(0), 56)
    for day in range(days):
        if day % 365 == 0:
            print(f"day {day} of {days}", file=sys.stderr, flush=True)
        write_day(whole / "windows", day, tables)
    thinned(whole, args.out / "thinned", days)
    print("| trend | windows | wall time | processor time | largest memory |\n|---|---|---|---|---|")
    for name in ("thinned", "unthinned"):
        print(measure(args.bank, args.out / name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
