"""A small fleet for the tests, a pool without Ray, and what a dataset holds as plain rows."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from echobank.fleet.dataset import VectorDataset
from echobank.fleet.location import Location
from tests.machines.sounds import hum, with_tone, write

ROOT = Path(__file__).parents[2]
ENCODER = "model.embedding=logmel_stats"
SET = ("--set", ENCODER)
WINDOW = ("--window", "2s")


def small_fleet(root, machines=3, days=2, clips=4):
    """Write `{machine}/{date}/<n>.wav` of 4 s; the last machine has a tone in its last recording."""
    for m in range(machines):
        for d in range(days):
            for i in range(clips):
                sound = hum(4.0, seed=1000 * m + 100 * d + i, speed=40 + 5 * m)
                if (m, d, i) == (machines - 1, days - 1, clips - 1):
                    sound = with_tone(sound, 1.0, 3.0)
                write(root / f"pump{m}" / f"2026-03-0{d + 1}" / f"{i}.wav", sound)
    return root


class InProcess:
    """Does the tasks one after the other in this process, and counts them."""

    def __init__(self, worker):
        self.worker, self.asked, self.tasks = worker, 0, []

    def first(self):
        self.asked += 1
        return self.worker.ready()

    def map(self, tasks):
        for task in tasks:
            self.tasks.append(task)
            yield task, self.worker.do(task)


def heard_in(dataset, key=""):
    """Return {(machine, day, recording): Heard} of a dataset, and fail where a recording is there twice."""
    stored = VectorDataset(Location(str(dataset)))
    made = stored.only(key)
    found = {}
    for machine in stored.machines(made.key):
        for day in stored.days(made.key, machine):
            files = stored.shards(made.key, machine, day)
            twice = Counter(name for file in files for name in names_in(stored, file))
            assert not [name for name, count in twice.items() if count > 1]
            for entry in stored.entries(made, machine, day):
                found[machine, day, entry.recording] = entry.heard
    return found


def names_in(stored, file):
    from echobank.fleet.shards import known_in

    with stored.at.at_hand(file.name) as path:
        return [(item, version, recording) for item, version, recording, _ in known_in(path)]


def same_heard(one, other):
    """Tell whether two recordings were heard equal, bit for bit."""
    arrays = ("vectors", "profiles", "starts", "lengths", "levels", "traits")
    if one.error or other.error:
        return one.error == other.error and str(one.path) == str(other.path)
    words = ("path", "sha256", "sound_sha256", "source_rate", "seconds", "flags")
    return all(getattr(one, name) == getattr(other, name) for name in words) and all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and np.array_equal(getattr(one, name), getattr(other, name))
        for name in arrays
    )


def plain_loop(source, seconds=2.0, hop=1.0):
    """Return {recording: Heard} by the listener alone."""
    from echobank.machines.fit import machine_config, make_listener

    listener = replace(make_listener(machine_config(None, [ENCODER]), seconds, hop), traits=True)
    paths = sorted(path for path in Path(source).rglob("*.wav"))
    heard = listener.hear(paths)
    return {path.relative_to(source).as_posix(): one for path, one in zip(paths, heard, strict=True)}


def processes():
    """Yield number and command line of each process."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue


def descendants(pid):
    """Return a process and those below it."""
    parents = {}
    for number, _ in processes():
        try:
            parents[number] = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def program(name, *arguments, before=()):
    """Run one of `tests.fleet.programs` and return what it says."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [*before, sys.executable, "-m", "tests.fleet.programs", name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])
