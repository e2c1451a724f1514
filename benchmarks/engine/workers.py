"""Chunks measured by many processes, on the GPUs or CPUs of one machine or of many, with Ray.

``--workers ray[:N]``: see :mod:`restoration.cluster`. Every machine must be able to read the pictures at the same
paths: workers read them themselves, and what they send back is a chunk's rows and features.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.engine.campaign import Job, Measured, Measurer
from benchmarks.engine.chunk import Bench, Chunk, measure
from restoration.cluster import TRIES, Crew, WorkerError, connected, count_of, require_ray, share_of

Build = Callable[[], tuple[Bench, dict[str, Any]]]
"""A bench, and the configuration that its results have."""


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
        ray = connected()
        try:
            yield from self._measure(ray, todo)
        finally:
            self.pids.clear()
            ray.shutdown()

    def _measure(self, ray: Any, todo: Sequence[Job]) -> Measured:
        share = share_of(ray, self.device, self.workers)
        remote = ray.remote(Worker).options(**share.resources, max_restarts=0)

        def make() -> Any:
            return remote.remote(self.build, share.threads)

        crew: Crew[Job] = Crew(ray, make, share.count, self._joined, self._left)
        yield from crew.work(todo, lambda worker, job: worker.measure.remote(job), _gave_up)

    def _joined(self, worker: Any, told: tuple[int, dict[str, Any]]) -> None:
        self.pids[worker], config = told
        self._check(config)

    def _left(self, worker: Any) -> None:
        self.pids.pop(worker, None)

    def _check(self, config: dict[str, Any]) -> None:
        names = [name for name in self.config if config.get(name) != self.config[name]]
        if names:
            raise WorkerError(
                f"a worker differs from this machine in {names[0]}: {config.get(names[0])!r} there, "
                f"{self.config[names[0]]!r} here; workers need the same packages, prior and weights"
            )


def _gave_up(job: Job, why: str) -> Chunk:
    some = f"{job.sources[0].name} to {job.sources[-1].name}"
    raise WorkerError(
        f"{job.task.name}: the chunk from {some} failed {TRIES} times, last with: {why}; what is done is stored"
    )


def on_ray(build: Build, config: dict[str, Any], device: str, workers: str) -> Measurer:
    """Of ``--workers ray[:N]``."""
    return RayMeasurer(build, config, device, count_of(workers))
