"""Slices of a scan as one batch: each posed as a picture, all restored side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from degradations import Measurement
from restoration.errors import ImageError
from restoration.tasks.kind import Kind, Shape
from restoration.tasks.masks import TOUCHED
from restoration.tasks.posing import Problem, estimated_task, pose
from restoration.tasks.seeds import derived_seed
from restoration.tasks.task import Task

ESTIMATED_FROM = 16
"""Slices that the noise of a scan is estimated from, evenly spread."""


@dataclass(frozen=True, eq=False)
class SliceProblem:
    """What is to be restored of a scan.

    Args:
        parts: one problem a slice that is restored.
        which: their places among all slices.
        given: (D, 1, H, W), all slices as they were measured.
        measurement: of the slices in ``which``, in their order.
        notes: what was done to them, for the user.
    """

    parts: tuple[Problem, ...]
    which: tuple[int, ...]
    given: Tensor
    measurement: Measurement
    notes: tuple[str, ...]

    @property
    def task(self) -> Task:
        """Whose measurement it is."""
        return self.parts[0].task

    @property
    def originals(self) -> Tensor | None:
        """(D', 1, H, W), the clean slices, where the measurement was simulated."""
        clean = [part.original for part in self.parts]
        return None if clean[0] is None else torch.stack([one for one in clean if one is not None])

    def finished(self, images: Tensor) -> Tensor:
        """What is wanted (N, D, 1, H, W) of N samples of all restored slices (N·D', C, H, W), in [0, 1].

        Slices that nothing is filled in are as they were given.
        """
        count, samples = len(self.parts), []
        for first in range(0, len(images), count):
            done = [part.finished(images[first + i : first + i + 1])[0] for i, part in enumerate(self.parts)]
            if count == len(self.given):
                samples.append(torch.stack(done))
            else:
                whole = self.given.to(images).clone()
                whole[list(self.which)] = torch.stack(done)
                samples.append(whole)
        return torch.stack(samples)


def check_scan_task(kind: Kind) -> None:
    """ImageError for a task that slices of scans cannot have: it reads their files, or gives them colour."""
    if type(kind).opened is not Kind.opened or kind.measured_channels(3) == 1:
        raise ImageError(f"is a scan: {kind.names[0]} is for photographs")


def pose_slices(
    task: Task, slices: Tensor, prior_shape: Shape, *, mask: Tensor | None = None, seed: int = 0
) -> SliceProblem:
    """As :func:`restoration.tasks.posing.pose`, of every slice (D, 1, H, W) of a scan.

    The noise is estimated once for all. Simulated noise and masks differ from slice to slice.

    Args:
        mask: (1, H, W) of all slices alike, or (D, 1, H, W) of each its own. Slices that it marks nothing in are
            left as they are.

    Raises:
        ImageError, ValueError: what ``pose`` raises; a mask of another number of slices, or that marks nothing.
    """
    notes: list[str] = []
    if mask is not None and mask.ndim == 4 and len(mask) != len(slices):
        raise ImageError(f"the mask has {len(mask)} slices, and the scan {len(slices)}")
    masks: Sequence[Tensor | None] = [mask] * len(slices) if mask is None or mask.ndim == 3 else list(mask)
    if task.sigma_auto:
        few = slices[:: -(-len(slices) // ESTIMATED_FROM), 0]
        task, told = estimated_task(task, few, mask if mask is not None and mask.ndim == 3 else None)
        notes.append(told)
    which = [i for i, one in enumerate(masks) if one is None or bool((one >= TOUCHED).any())]
    if not which:
        raise ImageError("the mask is black everywhere: there is nothing to fill (white marks what to fill)")
    if len(which) < len(slices):
        notes.append(f"{len(which)} of {len(slices)} slices have something to fill")
        if task.kind.factor != 1:
            which = list(range(len(slices)))
    parts = []
    for i in which:
        own = derived_seed(seed, f"slice {i}") if task.simulate else seed
        parts.append(pose(task, slices[i], prior_shape, mask=masks[i], seed=own))
    notes += dict.fromkeys(note for part in parts for note in part.notes)
    measurement = Measurement.stack(part.measurement for part in parts)
    return SliceProblem(tuple(parts), tuple(which), slices, measurement, tuple(notes))
