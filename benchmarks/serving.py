"""What the benchmarks of the service share: a bank of invented noise, a service, and a client that costs little."""

import asyncio
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import requests
import soundfile

RATE = 16_000
_READY_SECONDS = 120.0


def recording(seed: int, *, odd: bool = False, seconds: float = 2.0) -> bytes:
    """Return noise as WAV; an odd one has a tone."""
    rng = np.random.default_rng(seed)
    noise = 0.05 * rng.standard_normal(round(seconds * RATE))
    tone = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(len(noise)) / RATE)
    file = io.BytesIO()
    soundfile.write(file, noise + tone if odd else noise, RATE, format="WAV")
    return file.getvalue()


def fit(work: Path, *, encoder: str = "logmel_stats", seconds: float = 2.0) -> Path:
    """Return a folder of banks with one machine, `pump`."""
    (work / "healthy").mkdir(parents=True)
    for i in range(24):
        (work / "healthy" / f"{i:02d}.wav").write_bytes(recording(10_000_000 + i, seconds=seconds))
    words = ["fit", str(work / "healthy"), "--machine", "pump", "--out", str(work / "banks")]
    words += ["--window", f"{seconds:g}s", "--set", f"model.embedding={encoder}"]
    subprocess.run([sys.executable, "-m", "echobank", *words], check=True, capture_output=True)
    return work / "banks"


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(address: str, *words: object) -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a service once it answers, and end it."""
    command = [sys.executable, "-m", "echobank", "serve", *map(str, words), "--bind", address.rpartition("/")[2]]
    child = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + _READY_SECONDS
        while True:
            if child.poll() is not None or time.monotonic() > end:
                assert child.stderr
                raise SystemExit(f"the service does not start: {child.stderr.read().decode()}")
            try:
                if requests.get(f"{address}/healthz", timeout=5).ok:
                    break
            except requests.RequestException:
                time.sleep(0.1)
        yield child
    finally:
        child.terminate()
        child.wait(30)


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and its children that have ended, by /proc (Linux)."""
    facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, facts[11:15])) / os.sysconf("SC_CLK_TCK")


async def post_all(port: int, path: str, bodies: Sequence[tuple[str, bytes]], clients: int) -> list[float]:
    """Post bodies over so many connections that stay open, and return how long each answer took.

    A client of plain bytes, so that the processor is left to the server.

    Args:
        port: On loopback.
        path: Of the route.
        bodies: (idempotency key, JSON) of each request.
        clients: Connections.

    Raises:
        SystemExit: An answer that is not 200.
    """
    waiting, took = iter(bodies), list[float]()

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for key, body in waiting:
            begun = time.perf_counter()
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            head += f"Idempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(int(length.partition(b":")[2]))
            if b" 200 " not in answer[:20]:
                raise SystemExit(f"refused: {answer.decode()}{body.decode()}")
            took.append(time.perf_counter() - begun)
        writer.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return took
