"""The cluster: the only module that knows Ray. It starts or joins one, keeps a pool of actors, and hands out tasks.

An actor is a process with one worker in it. Ray starts it again where it or its node dies, and repeats the task; a task
that fails so several times is given up and reported, and the others are still processed.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil
from typing import Any, Generic, Protocol, TypeVar

from echobank.cores import core_count
from echobank.errors import EchobankError, InputError, OutputError

LOCAL = "local"
_LOOK_SECONDS = 5.0  # between two looks at what is left of the cluster while nothing is done
_STORE_BYTES = 100 << 20  # only tasks and counts pass through the object store

Task = TypeVar("Task")
Done = TypeVar("Done")
T = TypeVar("T", contravariant=True)
D = TypeVar("D", covariant=True)


class Worker(Protocol[T, D]):
    """What does the work of an actor."""

    def ready(self) -> Any:
        """Load what the work needs and say what it is."""
        ...

    def do(self, task: T) -> D:
        """Do a task; it may have been done before, in part or whole."""
        ...


@dataclass(frozen=True)
class PoolSettings:
    """Where actors run and what each takes.

    Attributes:
        address: "local" starts Ray on this machine, listening on loopback only; anything else is a cluster to join.
        actors: Most actors; 0 takes one per core of this machine or per `cpus` of the cluster.
        cpus: Cores that Ray reserves for each.
        gpus: GPUs that Ray reserves for each; a fraction shares one.
        retries: How often a task is repeated after its actor died.
        spread: Whether actors are spread over nodes rather than packed on few.
    """

    address: str = LOCAL
    actors: int = 0
    cpus: float = 1.0
    gpus: float = 0.0
    retries: int = 3
    spread: bool = False


@dataclass(frozen=True)
class Lost:
    """A task that was given up: its actor died with it each time."""

    reason: str


class _Actor:
    """The process around a worker."""

    def __init__(self, make: Callable[[], Worker[Any, Any]]) -> None:
        self._worker = make()

    def ready(self) -> Any:
        return self._worker.ready()

    def do(self, task: Any) -> Any:
        return self._worker.do(task)


class RayPool(AbstractContextManager["RayPool[Task, Done]"], Generic[Task, Done]):
    """A pool of actors that grows with the work. Ray starts with the first of them, not before.

    Args:
        make: Makes a worker, in its actor.
        settings: Where and how many.
    """

    def __init__(self, make: Callable[[], Worker[Task, Done]], settings: PoolSettings) -> None:
        self._make, self._settings = make, settings
        self._ray: Any = None
        self._own = False
        self._actors: list[Any] = []
        self._most = 0

    @property
    def started(self) -> bool:
        """Whether Ray was needed."""
        return self._ray is not None

    def __exit__(self, *_: object) -> None:
        if self._ray is None:
            return
        for actor in self._actors:
            self._ray.kill(actor)
        if self._own:
            self._ray.shutdown()

    def first(self) -> Any:
        """Start Ray and the first actor, and return what its worker says when it is ready.

        Raises:
            InputError: Ray is not installed or does not start, the cluster does not answer, or actors do not start.
            EchobankError: What the worker raises.
        """
        if not self._actors:
            self._start()
            self._actors.append(self._new())
        for _ in range(max(self._settings.retries, 0) + 1):
            said = self._outcome(self._actors[0].ready.remote())
            if not isinstance(said, Lost):
                return said
            self._ray.kill(self._actors[0])
            self._actors[0] = self._new()
        raise InputError(f"actors do not start ({said.reason})", value=self._settings.address)

    def fill(self) -> None:
        """Start all actors and wait until each is ready, instead of as work comes."""
        self.first()
        self._actors += [self._new() for _ in range(self._most - len(self._actors))]
        for ref in [actor.ready.remote() for actor in self._actors]:
            self._got(ref)

    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Done | Lost]]:
        """Yield tasks and what came of them as they finish; no more tasks are asked for than actors can take soon.

        Raises:
            OutputError: The last node died.
            EchobankError: What a worker raises; the run ends there.
        """
        queue = _Queue(iter(tasks), self._settings.retries)
        if not queue:
            return
        self.first()
        idle = list(self._actors)
        starting: dict[Any, Any] = {}
        running: dict[Any, tuple[Any, Task]] = {}
        while queue or running:
            while queue and idle:  # one each: a task that kills its actor takes no other with it
                actor, task = idle.pop(), queue.take()
                running[actor.do.remote(task)] = (actor, task)
            if queue and not starting and len(self._actors) < self._most:
                self._actors.append(self._new())
                starting[self._actors[-1].ready.remote()] = self._actors[-1]
            for ref in self._done([*running, *starting]):
                if ref in starting:
                    idle += self._risen(ref, starting.pop(ref))
                    continue
                actor, task = running.pop(ref)
                outcome = self._outcome(ref)
                if not isinstance(outcome, Lost):
                    idle.append(actor)
                    yield task, outcome
                    continue
                starting[actor.ready.remote()] = actor  # Ray starts it again, here or on another node
                if not queue.again(task):
                    yield task, outcome

    def _risen(self, ref: Any, actor: Any) -> list[Any]:
        """Return an actor that is ready; one that did not start is replaced when there is work for it."""
        if isinstance(self._outcome(ref), Lost):
            self._actors.remove(actor)
            self._ray.kill(actor)
            return []
        return [actor]

    def _outcome(self, ref: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._got(ref)
        except (errors.RayActorError, errors.OutOfMemoryError, errors.ObjectLostError) as error:
            return Lost(" ".join(str(error).split())[:200] or type(error).__name__)

    def _done(self, refs: list[Any]) -> list[Any]:
        """Wait until one of some tasks is done.

        Raises:
            OutputError: No node is left. Ray would wait for one for ever.
        """
        while True:
            done, _ = self._ray.wait(refs, num_returns=1, timeout=_LOOK_SECONDS)
            if done:
                return list(done)
            if not any(node["Alive"] for node in self._ray.nodes()):
                raise OutputError(
                    "Ray lost its last node", value=self._settings.address, hint="run the command again: it goes on"
                )

    def _got(self, ref: Any) -> Any:
        self._done([ref])
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EchobankError):
                raise error.cause from error
            raise

    def _new(self) -> Any:
        s = self._settings
        placed = {"scheduling_strategy": "SPREAD"} if s.spread else {}
        options = {"num_cpus": s.cpus, "num_gpus": s.gpus, "max_restarts": -1}
        return self._ray.remote(_Actor).options(**options, **placed).remote(self._make)

    def _start(self) -> None:
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError as error:
            raise InputError("a fleet needs Ray", hint="pip install 'echobank[fleet]'") from error
        if not ray.is_initialized():
            self._init(ray)
            self._own = True
        self._ray = ray
        there = ray.cluster_resources()
        settings = self._settings
        self._most = settings.actors or max(1, int(there.get("CPU", 1) // max(settings.cpus, 0.01)))

    def _init(self, ray: Any) -> None:
        """Start Ray here, or join a cluster.

        Raises:
            InputError: That fails.
        """
        settings = self._settings
        options: dict[str, Any] = {"address": settings.address, "log_to_driver": False, "logging_level": "error"}
        if settings.address == LOCAL:  # the word keeps Ray from joining whatever cluster runs on this machine
            options |= {"num_cpus": max(core_count(), ceil(settings.actors * settings.cpus))}
            options |= {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
            options |= {"_node_ip_address": "127.0.0.1"}
        for last in (False, True):
            try:
                ray.init(**options)
            except Exception as error:  # Ray has no class of its own for a start that takes too long
                ray.shutdown()
                if last or settings.address != LOCAL:
                    reason = " ".join(str(error).split())
                    raise InputError(f"Ray does not start ({reason})", value=settings.address) from error
            else:
                return


class _Queue(Generic[Task]):
    """Tasks that wait: new ones, and those whose actor died, which go first."""

    def __init__(self, tasks: Iterator[Task], retries: int) -> None:
        self._tasks, self._retries = tasks, retries
        self._failed: dict[int, tuple[Task, int]] = {}  # how often each task that is not done lost its actor
        self._waiting: list[Task] = []
        self._ahead()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self) -> Task:
        """Return the next task."""
        task = self._waiting.pop(0)
        if not self._waiting:
            self._ahead()
        return task

    def again(self, task: Task) -> bool:
        """Put a task back; False where that has been done too often."""
        _, count = self._failed.get(id(task), (task, 0))
        self._failed[id(task)] = task, count + 1
        if count < self._retries:
            self._waiting.insert(0, task)
        else:
            del self._failed[id(task)]
        return count < self._retries

    def _ahead(self) -> None:
        self._waiting += [task for task in [next(self._tasks, None)] if task is not None]
