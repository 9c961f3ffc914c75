"""Placement and size: actors land where their GPUs are, and the driver's memory does not grow with the list."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

from echobank.fleet.catalog import Listed, Partition
from echobank.fleet.embed_run import EmbedRun
from echobank.fleet.embedding import EmbedSettings, ShardDone
from echobank.fleet.location import Location
from echobank.fleet.shards import Counts
from echobank.machines.fit import machine_config, make_listener
from tests.fleet.support import ENCODER
from tests.requirements import needs

ROOT = Path(__file__).parents[2]
NODES = """
import json, os, sys, time
import ray
from ray.cluster_utils import Cluster
from echobank.fleet.cluster import Lost, PoolSettings, RayPool
from tests.fleet.nodes import Where

cluster = Cluster()
cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
gpus = [cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=80 << 20) for _ in range(2)]
names = [node.node_id for node in gpus]
ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
with RayPool(Where, PoolSettings(actors=2, gpus=1.0)) as pool:
    pool.fill()
    done = []
    for task, found in pool.map(range(12)):
        done.append((task, "" if isinstance(found, Lost) else found))
        if len(done) == 4:
            cluster.remove_node(gpus.pop(), allow_graceful=False)
print(json.dumps({"gpu": names, "done": done}))
os._exit(0)
"""


class FakeCatalog:
    """Lists names that nobody reads."""

    def __init__(self, count, per_partition=1000):
        self.count, self.per_partition = count, per_partition

    def partitions(self, left_out):
        for begin in range(0, self.count, self.per_partition):
            number = begin // self.per_partition
            machine, day = f"machine{number % 10:04d}", f"day{number // 10:04d}"
            names = range(begin, begin + self.per_partition)
            yield Partition(machine, day, tuple(Listed(f"{machine}/{day}/{i}.wav", f"{i}-1", 1) for i in names))


class NoWork:
    """Says that everything is done."""

    def __init__(self, provenance):
        self.provenance, self.items = provenance, 0

    def first(self):
        return self.provenance

    def map(self, tasks):
        for task in tasks:
            self.items += len(task.items)
            yield task, ShardDone(Counts(len(task.items)))


def peak_of(count, folder):
    config = machine_config(None, [ENCODER])
    settings = EmbedSettings(config, 10.0, 5.0, Location(str(folder)), Location(str(folder / f"out{count}")))
    pool = NoWork(make_listener(config, 10.0, 5.0).provenance)
    tracemalloc.start()
    try:
        EmbedRun(settings, FakeCatalog(count)).run(pool)
        return tracemalloc.get_traced_memory()[1], pool.items
    finally:
        tracemalloc.stop()


def test_the_memory_of_the_driver_does_not_grow_with_the_list(tmp_path):
    peak_of(1_000, tmp_path)  # what is imported on the way
    few, items = peak_of(5_000, tmp_path)
    many, more = peak_of(50_000, tmp_path)
    assert (items, more) == (5_000, 50_000)
    assert many < few + 2**20


@needs("ray")
@needs("linux")
def test_actors_land_on_nodes_with_gpus_and_a_lost_node_loses_no_task():
    import json

    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-c", NODES], capture_output=True, text=True, timeout=120, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert sorted(task for task, _ in answer["done"]) == list(range(12))
    assert {node for _, node in answer["done"]} <= set(answer["gpu"])
