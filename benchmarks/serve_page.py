"""What people wait for when much is stored: the page, the list of machines and what a page asks next.

Called by `serve.py page`. The rows are made inside the database: of the windows of 200 machines in 48 hours, their
minutes of 30 days and their hours of two years, as many as `--rows` says.
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import requests
from serving import fit, free_port, running

HOUR = 3_600_000
_SHARES = {"windows": 0.5, "minutes": 0.42, "hours": 0.08}
_SUMMARY = (
    '{"count": 6, "sum": 6.3, "quantiles": [0.9, 0.9, 1.0, 1.05, 1.1, 1.2, 1.2], "cells": {"-2": 2, "0": 3, "1": 1}}'
)
_LEVEL = '{"count": 6, "sum": -180.1, "least": -31.2, "most": -29.4}'
_NEAREST = '{"healthy/00017.wav": 4, "healthy/00003.wav": 2}'
_DRAWN = """
const [wanted, done] = arguments;
const look = () => document.querySelectorAll("ul.machines > li").length >= wanted
  ? done(performance.now()) : requestAnimationFrame(look);
look();
"""
_SERIES = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last})"


def fill(url: str, machines: int, rows: int, now: int) -> dict[str, int]:
    """Fill a database that the service made, and return how many rows each table has."""
    from sqlalchemy import func, select

    from echobank.serve.database import open_database
    from echobank.serve.schema import metadata

    engine = open_database(url)
    with engine.begin() as connection:
        for number in range(1, machines + 1):
            name = {"id": 1000 + number, "name": f"machine-{number:03d}", "created": now, "threshold": 2.0}
            connection.execute(metadata.tables["machines"].insert().values(**name, heard=now))
        machine = f"1001 + i % {machines}"
        count = int(rows * _SHARES["windows"])
        step = 48 * HOUR // (count // machines)
        _series(
            connection,
            count,
            "windows (id, machine, heard, received, revision, file, start, seconds, score, p_value, decision, nearest, "
            "nearest_start, level_dbfs, flags, error)",
            f"'w' || i, {machine}, {now} - i / {machines} * {step}, {now} - i / {machines} * {step}, 1, "
            "'recording-' || i || '.wav', 0.0, 10.0, 1.0 + (i % 97) / 100.0, 0.5, 0, 'healthy/00017.wav', 0.0, -30.0, "
            "'', ''",
        )
        for table, length in (("minutes", HOUR // 60), ("hours", HOUR)):
            _series(
                connection,
                int(rows * _SHARES[table]),
                f"{table} (machine, begins, revision, windows, errors, anomalous, score, p_value, level, nearest, "
                "flags)",
                f"{machine}, {now // length * length} - i / {machines} * {length}, 1, 6, 0, 0, '{_SUMMARY}', "
                f"'{_SUMMARY}', '{_LEVEL}', '{_NEAREST}', '{{}}'",
            )
        _series(
            connection,
            machines * 500,
            "events (id, machine, kind, opened, closed, file, revision, nearest, note)",
            f"'e' || i, {machine}, 'sound', {now} - i * 1000, {now} - i * 1000 + 500, 'a.wav', 1, '', ''",
        )
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        counts = {
            name: connection.execute(select(func.count()).select_from(metadata.tables[name])).scalar() or 0
            for name in ("machines", "windows", "minutes", "hours", "events")
        }
        connection.commit()
    engine.dispose()
    return counts


def _series(connection: Any, count: int, into: str, values: str) -> None:
    series = _SERIES.format(last=count - 1)
    values = values.replace("%", "%%") if connection.dialect.name == "postgresql" else values
    if connection.dialect.name == "postgresql":
        values = values.replace(f"'{_SUMMARY}'", f"'{_SUMMARY}'::json").replace(f"'{_LEVEL}'", f"'{_LEVEL}'::json")
        values = values.replace(f"'{_NEAREST}'", f"'{_NEAREST}'::json").replace("'{}'", "'{}'::json")
    connection.exec_driver_sql(f"INSERT INTO {into} {series} SELECT {values} FROM n")


def page(work: Path, database: list[str], args: argparse.Namespace) -> None:
    """Fill a database and time what a browser asks."""
    banks, address = fit(work), f"http://127.0.0.1:{free_port()}"
    words: list[object] = [banks, "--data", work / "data", *database]
    with running(address, *words):
        pass
    url, begun = database[-1] if database else f"sqlite:///{work / 'data' / 'echobank.db'}", time.perf_counter()
    now = time.time_ns() // 1_000_000
    counts = fill(url, args.machines, int(args.rows), now)
    print(f"filled in {time.perf_counter() - begun:.0f} s: {counts}")
    asked = [
        "/",
        "/api/overview",
        "/api/machines",
        "/api/machines/machine-007",
        f"/api/machines/machine-007/course?since={now - 24 * HOUR}",
        f"/api/machines/machine-007/course?since={now - 29 * 24 * HOUR}",
        f"/api/machines/machine-007/course?since={now - 365 * 24 * HOUR}",
        "/api/machines/machine-007/scores?limit=1000",
        f"/api/machines/machine-007/scores?step=minutes&since={now - 24 * HOUR}&limit=1440",
        "/api/machines/machine-007/scores?step=hours&limit=1000",
        "/api/events",
        "/api/events?machine=machine-007",
        "/metrics",
    ]
    with running(address, *words), requests.Session() as session:
        for path in asked:
            took, size = [], 0
            for _ in range(args.rounds + 1):
                begun = time.perf_counter()
                answer = session.get(f"{address}{path}", timeout=120)
                took.append(time.perf_counter() - begun)
                size = len(answer.content)
            said = f"first {1000 * took[0]:.0f} ms, median of the others {1000 * statistics.median(took[1:]):.0f} ms"
            print(f"{answer.status_code} {path.partition('&')[0]}: {said}, {size / 1024:.0f} kB")
        in_browser(address, args)


def in_browser(address: str, args: argparse.Namespace) -> None:
    """Load the page in headless Chromium, and time from the address to the last machine drawn."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        print("the page in a browser: no Chromium here")
        return
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(word)
    took = []
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as chrome:
        chrome.set_script_timeout(60)
        for _ in range(args.rounds + 1):
            chrome.get("about:blank")
            chrome.get(address)
            took.append(float(chrome.execute_async_script(_DRAWN, args.machines)))
    print(f"the page in a browser: first {took[0]:.0f} ms, median of the others {statistics.median(took[1:]):.0f} ms")
