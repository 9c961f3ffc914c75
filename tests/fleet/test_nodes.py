"""Placement and size: actors land where their GPUs are, and the driver's memory does not grow with the list."""

import tracemalloc

from echobank.fleet.catalog import Listed, Partition
from echobank.fleet.embed_run import EmbedRun
from echobank.fleet.embedding import EmbedSettings, ShardDone
from echobank.fleet.location import Location
from echobank.fleet.shards import Counts
from echobank.machines.fit import machine_config, make_listener
from tests.fleet.support import ENCODER, program
from tests.fleet.test_embed import assert_as_the_plain_loop, embed
from tests.requirements import needs, require


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
@needs("netns")
def test_actors_land_on_nodes_with_gpus_and_a_lost_node_loses_nothing(source, tmp_path):
    out = tmp_path / "out"
    found = program("nodes", source, out, before=require("netns"))
    assert set(found["landed"]) <= set(found["gpu"]) and len(found["landed"]) == 8
    assert (found["lost"], found["shards"]) == (0, 25)
    assert_as_the_plain_loop(source, out)
    assert not list(out.rglob("*.tmp"))
    again, pool = embed(source, out, size=1)
    assert (pool.tasks, again.known) == ([], 25)
