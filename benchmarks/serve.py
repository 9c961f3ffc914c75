"""The service: uploads against `echobank score`, verdicts against a bare endpoint, listeners, the page.

    python benchmarks/serve.py uploads
    python benchmarks/serve.py verdicts
    python benchmarks/serve.py listeners
    python benchmarks/serve.py page          # 1e7 rows: some minutes and 4 GB of disk; see benchmarks/serve_page.py

Each is run on SQLite; `--database URL` names an empty PostgreSQL database instead. Rounds are interleaved.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import requests
from serve_page import page
from serving import fit, free_port, post_all, processor_seconds, recording, running


def uploads(work: Path, database: list[str], args: argparse.Namespace) -> None:
    """Upload recordings from some clients, and score the same files by the command."""
    banks = fit(work, encoder=args.encoder, seconds=args.seconds)
    files = []
    (work / "new").mkdir()
    for i in range(args.recordings):
        files.append(work / "new" / f"{i:04d}.wav")
        files[-1].write_bytes(recording(i, odd=i % 50 == 0, seconds=args.seconds))
    address = f"http://127.0.0.1:{free_port()}"
    found: dict[str, list[float]] = {"score": [], "serve": []}
    with running(address, banks, "--data", work / "data", *database):
        for turn in range(args.rounds):
            command = ["score", str(banks / "pump"), str(work / "new"), "--out", str(work / f"{turn}.csv")]
            begun = time.perf_counter()
            done = subprocess.run([sys.executable, "-m", "echobank", *command], capture_output=True, text=True)
            found["score"].append(len(files) / (time.perf_counter() - begun))
            if done.returncode not in (0, 1):
                raise SystemExit(done.stderr)
            begun = time.perf_counter()
            with ThreadPoolExecutor(args.clients) as pool:
                list(pool.map(lambda file, turn=turn: _upload(address, file, turn), files))
            found["serve"].append(len(files) / (time.perf_counter() - begun))
    said = {name: f"{statistics.median(speeds):.1f}" for name, speeds in found.items()}
    ratios = [ours / theirs for ours, theirs in zip(found["serve"], found["score"], strict=True)]
    print(f"{args.encoder}, recordings of {args.seconds:g} s: score {said['score']}/s, serve {said['serve']}/s")
    print("ratio per round: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))


_sessions = threading.local()


def _upload(address: str, file: Path, turn: int) -> None:
    if not hasattr(_sessions, "it"):
        _sessions.it = requests.Session()
    headers = {"Idempotency-Key": f"{turn}-{file.name}"}
    url = f"{address}/api/machines/pump/recordings?file={file.name}"
    answer = _sessions.it.post(url, data=file.read_bytes(), headers=headers, timeout=60)
    if answer.status_code != 200:
        raise SystemExit(f"refused: {answer.text}")


BARE = """
import sqlite3, sys
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

class Verdict(BaseModel):
    file: str
    score: float
    p_value: float
    decision: int

class Verdicts(BaseModel):
    threshold: float
    verdicts: list[Verdict]

app = FastAPI()
base = None

@app.post("/verdicts")
async def post(body: Verdicts):
    for it in body.verdicts:
        base.execute("INSERT INTO rows (file, score, p_value, decision) VALUES (?, ?, ?, ?)",
                     (it.file, it.score, it.p_value, it.decision))
    base.commit()
    return {"stored": len(body.verdicts)}

@app.get("/healthz")
async def healthz():
    return {}

base = sqlite3.connect(sys.argv[1])
base.execute("PRAGMA journal_mode = WAL")
base.execute("PRAGMA synchronous = FULL")
base.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, file TEXT, score REAL, p_value REAL, decision INTEGER)")
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
"""
BARE_POSTGRESQL = (
    BARE.replace("import sqlite3, sys", "import sys, psycopg")
    .replace("(?, ?, ?, ?)", "(%s, %s, %s, %s)")
    .partition("base = sqlite3")[0]
    + """
base = psycopg.connect(sys.argv[1].replace("+psycopg", ""))
base.execute("CREATE TABLE bare (id BIGSERIAL PRIMARY KEY, file TEXT, score FLOAT, p_value FLOAT, decision INTEGER)")
base.commit()
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
"""
).replace("INTO rows", "INTO bare")


@contextmanager
def bare(work: Path, database: list[str]) -> Iterator[tuple[int, int]]:
    """Yield port and process of a FastAPI application that does nothing but commit one row per request."""
    code, where = (BARE_POSTGRESQL, database[-1]) if database else (BARE, str(work / "bare.db"))
    (work / "bare.py").write_text(code)
    port = free_port()
    child = subprocess.Popen([sys.executable, str(work / "bare.py"), where, str(port)])
    try:
        while True:
            try:
                requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5)
                break
            except requests.RequestException:
                time.sleep(0.1)
        yield port, child.pid
    finally:
        child.terminate()
        child.wait()


def verdicts(work: Path, database: list[str], args: argparse.Namespace) -> None:
    """Post verdicts to the service and to the bare application, in turns."""
    body = {"file": "a.wav", "score": 1.0, "p_value": 0.5, "decision": 0}
    text = json.dumps({"threshold": 9.0, "verdicts": [body]}).encode()
    port = free_port()
    found: dict[str, list[float]] = {"bare": [], "serve": []}
    cost: dict[str, list[float]] = {"bare": [], "serve": []}
    words: list[object] = [fit(work), "--data", work / "data", *database]
    with bare(work, database) as (other, rival), running(f"http://127.0.0.1:{port}", *words) as child:
        for turn in range(args.rounds + 1):
            for name, process, where, path in (
                ("bare", rival, other, "/verdicts"),
                ("serve", child.pid, port, "/api/machines/mill/verdicts"),
            ):
                bodies = [(f"{turn}-{i}", text) for i in range(args.posts)]
                begun, spent = time.perf_counter(), processor_seconds(process)
                asyncio.run(post_all(where, path, bodies, args.clients))
                if turn:  # the first round warms up
                    found[name].append(args.posts / (time.perf_counter() - begun))
                    cost[name].append(1000 * (processor_seconds(process) - spent) / args.posts)
    ratios = [ours / theirs for ours, theirs in zip(found["serve"], found["bare"], strict=True)]
    for name in found:
        speed, spent = statistics.median(found[name]), statistics.median(cost[name])
        print(f"{args.clients} clients, {name}: {speed:.0f} posts/s, {spent:.2f} ms of processor per post")
    print("ratio per round: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))


def listeners(work: Path, database: list[str], args: argparse.Namespace) -> None:
    """Post verdicts at a steady pace and see when each of many listeners gets each message."""
    port = free_port()
    with running(f"http://127.0.0.1:{port}", fit(work), "--data", work / "data", *database):
        delays, counts = asyncio.run(_listen(port, args))
    print(f"{args.listeners} listeners got {min(counts)} to {max(counts)} of {args.messages} messages, in order")
    p50, p99 = np.quantile(delays, [0.5, 0.99])
    print(
        f"from the request to the listener: p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms, most {max(delays):.2f} s"
    )


async def _listen(port: int, args: argparse.Namespace) -> tuple[list[float], list[int]]:
    sent: dict[str, float] = {}
    delays: list[float] = []
    counts = [0] * args.listeners
    ready = asyncio.Semaphore(0)

    async def follow(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        last = -1
        while counts[number] < args.messages:
            line = await reader.readline()
            if not line:
                return
            if line.startswith(b"retry:"):
                ready.release()
            elif line.startswith(b"id: "):
                sequence = int(line[4:])
                if sequence <= last:
                    raise SystemExit("a listener got messages out of order")
                last = sequence
            elif line.startswith(b"data: "):
                delays.append(time.perf_counter() - sent[json.loads(line[6:])["file"]])
                counts[number] += 1
        writer.close()

    following = [asyncio.create_task(follow(number)) for number in range(args.listeners)]
    for _ in following:
        await ready.acquire()
    await asyncio.sleep(1)
    begun = time.perf_counter()
    for i in range(args.messages):
        await asyncio.sleep(max(0.0, begun + i / args.pace - time.perf_counter()))
        sent[f"{i}.wav"] = time.perf_counter()
        verdict = {"file": f"{i}.wav", "score": 1.0, "p_value": 0.5, "decision": 0}
        text = json.dumps({"threshold": 9.0, "verdicts": [verdict]}).encode()
        await post_all(port, "/api/machines/mill/verdicts", [(f"k{i}", text)], 1)
    await asyncio.wait(following, timeout=30)
    return delays, counts


def main() -> None:
    """Run one of the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["uploads", "verdicts", "listeners", "page"])
    parser.add_argument("--database", default="", metavar="URL", help="an empty PostgreSQL database (default: SQLite)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--recordings", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a recording")
    parser.add_argument("--encoder", default="logmel_stats")
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--listeners", type=int, default=50)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--pace", type=float, default=50.0, help="messages per second")
    parser.add_argument("--rows", type=float, default=1e7)
    parser.add_argument("--machines", type=int, default=200)
    args = parser.parse_args()
    database = ["--database", args.database] if args.database else []
    work_of = {"uploads": uploads, "verdicts": verdicts, "listeners": listeners, "page": page}[args.what]
    with tempfile.TemporaryDirectory(prefix="echobank-serve-") as work:
        work_of(Path(work), database, args)


if __name__ == "__main__":
    main()
