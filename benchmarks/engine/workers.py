"""Chunks measured by many processes, on the GPUs or CPUs of one machine or of many, with Ray.

``--workers ray[:N]`` joins the cluster that ``RAY_ADDRESS`` names or ``ray start`` began on this machine, or else
starts one of this machine alone for as long as the command runs. Every machine must have this package, the same
PyTorch and the prior, and must be able to read the pictures at the same paths: workers read them themselves, and
what they send back is a chunk's rows and features. Workers run on the kind of device this machine has or was told.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from benchmarks.engine.campaign import Job, Measured, Measurer
from benchmarks.engine.chunk import Bench, Chunk, measure
from restoration.errors import RestorationError, first_line

TRIES = 3
"""Of a chunk, and of starting a worker, until it is told to be impossible."""
Build = Callable[[], tuple[Bench, dict[str, Any]]]
"""A bench, and the configuration that its results have."""


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


def require_ray() -> None:
    """WorkerError that names the extra to install where there is no Ray; imports nothing."""
    if find_spec("ray") is None:
        raise WorkerError("--workers ray needs Ray, which is not installed: pip install 'nested-restoration[ray]'")


class Worker:
    """What runs in each process."""

    def __init__(self, build: Build, threads: int) -> None:
        self.build, self.threads = build, threads

    def prepare(self) -> tuple[int, dict[str, Any]]:
        """Load network and metrics, once: the process id, and the configuration of what it will measure."""
        import torch

        torch.set_num_threads(self.threads)
        self.bench, config = self.build()
        return os.getpid(), config

    def measure(self, job: Job) -> Chunk:
        return measure(self.bench, job.task, job.sources, job.first)


class RayMeasurer:
    """Hands out chunks to N workers, each again where its worker has died.

    Args:
        build: pickled, and called in every worker.
        config: of the results, to which every worker's must be equal.
        device: "cuda" for a GPU each, else CPU cores.
        workers: N; None for one a GPU, or one a CPU core.
    """

    def __init__(self, build: Build, config: dict[str, Any], device: str, workers: int | None = None) -> None:
        require_ray()
        self.build, self.config, self.device, self.workers = build, config, device, workers
        self.pids: dict[Any, int] = {}

    def __call__(self, todo: Sequence[Job]) -> Measured:
        """Chunks as they come; closing it ends the workers.

        Raises:
            WorkerError: fewer GPUs than workers, no worker can be started, or a chunk that failed ``TRIES`` times.
            RestorationError, ValueError: as in this process.
        """
        if not todo:
            return
        ray = _connected()
        try:
            yield from self._measure(ray, todo)
        finally:
            self.pids.clear()
            ray.shutdown()

    def _measure(self, ray: Any, todo: Sequence[Job]) -> Measured:
        make, count = self._maker(ray, len(todo))
        waiting, tries, failed = deque(todo), dict.fromkeys(todo, 0), 0
        under_way: dict[Any, tuple[Any, Job | None]] = {}

        def begin() -> None:
            worker = make()
            under_way[worker.prepare.remote()] = worker, None

        for _ in range(count):
            begin()
        left = len(todo)
        while left:
            done = ray.wait(list(under_way), num_returns=1)[0][0]
            worker, job = under_way.pop(done)
            chunk: Chunk | None = None
            try:
                answer = ray.get(done)
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, (RestorationError, ValueError)):
                    raise cause from None  # of the task, wherever it is measured
                why = f"{first_line(cause)}" if isinstance(cause, Exception) else type(error).__name__
                failed += job is None
                if job is not None:
                    tries[job] += 1
                    waiting.appendleft(job)
                    if tries[job] == TRIES:
                        raise WorkerError(_gave_up(job, why)) from None
                elif failed == TRIES * count:
                    raise WorkerError(f"no worker can be started: {why}") from None
                self.pids.pop(worker, None)
                ray.kill(worker)  # it may be alive, and in any state
                begin()
                continue
            if job is None:
                self.pids[worker], config = answer
                self._check(config)
            else:
                chunk, left = answer, left - 1
            if waiting:
                following = waiting.popleft()
                under_way[worker.measure.remote(following)] = worker, following
            if job is not None and chunk is not None:
                yield job, chunk

    def _maker(self, ray: Any, jobs: int) -> tuple[Callable[[], Any], int]:
        """What starts a worker, and how many there shall be."""
        resources = ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        of_a_kind = gpus if self.device == "cuda" else cores
        asked = self.workers or max(of_a_kind, 1)
        if self.device == "cuda" and not 0 < asked <= gpus:
            raise WorkerError(f"--workers ray:{asked} needs {asked} GPUs, and there are {gpus}: ask for fewer")
        threads = max(cores // max(asked, 1), 1)
        share = threads if asked <= cores else cores / asked
        options: dict[str, Any] = {"num_cpus": share, "max_restarts": 0}
        if self.device == "cuda":
            options |= {"num_gpus": 1, "num_cpus": min(share, 1)}
        remote = ray.remote(Worker).options(**options)
        return lambda: remote.remote(self.build, threads), min(asked, jobs)

    def _check(self, config: dict[str, Any]) -> None:
        names = [name for name in self.config if config.get(name) != self.config[name]]
        if names:
            raise WorkerError(
                f"a worker differs from this machine in {names[0]}: {config.get(names[0])!r} there, "
                f"{self.config[names[0]]!r} here; workers need the same packages, prior and weights"
            )


def _gave_up(job: Job, why: str) -> str:
    some = f"{job.sources[0].name} to {job.sources[-1].name}"
    return f"{job.task.name}: the chunk from {some} failed {TRIES} times, last with: {why}; what is done is stored"


def _connected() -> Any:
    """Ray, joined or started: silent, without its dashboard, telling nobody that it is used."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would send statistics of use
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of its own future
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


def on_ray(build: Build, config: dict[str, Any], device: str, workers: str) -> Measurer:
    """Of ``--workers ray[:N]``."""
    return RayMeasurer(build, config, device, count_of(workers))
