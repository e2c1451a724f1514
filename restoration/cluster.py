"""Processes on the GPUs or CPUs of one machine or of many, with Ray: started, given jobs, started again.

``--workers ray[:N]`` and ``--ray`` join the cluster that ``RAY_ADDRESS`` names or ``ray start`` began on this
machine, or else start one of this machine alone for as long as the command runs. Every machine must have this
package, the same PyTorch and the prior. Workers run on the kind of device this machine has or was told.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

from restoration.errors import RestorationError, first_line

TRIES = 3
"""Of a job, and of starting a worker, until it is told to be impossible."""
J = TypeVar("J", bound=Hashable)


class WorkerError(RestorationError):
    """Workers that cannot be had, or that fail; one line says why."""


def count_of(workers: str) -> int | None:
    """N of "ray:N", None of "ray": as many as there are devices.

    Raises:
        ValueError: it is neither.
    """
    kind, _, number = workers.partition(":")
    if kind != "ray" or (":" in workers and not (number.isdecimal() and int(number) > 0)):
        raise ValueError(f"--workers must be here or ray[:N], N at least 1: got {workers!r}")
    return int(number) if number else None


def require_ray(option: str = "--workers ray") -> None:
    """WorkerError that names the extra to install where there is no Ray; imports nothing."""
    if find_spec("ray") is None:
        raise WorkerError(f"{option} needs Ray, which is not installed: pip install 'nested-restoration[ray]'")


def connected() -> Any:
    """Ray, joined or started: silent, without its dashboard, telling nobody that it is used.

    Raises:
        WorkerError: it cannot be.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would send statistics of use
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of its own future
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 by default: work that others wait for would starve
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)  # importing it has set another; a death is ours to tell
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if main else None
    try:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False, logging_level="ERROR")
    except Exception as error:  # connections, raylets and versions each fail in their own way
        raise WorkerError(f"Ray cannot be started or joined: {first_line(error)}") from None
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)  # ours asks to stop; Ray's would exit
    return ray


def kind_of(device: str, ray: Any) -> str:
    """ "cuda" or "cpu": what replicas run on; "auto" is a GPU where the cluster has any."""
    if device != "auto":
        return device.partition(":")[0]
    return "cuda" if ray.cluster_resources().get("GPU", 0) else "cpu"


@dataclass(frozen=True)
class Share:
    """What each of so many workers has of a cluster.

    Args:
        count: of workers.
        threads: of each, for PyTorch.
        resources: as Ray's options of an actor.
    """

    count: int
    threads: int
    resources: dict[str, float]


def share_of(ray: Any, device: str, workers: int | None, option: str = "--workers ray:") -> Share:
    """What workers have of a cluster: a GPU each, or a part of its CPU cores.

    Args:
        ray: as :func:`connected` returns it.
        device: "cuda" for GPUs.
        workers: how many; None is one a GPU, or one a core.
        option: that asked for them, for the error.

    Raises:
        WorkerError: there are fewer GPUs than that.
    """
    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    count = workers or max(gpus if device == "cuda" else cores, 1)
    if device == "cuda" and not 0 < count <= gpus:
        raise WorkerError(f"{option}{count} needs {count} GPUs, and there are {gpus}: ask for fewer")
    threads = max(cores // count, 1)
    cpus = threads if count <= cores else cores / count
    if device == "cuda":
        return Share(count, threads, {"num_gpus": 1, "num_cpus": min(cpus, 1)})
    return Share(count, threads, {"num_cpus": cpus})


class Crew(Generic[J]):
    """Workers that do jobs, one at a time each; a job whose worker dies is done again by another.

    Args:
        ray: as :func:`connected` returns it.
        make: starts a worker, an actor with a method ``prepare``.
        count: of workers.
        joined: told of each worker that is ready, with what its ``prepare`` has returned.
        left: told of each that is given up.
    """

    def __init__(
        self,
        ray: Any,
        make: Callable[[], Any],
        count: int,
        joined: Callable[[Any, Any], object],
        left: Callable[[Any], object] = lambda worker: None,
    ) -> None:
        self._ray, self._make, self._count = ray, make, count
        self._joined, self._left = joined, left

    def work(
        self,
        todo: Sequence[J],
        begin: Callable[[Any, J], Any],
        impossible: Callable[[J, str], Any],
        *,
        more: Callable[[], bool] = lambda: True,
        patience: float | None = None,
    ) -> Iterator[tuple[J, Any]]:
        """Have jobs done; each with what came back, in the order in which they end.

        Args:
            todo: the jobs.
            begin: gives a worker a job, and returns the reference of its answer.
            impossible: what is told of a job that has failed ``TRIES`` times, and why; or raises.
            more: whether another job is to be begun; asked also while nothing happens.
            patience: seconds between two such questions; None asks only when a job has ended.

        Raises:
            WorkerError: no worker can be started.
            RestorationError, ValueError: as the job or ``prepare`` has raised in its worker.
        """
        ray, left = self._ray, len(todo)
        timed = {} if patience is None else {"timeout": patience}
        self._waiting, self._tries, self._failed = deque(todo), dict.fromkeys(todo, 0), 0
        self._under_way: dict[Any, tuple[Any, J | None]] = {}
        self._start(min(self._count, left))
        while left and self._under_way and (more() or any(job is not None for _, job in self._under_way.values())):
            ended = ray.wait(list(self._under_way), num_returns=1, **timed)[0]
            if not ended:
                continue
            worker, job = self._under_way.pop(ended[0])
            done = False
            try:
                answer = ray.get(ended[0])
            except ray.exceptions.RayError as error:
                why = self._bury(worker, error)
                done = self._is_impossible(job, why)
                if done and job is not None:
                    answer = impossible(job, why)
                if more():
                    self._start(min(1, len(self._waiting)))
            else:
                done = job is not None
                if job is None:
                    self._joined(worker, answer)
                if self._waiting and more():
                    following = self._waiting.popleft()
                    self._under_way[begin(worker, following)] = worker, following
            if done and job is not None:
                left -= 1
                yield job, answer

    def _start(self, count: int) -> None:
        for _ in range(count):
            worker = self._make()
            self._under_way[worker.prepare.remote()] = worker, None

    def _bury(self, worker: Any, error: Any) -> str:
        """Give a worker up; why it failed. Raises what is the job's own fault, wherever it is done."""
        cause = getattr(error, "cause", None)
        if isinstance(cause, (RestorationError, ValueError)):
            raise cause from None
        self._left(worker)
        self._ray.kill(worker)  # it may be alive, and in any state
        return first_line(cause) if isinstance(cause, Exception) else type(error).__name__

    def _is_impossible(self, job: J | None, why: str) -> bool:
        """Whether a job has failed too often; else it waits for another worker."""
        if job is None:
            self._failed += 1
            if self._failed == TRIES * self._count:
                raise WorkerError(f"no worker can be started: {why}")
            return False
        self._tries[job] += 1
        if self._tries[job] < TRIES:
            self._waiting.appendleft(job)
        return self._tries[job] == TRIES
