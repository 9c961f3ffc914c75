"""Kill `echobank serve` while clients upload with retries, and look for what is lost, doubled or torn.

Eight clients send recordings, each under an idempotency key of its own, until they are answered; some repeat what was
answered already. Meanwhile the service is ended by SIGKILL and started again. What must hold: every answered upload is
there exactly once, as it was answered; the sound of every anomalous one can be read and is what was sent; the database
is sound; nothing is left of uploads that were cut off.

    python benchmarks/kill_serve.py --uploads 1000 --kills 5
    python benchmarks/kill_serve.py --uploads 1000 --kills 5 --database postgresql://USER@HOST/NAME
"""

import argparse
import hashlib
import io
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import soundfile
from serving import RATE, fit, free_port, recording, running

_REPEATED = 0.1  # share of answered uploads that are sent once more


@dataclass
class Trial:
    """What the clients saw.

    Attributes:
        address: Of the service.
        answers: Answer of each key.
        sent: SHA-256 of the recording of each key.
        told: Counts: requests, those that were cut off, those that were refused, those that were repeated.
        wrong: What must not be.
    """

    address: str
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    told: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    gate: threading.Lock = field(default_factory=threading.Lock)


def upload(trial: Trial, key: str, content: bytes, again: bool) -> None:
    """Send one recording until it is answered."""
    url, headers = f"{trial.address}/api/machines/pump/recordings", {"Idempotency-Key": key}
    trial.sent[key] = hashlib.sha256(content).hexdigest()
    with requests.Session() as session:
        end = time.monotonic() + 600
        while time.monotonic() < end:
            try:
                answer = session.post(url, data=content, headers=headers, timeout=60)
            except requests.RequestException:
                outcome = "cut off"
            else:
                outcome = {200: "answered", 503: "refused"}.get(answer.status_code, f"status {answer.status_code}")
            with trial.gate:
                trial.told[outcome] += 1
            if outcome.startswith("status"):
                trial.wrong.append(f"{key}: {outcome}: {answer.text}")
                return
            if outcome == "answered":
                before = trial.answers.setdefault(key, answer.json())
                if before != answer.json():
                    trial.wrong.append(f"{key}: answered in two ways")
                if not again:
                    return
                again = False
                continue
            time.sleep(0.1)
    trial.wrong.append(f"{key}: no answer in ten minutes")


def attack(trial: Trial, words: list[object], uploads: int, clients: int, kills: int, rng: random.Random) -> float:
    """Upload everything and kill the service meanwhile; return how long its starts took together."""
    waiting, starting = iter(range(uploads)), 0.0
    repeated = {i for i in range(uploads) if rng.random() < _REPEATED}

    def work() -> None:
        while True:
            with trial.gate:
                i = next(waiting, None)
            if i is None:
                return
            upload(trial, f"key-{i}", recording(i, odd=i % 4 == 0), i in repeated)

    with ThreadPoolExecutor(clients) as pool:
        futures = [pool.submit(work) for _ in range(clients)]
        for kill in range(kills):
            begun = time.monotonic()
            with running(trial.address, *words) as child:
                starting += time.monotonic() - begun
                while len(trial.answers) < (kill + 1) * uploads // (kills + 1) and not all(f.done() for f in futures):
                    time.sleep(0.02)
                time.sleep(rng.uniform(0, 0.2))
                child.kill()
                child.wait()
        with running(trial.address, *words):
            for future in futures:
                future.result()
    return starting


def check(trial: Trial, folder: Path, url: str) -> dict[str, int]:
    """Compare what is stored with what was answered, and return counts."""
    from sqlalchemy import func, select

    from echobank.serve.database import open_database
    from echobank.serve.schema import clips, messages, receipts, windows

    engine = open_database(url)
    with engine.connect() as connection:
        kept = {row.key: row for row in connection.execute(select(receipts))}
        files = {row.id: row.file for row in connection.execute(select(clips))}
        heard = [row.clip for row in connection.execute(select(windows.c.clip))]
        told = connection.execute(select(func.count(), func.count(messages.c.id.distinct()))).one()
        whole = connection.exec_driver_sql("PRAGMA integrity_check").scalar() if url.startswith("sqlite") else "ok"
    engine.dispose()
    wrong = trial.wrong
    wrong += [f"integrity check: {whole}"] * (whole != "ok")
    wrong += [f"{key}: answered, and not stored" for key in trial.answers if key not in kept]
    wrong += [f"{key}: stored otherwise" for key, it in trial.answers.items() if key in kept and kept[key].answer != it]
    expected = sum(len(row.answer["verdicts"]) for row in kept.values())
    wrong += [f"{len(heard)} windows in place of {expected}"] * (len(heard) != expected)
    wrong += ["a message is there twice"] * (told[0] != told[1])
    for key, answer in trial.answers.items():
        if bool(answer["anomalous"]) != bool(answer["clip"]):
            wrong.append(f"{key}: anomalous without sound, or sound without need")
        elif answer["clip"]:
            _check_clip(key, folder / "clips" / files.get(answer["clip"], "?"), trial)
    left = [path.name for path in (folder / "incoming").iterdir()]
    left += [path.name for path in (folder / "clips").iterdir() if path.name not in set(files.values())]
    wrong += [f"left over: {name}" for name in left]
    return {"receipts": len(kept), "windows": len(heard), "messages": told[0], "clips": len(files)}


def _check_clip(key: str, file: Path, trial: Trial) -> None:
    try:
        content = file.read_bytes()
        frames = len(soundfile.read(io.BytesIO(content))[0])
    except (OSError, RuntimeError) as error:
        trial.wrong.append(f"{key}: its sound cannot be read ({error})")
        return
    if hashlib.sha256(content).hexdigest() != trial.sent[key] or frames != 2 * RATE:
        trial.wrong.append(f"{key}: its sound is not what was sent")


def trial_of(work: Path, uploads: int, clients: int, kills: int, database: str, seed: int) -> tuple[Trial, list[str]]:
    """Run one trial in a folder, and return what the clients saw and lines for people."""
    trial, begun = Trial(f"http://127.0.0.1:{free_port()}"), time.monotonic()
    words: list[object] = [fit(work), "--data", work / "data", *(["--database", database] if database else [])]
    starting = attack(trial, words, uploads, clients, kills, random.Random(seed))
    counts = check(trial, work / "data", database or f"sqlite:///{work / 'data' / 'echobank.db'}")
    lines = [
        f"{len(trial.answers)} of {uploads} uploads answered, {kills} kills, {time.monotonic() - begun:.0f} s",
        f"requests: {dict(trial.told)}; starts took {starting:.0f} s",
        f"stored: {counts}",
        *trial.wrong[:20],
        f"wrong: {len(trial.wrong)}",
    ]
    return trial, lines


def main() -> int:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--database", default="", metavar="URL", help="an empty PostgreSQL database (default: SQLite)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="echobank-kill-") as work:
        trial, lines = trial_of(Path(work), args.uploads, args.clients, args.kills, args.database, args.seed)
    print(*lines, sep="\n")
    return int(bool(trial.wrong) or len(trial.answers) != args.uploads)


if __name__ == "__main__":
    sys.exit(main())
