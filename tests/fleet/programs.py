"""Programs that tests run in processes of their own: clusters that lose a node, or the only one.

python -m tests.fleet.programs nodes SOURCE OUT     two nodes with a GPU and one without; a GPU node is lost
python -m tests.fleet.programs raylet SOURCE OUT    a local run that loses its raylet

Each prints one line of JSON at the end.
"""

import json
import os
import signal
import sys
import time
from functools import partial

from echobank.errors import EchobankError
from echobank.fleet import cluster
from echobank.fleet.catalog import catalog_of
from echobank.fleet.cluster import PoolSettings, RayPool
from echobank.fleet.embed_run import EmbedRun
from echobank.fleet.embedding import EmbedSettings, EmbedWorker
from echobank.fleet.location import Location
from echobank.machines.fit import machine_config
from tests.fleet.support import ENCODER, descendants, processes

_AFTER = 4  # recordings that are done when the blow falls


class SlowWorker(EmbedWorker):
    """Takes its time, so that a kill finds it at work."""

    def do(self, shard):
        time.sleep(0.3)
        return super().do(shard)


class Where:
    """Says on which node it is."""

    def ready(self):
        return None

    def do(self, task):
        import ray

        return ray.get_runtime_context().get_node_id()


def settings_for(source, out, *overrides):
    config = machine_config(None, [ENCODER, *overrides])
    return EmbedSettings(config, 2.0, 1.0, Location(str(source)), Location(str(out)))


def embed_slowly(source, out, pool_settings, blow):
    """Embed with slow workers; the blow falls after some recordings."""
    settings = settings_for(source, out)
    fallen = []

    def see(pace):
        if pace.done >= _AFTER and not fallen:
            fallen.append(True)
            blow()

    with RayPool(partial(SlowWorker, settings), pool_settings) as pool:
        return EmbedRun(settings, catalog_of(Location(source)), 1).run(pool, see)


def nodes(source, out):
    """Place actors on nodes with a GPU, then lose one of them in the middle of the work."""
    import ray
    from ray.cluster_utils import Cluster

    here = Cluster()
    here.add_node(num_cpus=1, object_store_memory=80 << 20)
    gpus = [here.add_node(num_cpus=2, num_gpus=1, object_store_memory=80 << 20) for _ in range(2)]
    names = [node.node_id for node in gpus]
    ray.init(address=here.address, log_to_driver=False, logging_level="error")
    two = PoolSettings(actors=2, gpus=1.0)
    with RayPool(Where, two) as pool:
        pool.fill()
        landed = [node for _, node in pool.map(range(8))]
    tally = embed_slowly(source, out, two, lambda: here.remove_node(gpus.pop(), allow_graceful=False))
    return {"gpu": names, "landed": landed, "lost": len(tally.lost), "shards": tally.shards}


def raylet(source, out):
    """Kill the raylet in the middle of the work."""
    cluster._LOOK_SECONDS = 0.5
    os.environ |= {f"RAY_health_check_{name}": value for name, value in _HEALTH.items()}

    def blow():
        below = descendants(os.getpid())
        (found,) = (pid for pid, words in processes() if pid in below and "raylet/raylet" in words)
        os.kill(found, signal.SIGKILL)

    try:
        embed_slowly(source, out, PoolSettings(actors=2), blow)
    except EchobankError as error:
        return {"said": str(error)}
    return {"said": ""}


_HEALTH = {"initial_delay_ms": "0", "period_ms": "300", "timeout_ms": "300", "failure_threshold": "2"}

if __name__ == "__main__":
    sys.stdout.write(json.dumps({"nodes": nodes, "raylet": raylet}[sys.argv[1]](*sys.argv[2:])))
    sys.stdout.flush()
    os._exit(0)  # not after what is left of the cluster has been waited for
