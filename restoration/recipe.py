"""How pictures are to be restored: everything that decides a result, but for the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from nested import Adaptive, NestedState
from nested.allocation import checked
from nested.record import Edit
from restoration.commands.settings import EffortSettings, ScanSettings, TileSettings
from restoration.marking import Marks
from restoration.priors import DiffusionPrior
from restoration.priors.tiled import check_tiling
from restoration.restorer import DEFAULT, Restorer, resolve_seeds
from restoration.tasks import Strokes, Task
from restoration.version import own_version
from solvers import Prior, Spectral, record_of


@dataclass(frozen=True, eq=False)
class Recipe:
    """How pictures are to be restored: all that their sessions share.

    Args:
        task: what was done to them.
        prior: what clean pictures look like.
        sampler, effort, tiles: the inner sampler's settings, what may be spent, and how large pictures are cut.
        mask: (1 or 3, H, W) white where to fill, for tasks that take one; of a scan also (D, 1, H, W).
        mask_sha256: of the mask's bytes, for the record.
        strokes: colours that were said, for tasks that take them.
        scan: how scans are read.
        marks: what was said of a preview, as measured from now on.
        mask_changes: what was done to the mask before it was used, for the record.

    Raises:
        ValueError: settings that do not fit the prior, the task or each other.
    """

    task: Task
    prior: DiffusionPrior
    sampler: Spectral.Settings = DEFAULT
    effort: EffortSettings = field(default_factory=EffortSettings)
    tiles: TileSettings = field(default_factory=TileSettings)
    mask: Tensor | None = None
    mask_sha256: str | None = None
    mask_changes: Mapping[str, int | bool] | None = None
    strokes: Strokes | None = None
    scan: ScanSettings = field(default_factory=ScanSettings)
    marks: Marks | None = None

    def __post_init__(self) -> None:
        checked(self.effort.steps, self.prior.schedule.K)
        self.spending  # noqa: B018  (refuses a tolerance that is none)
        check_tiling(self.prior, self.tiles.overlap, self.tiles.batch)
        if self.task.fit:
            self.task.kind.check_fit(self.prior.image_shape)

    def restorer(self, prior: Prior) -> Restorer:
        """A restorer with a prior, this recipe's own or that in tiles, and the recipe's sampler."""
        return Restorer(prior, self.sampler)

    @property
    def spending(self) -> tuple[int, ...] | Adaptive:
        """How evaluations are spent: the allocation, or what decides it as it goes."""
        tolerance, steps = self.effort.tolerance, self.effort.steps
        return steps if tolerance is None else Adaptive(tolerance, sum(steps))

    def asked_seeds(self) -> tuple[int, ...] | None:
        """One seed a sample, counting on from the one asked for; None where none was."""
        first, count = self.effort.seed, self.effort.samples
        return None if first is None else tuple(range(first, first + count))

    def drawn_seeds(self) -> tuple[int, ...]:
        """One seed a sample, counting on from a drawn one."""
        (first,) = resolve_seeds(None, 1)
        return tuple(range(first, first + self.effort.samples))

    def identity(
        self,
        sha256: str,
        state: NestedState | None = None,
        candidates: int | None = None,
        chosen: Sequence[Sequence[int]] = (),
    ) -> dict[str, Any]:
        """What decides a result, but for the seed where none was asked for: recorded in every output.

        Args:
            sha256: of the picture's bytes.
            state: that the run goes on from; what its allocation was before, if changed, and edits count too.
            candidates: how many were shown at every preview, if a person chose.
            chosen: which, counted from 1, preview by preview.
        """
        strokes = self.strokes
        seeds, changes = self.asked_seeds(), () if state is None else state.reallocations
        edits = () if state is None else (act for act in state.record if isinstance(act, Edit))
        return {
            "input_sha256": sha256,
            "task": self.task.name,
            "sigma": "auto" if self.task.sigma_auto else self.task.sigma or 0.0,
            **self.task.kind.record(),
            "simulate": self.task.simulate,
            "fit": self.task.fit,
            "overlap": check_tiling(self.prior, self.tiles.overlap, self.tiles.batch),
            "mask_sha256": self.mask_sha256,
            "mask_changes": None if self.mask_changes is None else dict(self.mask_changes),
            "strokes": None if strokes is None else [strokes.sha256, strokes.sigma, strokes.spread],
            "prior_sha256": self.prior.weights_sha256,
            "class_label": self.prior.class_label,
            "precision": str(self.prior.network.dtype).removeprefix("torch."),
            "allocation": list(self.effort.steps),
            **({} if self.effort.tolerance is None else {"adaptive": self.effort.tolerance}),
            "reallocated": [{"nfe": spent, "from": list(steps)} for spent, steps in changes] or None,
            "edits": [asdict(edit) for edit in edits] or None,
            "candidates": candidates,
            "chosen": [list(choice) for choice in chosen] or None,
            **record_of(self.sampler),
            "samples": self.effort.samples,
            "scan": self.scan.record(),
            **({} if self.marks is None else {"marks": self.marks.record}),
            **({} if self.effort.interval is None else {"interval": self.effort.interval}),
            **({} if seeds is None else {"seeds": list(seeds)}),
        }

    def limits(self) -> dict[str, Any]:
        """What may stop a run before its end: recorded in every output."""
        return {"deadline": self.effort.deadline, "max_nfe": self.effort.max_nfe, "until": self.effort.until}

    def conditions(self) -> dict[str, Any]:
        """Where a result is made: recorded in every output."""
        device = self.prior.device
        return {
            "prior": self.prior.name,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "torch": torch.__version__,
            "nested_restoration": own_version(),
        }
