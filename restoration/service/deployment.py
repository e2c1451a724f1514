"""Replicas in a cluster, as a deployment of Ray Serve."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from restoration.cluster import connected, kind_of, require_ray, share_of
from restoration.service.replica import Asked, Replica
from restoration.service.work import Work

MOST_RUNS = 10_000
"""Of a replica, as far as Ray is concerned: how many are taken on is for the engine and the server to say."""
TARGET_RUNS = 8
"""Unfinished runs a replica, beyond which autoscaling starts another."""


@dataclass(frozen=True)
class Scale:
    """How many replicas there are: from ``least`` to ``most``, by the load."""

    least: int
    most: int

    @classmethod
    def parsed(cls, text: str) -> Scale:
        """Of "2" or "1-4"; ValueError for anything else."""
        parts = text.split("-")
        numbers = [part for part in (parts[0], parts[-1]) if part.isdecimal() and 1 <= int(part) <= 4096]
        if len(parts) > 2 or len(numbers) != 2 or int(numbers[0]) > int(numbers[1]):
            raise ValueError(f"--replicas must be a number, or as 1-4 a least and a most: got {text!r}")
        return cls(int(numbers[0]), int(numbers[1]))


class OnRay:
    """Replicas that Ray Serve starts, and starts again where they die.

    Args:
        asked: what each keeps ready; its ``threads`` are found here.
        scale: how many; None is one a GPU of the cluster, or one a CPU core.
        name: of the application in the cluster; one of the same name is replaced.

    Raises:
        WorkerError: no Ray, or fewer devices than replicas.
    """

    def __init__(self, asked: Asked, scale: Scale | None, name: str) -> None:
        require_ray("--ray")
        self._ray, self._name = connected(), name
        try:
            self._handle = self._deployed(asked, scale)
        except BaseException:
            self._ray.shutdown()
            raise

    def stream(self, name: str, work: Work, wait: float) -> Any:
        """What a replica sends of a run; Ray chooses one with few runs."""
        return self._handle.options(stream=True).restore.remote(name, work, wait)

    def close(self) -> None:
        """End all replicas, and the cluster where it was started here."""
        from ray import serve

        try:
            serve.delete(self._name)
        finally:
            self._ray.shutdown()

    def _deployed(self, asked: Asked, scale: Scale | None) -> Any:
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)  # a death is ours to tell
        kind = kind_of(asked.device, self._ray)
        share = share_of(self._ray, kind, None if scale is None else scale.most, "--replicas ")
        asked = replace(asked, device=kind, threads=share.threads)
        scale = scale or Scale(share.count, share.count)
        options: dict[str, Any] = {"num_replicas": scale.most}
        if scale.least < scale.most:
            options = {
                "autoscaling_config": {
                    "min_replicas": scale.least,
                    "max_replicas": scale.most,
                    "target_ongoing_requests": TARGET_RUNS,
                }
            }
        serve.start(proxy_location="Disabled")  # HTTP is this process's; Ray's has no tokens and no bounds
        deployment = serve.deployment(
            Replica,
            name="replica",
            max_ongoing_requests=MOST_RUNS,
            ray_actor_options=dict(share.resources),
            **options,
        )
        return serve.run(deployment.bind(asked), name=self._name, route_prefix=None)
