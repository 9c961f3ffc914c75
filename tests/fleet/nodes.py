"""A worker that says on which node it is."""

import time


class Where:
    """Says where it is."""

    def ready(self):
        return None

    def do(self, task):
        import ray

        time.sleep(0.2)
        return ray.get_runtime_context().get_node_id()
