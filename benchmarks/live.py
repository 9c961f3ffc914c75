"""Live listening: processor time while nothing answers, and memory and speed of an hour of stream time replayed fast.

    python benchmarks/live.py

The bank is one of invented noise; the encoder is the one that `fit` takes. Processor time is that of the listener and
its children, by /proc (Linux).
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
NOWHERE = ("rtsp://127.0.0.1:9/live", "mic:not-there")  # a port where nobody answers, a device that is not there


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process and its children that have ended."""
    facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, facts[11:15])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int, what: str) -> float:
    """Return a figure of the memory of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def fit(work: Path) -> Path:
    """Return the bank of some invented noise."""
    rng = np.random.default_rng(0)
    (work / "healthy").mkdir()
    for i in range(24):
        soundfile.write(work / "healthy" / f"{i}.wav", 0.1 * rng.standard_normal(20 * RATE), RATE)
    words = ["fit", str(work / "healthy"), "--machine", "m", "--out", str(work / "banks")]
    subprocess.run([sys.executable, "-m", "echobank", *words], check=True, capture_output=True)
    return work / "banks" / "m"


def listen(bank: Path, *words: str, **more: object) -> "subprocess.Popen[bytes]":
    """Start a listener."""
    command = [sys.executable, "-m", "echobank", "listen", str(bank), *words, "--quiet"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, **more)  # type: ignore[call-overload, no-any-return]


def idle(bank: Path, work: Path, source: str, seconds: float) -> str:
    """Measure a listener whose source does not answer, from 20 s after its start."""
    process = listen(bank, source, "--state", str(work / f"idle-{source[:3]}"))
    time.sleep(20)
    before, begun = processor_seconds(process.pid), time.monotonic()
    time.sleep(seconds)
    share = (processor_seconds(process.pid) - before) / (time.monotonic() - begun)
    memory = megabytes(process.pid, "VmRSS")
    process.terminate()
    process.wait()
    return f"{source:<25} {100 * share:.2f} % of a core over {seconds:.0f} s, {memory:.0f} MB"


def replay(bank: Path, work: Path, minutes: int) -> str:
    """Measure a listener that hears sound on standard input as fast as it can."""
    noise = (3000 * np.random.default_rng(1).standard_normal(60 * RATE)).clip(-32768, 32767).astype("<i2").tobytes()
    words = ["-", "--rate", str(RATE), "--state", str(work / "replay"), "--heartbeat", "0"]
    process = listen(bank, *words, stdin=subprocess.PIPE)
    assert process.stdin is not None
    begun, early = time.monotonic(), 0.0
    for minute in range(minutes):
        process.stdin.write(noise)
        if minute == minutes // 6:
            early = megabytes(process.pid, "VmHWM")
    late, used = megabytes(process.pid, "VmHWM"), processor_seconds(process.pid)
    process.stdin.close()
    process.wait()
    took = time.monotonic() - begun
    speed = f"{minutes} min of sound in {took:.0f} s ({60 * minutes / took:.0f} times real time)"
    memory = f"most memory {early:.0f} MB after {minutes // 6} min, {late:.0f} MB at the end"
    return f"{speed}, {used:.0f} s of processor time; {memory}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each listener that hears nothing")
    parser.add_argument("--minutes", type=int, default=60, help="of sound that is replayed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        made = fit(place)
        for nowhere in NOWHERE:
            print(idle(made, place, nowhere, args.seconds))
        print(replay(made, place, args.minutes))
