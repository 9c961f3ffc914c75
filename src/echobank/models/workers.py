"""Worker threads that each do their arithmetic alone: on a processor, parallelism is by clips, not inside products.

Threads inside a product wait for each other at every barrier, which costs most where another program takes a core.
This is the only place that changes a thread limit, and it puts back what it found.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from threading import Lock, local
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

from echobank.cores import core_count

P = ParamSpec("P")
T = TypeVar("T")

_thread = local()
_lock = Lock()
_holders = 0  # contexts of `single_threaded` that are open, in whatever thread
_limit: Any = None  # what puts the limits back when the last one closes
_known: tuple[int, ThreadpoolController] | None = None


def worker_count(workers: int = 0) -> int:
    """Return the number of threads that 0 ("one per core") or a number asks for."""
    return workers or core_count()


def start_workers(count: int = 0) -> ThreadPoolExecutor:
    """Return a pool of threads, 0 for one per core, in each of which OpenMP starts no threads of its own.

    The OpenMP limit belongs to the thread that sets it, so no other thread of the process notices.
    """
    return _Workers(worker_count(count), thread_name_prefix="echobank-worker")


class _Workers(ThreadPoolExecutor):
    """Threads that prepare themselves with their first task.

    A failing initializer of a pool calls back while the pool is locked. A caller that submits under a lock of its own,
    which its callback takes too, would then wait for ever; the failure of a task has no such lock around it.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run a function in a prepared thread."""
        return super().submit(_prepared, partial(fn, *args, **kwargs))


def _prepared(task: Callable[[], T]) -> T:
    if not getattr(_thread, "prepared", False):
        _start_worker()
        _thread.prepared = True
    return task()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let arithmetic libraries use one thread per product until the block ends.

    The limit of BLAS counts for the process. Blocks may overlap, nested or in several threads: the first one sets the
    limit, the last one to end restores what the first one found. The limit of OpenMP counts for the calling thread.
    """
    global _holders, _limit
    with _lock:
        own = _without_openmp()
        if not _holders:
            _limit = _controller().select(user_api="blas").limit(limits=1)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            own.restore_original_limits()
            _holders -= 1
            if not _holders:
                _limit.restore_original_limits()
                _limit = None


def _start_worker() -> None:
    if sys.modules.get("torch"):  # None stands for a torch that must not be found
        torch = import_module("torch")  # another thread may be importing it at this moment: this waits for it
        torch.get_num_threads()  # the first call in a thread takes the process's limit: before ours, not after
    with _lock:
        _without_openmp()


def _without_openmp() -> Any:
    return _controller().select(user_api="openmp").limit(limits=1)


def _controller() -> ThreadpoolController:
    """Return the controller of the libraries that are loaded; looking for them takes up to 30 ms."""
    global _known
    modules = len(sys.modules)
    if _known is None or _known[0] != modules:
        _known = modules, ThreadpoolController()
    return _known[1]
