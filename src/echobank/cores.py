"""How many processor cores this process may use."""

import os


def core_count() -> int:
    """Return the cores that this process is allowed to run on, 1 or more."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
