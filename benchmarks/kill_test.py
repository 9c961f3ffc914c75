"""Kill fit, score, bank add, watch and listen at random moments, and count what is lost, doubled or half written.

Each trial is a process of its own that is ended by SIGKILL. What must hold: a bank on disk is the old or the new
one; a score journal goes on to the same table as an undisturbed run; a watch's table has every row exactly once, and
its webhook has every message once or, by the same id, again; an event that listen opened goes on as one.

    python benchmarks/kill_test.py --kills 200
"""

import argparse
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import soundfile

from echobank.cli import main, options
from echobank.detection.bank import Bank, load_bank
from echobank.machines import archive, detector, page
from echobank.watch import engine as watch
from echobank.watch.feeds import stream_feed
from echobank.watch.sinks import csv_file

RATE = 16_000
IMPORTED = (
    options,
    detector,
    page,
    csv_file,
    stream_feed,
    watch,
)  # before the first fork, so that kills hit work and not imports


def kill(words: list[str], longest: float, rng: random.Random) -> bool:
    """Run a command in a child, kill it at a random moment, and return whether it was killed before its end."""
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as null:  # noqa: PTH123
            os.dup2(null.fileno(), 1)
            os.dup2(null.fileno(), 2)
        os._exit(main(words))
    time.sleep(rng.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def finish(words: list[str]) -> float:
    """Run a command in a child to its end and return its seconds."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as null:  # noqa: PTH123
            os.dup2(null.fileno(), 1)
        os._exit(main(words))
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"{' '.join(words)} failed")
    return time.monotonic() - start


def recordings(folder: Path, count: int, seed: int) -> Path:
    """Write short noises of one machine."""
    folder.mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng(seed + i)
        soundfile.write(folder / f"{seed + i:04d}.wav", 0.1 * rng.standard_normal(RATE), RATE)
    return folder


def same(one: Bank, two: Bank) -> bool:
    """Return whether two banks remember the same."""
    key = [(row.file, row.start, row.sha256) for row in one.rows]
    return key == [(row.file, row.start, row.sha256) for row in two.rows] and np.array_equal(one.vectors, two.vectors)


def trial_bank(words: list[str], bank: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Kill a command that replaces a bank; each time it must be the old one or the new one, and undo must work."""
    file = archive.bank_file(bank)
    old_bytes, old = file.read_bytes(), load_bank(file)
    longest = finish(words)
    new = load_bank(file)
    archive.undo(bank)
    if file.read_bytes() != old_bytes:
        raise SystemExit("undo does not give the old bank back")
    seen: Counter[str] = Counter()
    while seen["killed"] < kills:
        seen["killed"] += kill(words, longest, rng)
        now = load_bank(file)
        seen["old" if same(now, old) else "new" if same(now, new) else "BROKEN"] += 1
        if not same(now, old):
            archive.undo(bank)
        seen["BROKEN"] += file.read_bytes() != old_bytes
    return seen


def trial_score(bank: Path, files: Path, work: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Kill scoring again and again until its table is there; the table must equal that of an undisturbed run."""
    whole = work / "whole.csv"
    longest = finish(["score", str(bank), str(files), "--out", str(whole)])
    seen: Counter[str] = Counter()
    while seen["killed"] < kills:
        table = work / f"table{seen['tables']}.csv"
        words = ["score", str(bank), str(files), "--out", str(table)]
        for _ in range(kills):
            seen["killed"] += kill(words, longest / 3, rng)
            if table.exists():
                break
        if not table.exists():
            finish(words)
        seen["tables"] += 1
        seen["BROKEN"] += table.read_bytes() != whole.read_bytes()
    return seen


@contextmanager
def webhook(log: Path) -> Iterator[str]:
    """Run a web server in a child that writes path and id of every message it takes to a file; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if message["kind"] != "heartbeat":
                with log.open("a") as stream:
                    stream.write(f"{self.path} {message['id']}\n")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    log.touch()
    server = HTTPServer(("127.0.0.1", 0), Handler)
    child = os.fork()
    if child == 0:
        server.serve_forever()
    server.server_close()
    yield f"http://127.0.0.1:{server.server_port}"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def trial_watch(bank: Path, files: Path, work: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Kill a watch again and again; its table must have every window of every recording exactly once.

    Its webhook must have every message of the table; one may come again with the same id.
    """
    with webhook(work / "posted") as url:
        return _trial_watch(bank, files, work, kills, rng, url)


def _trial_watch(bank: Path, files: Path, work: Path, kills: int, rng: random.Random, url: str) -> Counter[str]:
    seen: Counter[str] = Counter()
    expected = {path.name for path in files.glob("*.wav")}
    options = ["--once", "--quiet", "--settle", "1ms", "--poll", "5ms", "--every-window"]
    while seen["killed"] < kills:
        table, state = work / f"watch{seen['runs']}.csv", work / f"state{seen['runs']}"
        words = ["watch", str(bank), str(files), "--csv", str(table), "--state", str(state), *options]
        words += ["--webhook", f"{url}/{seen['runs']}"]
        for _ in range(12):
            seen["killed"] += kill(words, 0.4, rng)
        finish(words)
        with table.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        ids = [row["id"] for row in rows]
        scored = Counter(row["file"] for row in rows if row["kind"] == "score")
        posted = [line.split()[1] for line in (work / "posted").open() if line.startswith(f"/{seen['runs']} ")]
        seen["messages posted again"] += len(posted) - len(set(posted))
        good = (
            len(ids) == len(set(ids))
            and set(posted) == set(ids)
            and set(scored) == expected
            and set(scored.values()) == {1}
        )
        seen["BROKEN"] += not good
        seen["runs"] += 1
    return seen


def listen(words: list[str], sound: bytes, longest: float, rng: random.Random) -> bool:
    """Listen to sound on standard input in a child; kill it at a random moment, or let it end when `longest` is 0."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.dup2(reading, 0)
        with open(os.devnull, "w") as null:  # noqa: PTH123
            os.dup2(null.fileno(), 2)
        os._exit(main(words))
    os.close(reading)
    end = time.monotonic() + (rng.uniform(0, longest) if longest else 3600)
    left = memoryview(sound)
    os.set_blocking(writing, False)
    while left and time.monotonic() < end:
        try:
            left = left[os.write(writing, left) :]
        except BlockingIOError:
            time.sleep(0.001)
    if longest:
        time.sleep(max(0.0, end - time.monotonic()))
        os.kill(child, signal.SIGKILL)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def trial_listen(bank: Path, work: Path, kills: int, rng: random.Random) -> Counter[str]:
    """Kill listen in the middle of an event; it stays one event, no message is lost, none comes with another id."""
    seen: Counter[str] = Counter()
    table, state = work / "live.csv", work / "live"
    noise = np.random.default_rng(9)
    odd = (0.1 * noise.standard_normal(30 * RATE) + 0.5 * np.sin(np.arange(30 * RATE))).clip(-1, 1)
    sound = (odd * 32767).astype("<i2").tobytes()
    with webhook(work / "live_posted") as url:
        words = ["listen", str(bank), "-", "--rate", str(RATE), "--quiet", "--csv", str(table), "--state", str(state)]
        words += ["--webhook", url, "--every-window", "--poll", "5ms", "--heartbeat", "0"]
        while seen["killed"] < kills:
            seen["killed"] += listen(words, sound, 0.5, rng)
        listen(words, sound, 0.0, rng)
    lines = [json.loads(line) for line in (state / "journal.jsonl").open()]
    written = [message for line in lines for message in line.get("messages", ())]
    ids = [message["id"] for message in written]
    with table.open(newline="") as stream:
        rows = [row["id"] for row in csv.DictReader(stream)]
    posted = [line.split()[1] for line in (work / "live_posted").open()]
    opened = [message for message in written if message["kind"] == "open"]
    seen["windows"], seen["messages posted again"] = len(ids), len(posted) - len(set(posted))
    good = len(opened) == 1 and len(ids) == len(set(ids)) and rows == ids and set(posted) == set(ids)
    seen["BROKEN"] += not good
    return seen


def run(kills: int, work: Path, seed: int = 0) -> dict[str, Counter[str]]:
    """Do a fifth of the kills in each of the five commands and return what was seen."""
    rng = random.Random(seed)
    healthy, more, new = (recordings(work / name, 40, i) for name, i in (("h", 0), ("m", 100), ("n", 200)))
    banks = work / "banks"
    fit = ["--machine", "m", "--out", str(banks), "--window", "1s"]
    finish(["fit", str(healthy), *fit])
    bank, each = banks / "m", -(-kills // 5)
    return {
        "fit": trial_bank(["fit", str(more), *fit], bank, each, rng),
        "bank add": trial_bank(["bank", "add", str(bank), str(more)], bank, each, rng),
        "score": trial_score(bank, new, work, each, rng),
        "watch": trial_watch(bank, new, work, each, rng),
        "listen": trial_listen(bank, work, each, rng),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = run(args.kills, Path(folder), args.seed)
    for command, counts in results.items():
        print(f"{command:<9}", ", ".join(f"{count} {word}" for word, count in counts.items()))
    broken = sum(counts["BROKEN"] for counts in results.values())
    print(f"{sum(counts['killed'] for counts in results.values())} kills, {broken} broken")
    sys.exit(bool(broken))
