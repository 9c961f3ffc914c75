"""Kills: a run that loses its driver, an actor or a task leaves nothing broken, and the next run has every row once."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from echobank.fleet.catalog import catalog_of
from echobank.fleet.cluster import Lost, PoolSettings, RayPool
from echobank.fleet.embed_run import EmbedRun
from echobank.fleet.location import Location
from tests.fleet.programs import SlowWorker
from tests.fleet.support import SET, WINDOW, descendants, processes, program
from tests.fleet.test_embed import assert_as_the_plain_loop, embed, settings_for
from tests.requirements import needs

pytestmark = [needs("ray"), needs("linux")]


class Poisoned:
    """Dies of one task and does the others."""

    def ready(self):
        return os.getpid()

    def do(self, task):
        if task == 3:
            os._exit(1)
        return os.getpid(), task


def test_an_actor_that_is_killed_loses_nothing(ray_here, source, tmp_path):
    settings = settings_for(source, tmp_path / "out")
    run = EmbedRun(settings, catalog_of(Location(str(source))), 2)
    killed = []

    def kill(pace):
        if pace.done >= 4 and not killed:
            found = [pid for pid, words in processes() if "ray::_Actor" in words]
            killed.append(found[0])
            os.kill(found[0], signal.SIGKILL)

    with RayPool(partial(SlowWorker, settings), PoolSettings(actors=2)) as pool:
        tally = run.run(pool, kill)
    assert killed and not len(tally.lost)
    assert_as_the_plain_loop(source, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_a_task_that_kills_its_actor_each_time_is_given_up_and_the_others_go_on(ray_here):
    with RayPool(Poisoned, PoolSettings(actors=1, retries=1)) as pool:
        done = dict(pool.map(range(6)))
    assert isinstance(done.pop(3), Lost)
    assert [outcome[1] for outcome in done.values()] == [0, 1, 2, 4, 5]


def test_a_driver_that_is_killed_leaves_whole_shards_and_listens_on_loopback_only(source, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "echobank", "fleet", "embed", str(source), "--out", str(out)]
    command += [*WINDOW, *SET, "--actors", "2", "--shard", "1"]
    session = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    threading.Thread(target=session.stderr.read, daemon=True).start()
    try:
        deadline = time.monotonic() + 60
        while len(list(out.rglob("*.parquet"))) < 2 and session.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        heard = listening(descendants(session.pid))
    finally:
        session.kill()
        session.wait()
    assert heard and set(heard) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}, heard
    (out / "embeddings" / ".left.parquet.x.tmp").write_bytes(b"half a shard")  # as a kill while writing leaves it
    tally, _ = embed(source, out, size=1)
    assert tally.known + tally.new.recordings + tally.new.errors >= 25
    assert_as_the_plain_loop(source, out)
    assert not list(out.rglob("*.tmp"))


def test_a_run_that_loses_its_raylet_ends_and_the_next_goes_on(source, tmp_path):
    out = tmp_path / "out"
    said = program("raylet", source, out)["said"]
    assert "Ray lost its last node" in said and "run the command again" in said
    there = len(list(out.rglob("*.parquet")))
    assert there >= 4
    tally, pool = embed(source, out, size=1)
    assert len(pool.tasks) == 25 - there and tally.known == there
    assert_as_the_plain_loop(source, out)
    assert not list(out.rglob("*.tmp"))


def listening(pids):
    """Return the addresses on which processes listen for TCP."""
    import ipaddress

    inodes = set()
    for pid in pids:
        try:
            inodes |= {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}  # noqa: PTH115
        except OSError:
            continue
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                raw = bytes.fromhex(fields[1].partition(":")[0])
                words = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
                address = ipaddress.ip_address(words)
                mapped = getattr(address, "ipv4_mapped", None)
                addresses.append(str(mapped or address))
    return addresses


@pytest.mark.parametrize("name", ["echobank.fleet.cluster", "echobank.fleet.embed_run", "echobank.cli.fleet"])
def test_importing_the_room_imports_no_ray(name):
    code = f"import sys, {name}; assert not {{'ray', 'pyarrow', 'pandas', 'torch'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
