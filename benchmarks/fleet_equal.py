"""Fleet against the plain loop, at full size: 3,000 clips of 12 machines, on disk and on S3.

Embeddings must be bit for bit those of the plain loop for 1, 2 and 3 actors; a rerun with nothing new must start no
encoder and take less than 20 s; one new recording must be the only one that is fetched; banks must be those of
`echobank fit` but for times, and verdicts those of `echobank score`. S3 is moto's server on loopback
(ECHOBANK_MOTO_SERVER names it; without it only the disk is tried). Prints PASS or FAIL per point; exits 1 on a FAIL.

OMP_NUM_THREADS=1 ECHOBANK_MOTO_SERVER=.../moto_server python benchmarks/fleet_equal.py
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from fleet import MACHINES, RATE, synthetic, write_fleet

from echobank.detection.bank import load_bank
from echobank.fleet.dataset import VectorDataset
from echobank.fleet.location import Location
from echobank.machines.fit import machine_config, make_listener
from echobank.machines.listener import Heard

TIMES = ("added", "at")
GRID = ("--window", "10s", "--hop", "10s")
HEALTHY, SCORED = "..2026-03-03", "2026-03-04"
_failed: list[str] = []


def check(held: bool, what: str) -> None:
    """Print whether a point holds."""
    print(f"{'PASS' if held else 'FAIL'} {what}", flush=True)
    if not held:
        _failed.append(what)


def echobank(*argv: object, codes: tuple[int, ...] = (0,)) -> tuple[str, float]:
    """Run a command; return what it prints and how long it took."""
    began = time.monotonic()
    command = [sys.executable, "-m", "echobank", *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in codes:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout, time.monotonic() - began


@contextmanager
def s3_server(folder: Path) -> Iterator[Path | None]:
    """Run moto's server with a bucket "fleet", point this program's environment to it, and give its log."""
    program = os.environ.get("ECHOBANK_MOTO_SERVER")
    if not program:
        yield None
        return
    log = folder / "s3.log"
    with log.open("wb") as stream:
        server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", "0"], stdout=stream, stderr=stream)
    try:
        port = None
        while port is None and server.poll() is None:
            time.sleep(0.2)
            port = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))
        assert port, log.read_text()
        url = f"http://127.0.0.1:{port[1]}"
        urllib.request.urlopen(urllib.request.Request(f"{url}/fleet", method="PUT")).close()
        os.environ.update(AWS_ENDPOINT_URL=url, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
        os.environ.update(AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true")
        yield log
    finally:
        server.kill()
        server.wait()


def gets(log: Path) -> Counter[str]:
    """Return how often each recording was fetched."""
    return Counter(re.findall(r'GET /fleet/in/([^ ?]*\.wav)[^"]*" 20', log.read_text(errors="replace")))


def requests(log: Path) -> dict[str, int]:
    """Return how many requests there were by method and kind of object."""
    found = re.findall(r"([A-Z]+) /fleet/(in|out)\d?/", log.read_text(errors="replace"))
    return {
        f"{method} {'recordings' if kind == 'in' else 'dataset'}": n for (method, kind), n in Counter(found).items()
    }


def upload(folder: Path, place: str) -> None:
    """Copy a folder to S3."""
    from pyarrow import fs

    system, path = fs.FileSystem.from_uri(place)
    fs.copy_files(str(folder), path, source_filesystem=fs.LocalFileSystem(), destination_filesystem=system)


def stored_in(dataset: str) -> dict[str, Heard]:
    """Return what a dataset holds by the names of recordings; fails where one is there twice."""
    stored = VectorDataset(Location(dataset))
    made = stored.only()
    found: dict[str, Heard] = {}
    for machine in stored.machines(made.key):
        for day in stored.days(made.key, machine):
            for entry in stored.entries(made, machine, day):
                found[entry.recording] = entry.heard
    rows = sum(counts.windows + counts.errors for _, _, _, counts in stored.totals(made.key))
    assert rows == sum(max(1, len(heard)) for heard in found.values()), "a recording is there twice"
    return found


def same(one: Heard, other: Heard) -> bool:
    """Tell whether a recording was heard equal, bit for bit."""
    arrays = ("vectors", "profiles", "starts", "lengths", "levels", "traits")
    words = ("sha256", "sound_sha256", "source_rate", "seconds", "flags", "error")
    return all(getattr(one, name) == getattr(other, name) for name in words) and all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in arrays
    )


def embeddings(source: Path, place: str, scratch: Path, encoder: str, log: Path | None) -> None:
    """Embed with 1, 2 and 3 actors, again, and with one recording more."""
    listener = replace(make_listener(machine_config(None, [f"model.embedding={encoder}"]), 10.0, 10.0), traits=True)
    paths = sorted(source.rglob("*.wav"))
    plain = {
        path.relative_to(source).as_posix(): heard for path, heard in zip(paths, listener.hear(paths), strict=True)
    }
    where = "S3" if log else "disk"
    before: Counter[str] = Counter()
    for actors in (1, 2, 3):
        out = f"{place}/out{actors}" if log else str(scratch / f"out{actors}")
        argv = (f"{place}/in" if log else source, "--out", out, *GRID, "--set", f"model.embedding={encoder}")
        _, took = echobank("fleet", "embed", *argv, "--actors", actors)
        stored = stored_in(out)
        equal = stored.keys() == plain.keys() and all(same(stored[name], heard) for name, heard in plain.items())
        check(
            equal,
            f"{where}: {len(stored)} embeddings of {actors} actors equal the plain loop ({took:.0f} s)",
        )
        if log:
            fetched = gets(log) - before
            before = gets(log)
            once = fetched == Counter(dict.fromkeys(plain, 1))
            check(once, f"{where}: {len(fetched)} recordings fetched once each; requests so far: {requests(log)}")
    said, took = echobank("fleet", "embed", *argv, "--actors", 3)
    nothing = "nothing new" in said and "no encoder was started" in said
    check(nothing and took < 20, f"{where}: a rerun with nothing new starts no encoder, {took:.1f} s")
    late = "machine05/2026-03-02/late.wav"
    (scratch / "late" / late).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(scratch / "late" / late, synthetic(5, 10**6), RATE)
    if log:
        upload(scratch / "late", f"{place}/in")
    else:
        shutil.copyfile(scratch / "late" / late, source / late)
    said, took = echobank("fleet", "embed", *argv, "--actors", 3)
    fetched = gets(log) - before if log else Counter({late: 1})
    alone = said.startswith("1 recording embedded") and fetched == Counter({late: 1})
    check(
        alone,
        f"{where}: one new recording is embedded alone ({took:.1f} s; fetched: {dict(fetched) if log else 'disk'})",
    )
    (source / late).unlink(missing_ok=True)


def without_times(value: Any) -> Any:
    """Return plain values without times."""
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list | tuple) else value


def bank_facts(path: Path, places: tuple[str, ...]) -> Any:
    """Return everything that a bank holds but times, with names that begin at the source."""
    bank = load_bank(path)
    arrays = [bank.vectors, *(bank.extras[name] for name in sorted(bank.extras)), *vars(bank.own).values()]
    header = without_times(bank.header.to_header())
    text = repr((header, [without_times(asdict(row)) for row in bank.rows], sorted(bank.extras)))
    for place in places:
        text = text.replace(place, "SOURCE")
    return text, [np.asarray(array).tobytes() for array in arrays if array is not None]


def banks_and_scores(source: Path, place: str, scratch: Path, encoder: str, remote: bool) -> None:
    """Fit and score a fleet, and each machine by itself."""
    where = "S3" if remote else "disk"
    root = Location(place if remote else str(scratch))
    dataset, banks, out = root.below("out1"), root.below("banks"), root.below("verdicts")
    fit = ("fleet", "fit", dataset.uri, "--out", banks.uri, "--days", HEALTHY)
    echobank(*fit)
    score = ("fleet", "score", dataset.uri, "--banks", banks.uri, "--out", out.uri, "--days", SCORED)
    echobank(*score, codes=(0, 1, 3))
    places = str(source), f"{place}/in"
    banks_equal = scores_equal = 0
    rows = 0
    for number in range(MACHINES):
        name = f"machine{number:02d}"
        healthy = scratch / "healthy" / name
        own = scratch / "own"
        if not own.joinpath(name).exists():
            for day in sorted(path for path in (source / name).iterdir() if path.name != SCORED):
                shutil.copytree(day, healthy / day.name, copy_function=os.link)
            argv = (*GRID, "--tags", "none", "--set", f"model.embedding={encoder}")
            echobank("fit", healthy, "--machine", name, "--out", own, *argv)
        with banks.at_hand(f"{name}/bank.safetensors") as path:
            facts = bank_facts(path, places)
        banks_equal += facts == bank_facts(own / name / "bank.safetensors", (str(scratch / "healthy"),))
        equal, count = _same_verdicts(own / name, source / name / SCORED, out, name, scratch, places)
        scores_equal += equal
        rows += count
    check(banks_equal == MACHINES, f"{where}: {banks_equal} of {MACHINES} banks equal echobank fit but for times")
    check(scores_equal == MACHINES, f"{where}: {scores_equal} of {MACHINES} tables equal echobank score, {rows} rows")


def _same_verdicts(
    bank: Path, recordings: Path, out: Location, machine: str, scratch: Path, places: tuple[str, ...]
) -> tuple[bool, int]:
    import pyarrow.parquet as pq

    table = scratch / f"{machine}.parquet"
    if not table.exists():
        echobank("score", bank, recordings, "--out", table, codes=(0, 1, 3))
    own = pq.read_table(table, partitioning=None).to_pylist()
    (file,) = out.files(f"machine={machine}/day={SCORED}")
    with out.at_hand(file.name) as path:
        found = pq.read_table(path, partitioning=None).to_pylist()
    for row in (*own, *found):
        for place in places:
            row["file"] = row["file"].replace(place, "SOURCE")
    return found == own, len(own)


def main() -> None:
    """Write the recordings and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--encoder", default="logmel_stats")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve()
        source = write_fleet(scratch / "in", args.clips)
        embeddings(source, "", scratch, args.encoder, None)
        banks_and_scores(source, "", scratch, args.encoder, remote=False)
        with s3_server(scratch) as log:
            if log is None:
                print("no S3 server: set ECHOBANK_MOTO_SERVER")
            else:
                upload(source, "s3://fleet/in")
                embeddings(source, "s3://fleet", scratch, args.encoder, log)
                banks_and_scores(source, "s3://fleet", scratch, args.encoder, remote=True)
    raise SystemExit(1 if _failed else 0)


if __name__ == "__main__":
    main()
