"""Synthetic machines on the page of the service; one of them develops a fault while you look, and is repaired again.

    python scripts/serve_demo.py [--out demo/serve] [--port 8080]

Scores on these machines mean nothing about real ones. End it with Ctrl-C.
"""

import argparse
import itertools
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from echobank.cli import main
from echobank.data.synthesis.machine_types import find_machine, record
from echobank.data.synthesis.signals import RATE, Fault

MACHINES = {
    "Fan 3": "fan",
    "Gearbox 12": "gearbox",
    "Pump bearing B": "bearing",
    "Slide 2": "slider",
    "Valve 7": "valve",
}
FAULTY, FAULT_FOR, HEALTHY_FOR = "Pump bearing B", 120.0, 100.0  # seconds
SECONDS, HEALTHY, WINDOW = 6.0, 40, "6s"


def clip(name: str, number: int, severity: float = 0.0) -> bytes:
    """Return a recording of a machine as WAV; the same number gives the same sound."""
    machine = find_machine(MACHINES[name])
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    fault = Fault(machine.faults[0], severity) if severity > 0 else None
    samples = record(machine, 0, machine.source[0], fault, SECONDS, rng) + severity * squeal(rng)
    stream = BytesIO()
    soundfile.write(stream, samples, RATE, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def squeal(rng: np.random.Generator) -> np.ndarray:
    """Return what is heard of a bearing that runs dry: a whistle that comes and goes, float[T]."""
    t = np.arange(round(SECONDS * RATE)) / RATE
    phase = 2 * np.pi * 3100 * t + 18 * np.sin(2 * np.pi * 1.1 * t)
    swell = np.clip(np.sin(2 * np.pi * (t / 2.4 + rng.uniform())), 0, 1) ** 0.5
    whistle: np.ndarray = 0.02 * swell * (np.sin(phase) + 0.4 * np.sin(2 * phase))
    return whistle


def prepare(out: Path, machines: Sequence[str]) -> None:
    """Fit every machine that has no bank yet."""
    for name in machines:
        healthy = out / "healthy" / name
        if (out / "banks" / name / "bank.safetensors").exists():
            continue
        healthy.mkdir(parents=True, exist_ok=True)
        for number in range(HEALTHY):
            (healthy / f"{number:02d}.wav").write_bytes(clip(name, number))
        fit = ["fit", str(healthy), "--machine", name, "--out", str(out / "banks"), "--window", WINDOW]
        if main([*fit, "--far", "0.025"]):
            raise SystemExit(f"{name} could not be fitted")


def severity_at(seconds: float, after: float) -> float:
    """Return how bad the fault is: nothing, then growing, then repaired; over and over."""
    inside = (seconds - after) % (FAULT_FOR + HEALTHY_FOR)
    return min(1.0, 0.3 + inside / 60) if seconds > after and inside < FAULT_FOR else 0.0


def feed(address: str, alive: subprocess.Popen[bytes], machines: Sequence[str], pause: float, after: float) -> None:
    """Send recordings of every machine in turn until the service ends."""
    begin = time.monotonic()
    for number in itertools.count(int(time.time())):
        for name in machines:
            severity = severity_at(time.monotonic() - begin, after) if name == FAULTY else 0.0
            where = f"{address}/api/machines/{urllib.parse.quote(name)}/recordings?file={number}.wav"
            request = urllib.request.Request(where, clip(name, number, severity), {"Idempotency-Key": str(number)})
            try:
                urllib.request.urlopen(request, timeout=60).close()
            except OSError as error:
                if alive.poll() is not None:
                    return
                print(error, file=sys.stderr)
            time.sleep(pause / len(machines))


def run() -> int:
    """Fit, serve and feed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo/serve"), help="folder (default: demo/serve)")
    parser.add_argument("--port", type=int, default=8080, help="port on 127.0.0.1 (default: 8080)")
    parser.add_argument("--machines", nargs="+", choices=list(MACHINES), default=list(MACHINES), metavar="NAME")
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between recordings of one machine")
    parser.add_argument("--after", type=float, default=25.0, help="seconds until the fault begins")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    prepare(args.out, args.machines)
    address = f"http://127.0.0.1:{args.port}"
    serve = [sys.executable, "-m", "echobank", "serve", str(args.out / "banks"), "--data", str(args.out / "data")]
    with subprocess.Popen([*serve, "--bind", f"127.0.0.1:{args.port}", "--k-of-n", "2/3"]) as service:
        try:
            while service.poll() is None and not answers(address):
                time.sleep(0.2)
            if service.poll() is not None:
                return service.returncode
            said = f"{FAULTY} gets a fault in about {args.after:.0f} seconds"
            print(f"\nopen {address} - {said}; Ctrl-C ends it\n", flush=True)
            feed(address, service, args.machines, args.pause, args.after)
        except KeyboardInterrupt:
            pass
        finally:
            service.terminate()
    return 0


def answers(address: str) -> bool:
    """Return whether the service answers."""
    try:
        return bool(urllib.request.urlopen(f"{address}/healthz", timeout=2).status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(run())
