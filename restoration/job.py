"""One input through task, restorer and output: what ``restore`` does for each of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nested import NestedState
from restoration import images, outputs
from restoration.display import Display
from restoration.errors import OutputError, RestorationError
from restoration.interrupt import Interrupt
from restoration.outputs import Standing
from restoration.priors import DiffusionPrior, TiledPrior, prior_for
from restoration.priors.tiled import TILE_BATCH, check_tiling
from restoration.restorer import Preview, Restoration, Restorer, StoppedBy, resolve_seeds
from restoration.scores import scores_of
from restoration.tasks import Problem, Task, pose
from solvers import record_of


@dataclass(frozen=True)
class Settings:
    """What the command line asked for; see ``restore --help``."""

    inputs: tuple[Path, ...]
    output: Path
    task: str
    mask: Path | None = None
    sigma: float | None = None
    simulate: bool = False
    fit: bool = False
    overlap: int | None = None
    tile_batch: int = TILE_BATCH
    prior: str = "photos-64"
    prior_config: Mapping[str, str] = field(default_factory=dict)
    class_label: int | None = None
    precision: str = "auto"
    compile: bool = False
    allocation: tuple[int, ...] = (10, 10, 10)
    sampler: str = "ddrm"
    sampler_settings: Mapping[str, Any] = field(default_factory=dict)
    vanilla: bool = False
    deadline: float | None = None
    max_nfe: int | None = None
    seed: int | None = None
    samples: int = 1
    previews: Path | None = None
    state: Path | None = None
    device: str = "auto"
    overwrite: bool = False
    json: bool = False


def written(settings: Settings, file: Path, target: Path) -> list[Path]:
    """Every picture that restoring a file may write."""
    paths = [target]
    if settings.samples > 1:
        names = [*(f"sample-{i}" for i in range(1, settings.samples + 1)), "std"]
        paths += [_sibling(target, name) for name in names]
    if settings.previews is not None:
        ends = [sum(settings.allocation)] if settings.vanilla else accumulate(settings.allocation)
        paths += [_preview_path(settings.previews, file, nfe) for nfe in ends]
    return paths


def _sibling(target: Path, name: str) -> Path:
    return target.with_name(f"{target.stem}-{name}{target.suffix}")


def _preview_path(folder: Path, file: Path, nfe: int) -> Path:
    return folder / f"{file.stem}-{nfe:03d}.png"


@dataclass(frozen=True)
class Job:
    """One run of the command, with everything its inputs share."""

    settings: Settings
    task: Task
    mask: Tensor | None
    mask_sha256: str | None
    prior: DiffusionPrior
    restorer: Restorer
    allocation: tuple[int, ...]
    display: Display
    interrupt: Interrupt

    def restore(self, file: Path, target: Path) -> None:
        """Restore one file, unless its output is there already."""
        settings, display = self.settings, self.display
        work = self._work(file)
        limits = {"deadline": settings.deadline, "max_nfe": settings.max_nfe}
        if not settings.overwrite:
            for path in written(settings, file, target):
                if outputs.standing(path, work, None) is Standing.OTHER:
                    why = outputs.differences(path, work)
                    raise OutputError(
                        f"{path} exists and is not this run's ({why}); choose another output, or --overwrite"
                    )
            if outputs.standing(target, work, limits if settings.state is None else None) is Standing.DONE:
                display.say(f"{file.name}: {target} is done; skipped (--overwrite redoes it)")
                display.event("skipped", input=str(file), path=str(target))
                return
        picture = images.load(file)
        state = self._stored_state()
        seeds = self._seeds() if state is None else state.seeds
        if settings.seed is not None and seeds != self._seeds():
            raise ValueError(f"{settings.state} was begun with --seed {seeds[0]}: repeat it, or leave --seed away")
        problem = pose(self.task, picture, self.prior.image_shape, mask=self.mask, seed=seeds[0])
        for note in problem.notes:
            display.say(f"{file.name}: {note}")
        restorer = self._restorer(file, problem)
        record = {**work, **limits, "seeds": list(seeds), **self._conditions()}
        display.begin(file.name, sum(self.allocation))
        try:
            restoration = restorer.restore(
                problem.measurement.expand(settings.samples),
                allocation=self.allocation,
                seeds=seeds,
                deadline=settings.deadline,
                max_nfe=settings.max_nfe,
                state=state,
                watch=lambda preview: self._watch(file, problem, preview, record, state),
            )
        except ValueError as error:
            if state is None:
                raise
            raise ValueError(f"{settings.state}: {error}") from None
        finally:
            display.finish()
        cropped = replace(
            restoration,
            image=problem.crop(restoration.image),
            preview=_cropped(restoration.preview, problem),
        )
        self._deliver(file, target, problem, cropped, record)

    def _restorer(self, file: Path, problem: Problem) -> Restorer:
        """For images of the problem's shape: with the prior in tiles, which is told, where they are larger."""
        settings = self.settings
        shape = problem.measurement.operator.image_shape
        prior = prior_for(self.prior, shape, settings.overlap, settings.tile_batch)
        if not isinstance(prior, TiledPrior):
            return self.restorer
        _, height, width = self.prior.image_shape
        count = len(prior.windows(self.prior.schedule.K))
        self.display.say(f"{file.name}: {shape[2]}×{shape[1]} in {count} tiles of {width}×{height}")
        if self.prior.crops is False:
            self.display.say(
                f"{file.name}: {self.prior.name} knows whole pictures, not parts of them: better --fit, "
                "or a prior trained on crops, as photos-64 is"
            )
        return Restorer(prior, self.restorer.settings)

    def _seeds(self) -> tuple[int, ...]:
        first = resolve_seeds(None, 1)[0] if self.settings.seed is None else self.settings.seed
        return tuple(range(first, first + self.settings.samples))

    def _stored_state(self) -> NestedState | None:
        path = self.settings.state
        if path is None or not path.exists():
            return None
        state = NestedState.load(path, device=self.prior.device)
        return None if state.finished and self.settings.overwrite else state

    def _work(self, file: Path) -> dict[str, Any]:
        """What decides the result, but for the seed where none was asked for: recorded in every output."""
        settings = self.settings
        seed = {} if settings.seed is None else {"seeds": list(self._seeds())}
        return {
            "input_sha256": outputs.sha256(file),
            "task": self.task.name,
            "sigma": self.task.sigma or 0.0,
            "simulate": self.task.simulate,
            "fit": self.task.fit,
            "overlap": check_tiling(self.prior, settings.overlap, settings.tile_batch),
            "mask_sha256": self.mask_sha256,
            "prior_sha256": self.prior.weights_sha256,
            "class_label": self.prior.class_label,
            "precision": str(self.prior.network.dtype).removeprefix("torch."),
            "allocation": list(self.allocation),
            **record_of(self.restorer.settings),
            "samples": settings.samples,
            **seed,
        }

    def _conditions(self) -> dict[str, Any]:
        device = self.prior.device
        return {
            "prior": self.prior.name,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "torch": torch.__version__,
            "nested_restoration": version("nested-restoration"),
        }

    def _watch(
        self,
        file: Path,
        problem: Problem,
        preview: Preview,
        record: Mapping[str, Any],
        began: NestedState | None,
    ) -> bool:
        """Show and store what a preview brings; whether to stop."""
        self.display.advance(preview, self.allocation, began.nfe if began else 0)
        preview = _cropped(preview, problem)
        if preview.complete:
            path = None
            if self.settings.previews is not None:
                path = _preview_path(self.settings.previews, file, preview.nfe)
                if not self._write(path, preview.image.mean(dim=0), {**record, **_standing(preview)}):
                    path = None
            if self.settings.state is not None:
                try:
                    preview.state.save(self.settings.state)
                except OSError as error:
                    self.display.warn(f"restore: the state is not stored: {error}")
            self._report("preview", file, problem, preview, preview.nfe, preview.elapsed, path)
        return self.interrupt.asked

    def _write(self, path: Path, image: Tensor, record: Mapping[str, Any]) -> bool:
        """Store a preview; a failure is told, and the run goes on."""
        try:
            outputs.make_folder(path.parent)
            images.save(path, image, record)
        except RestorationError as error:
            self.display.warn(f"restore: the preview is not stored: {error}")
            return False
        return True

    def _deliver(
        self, file: Path, target: Path, problem: Problem, done: Restoration, record: Mapping[str, Any]
    ) -> None:
        outputs.make_folder(target.parent)
        record = {**record, **_standing(done.preview), "nfe": done.nfe, "stopped_by": done.stopped_by.value}
        if self.settings.samples > 1:
            for i, (image, seed) in enumerate(zip(done.image, done.seeds, strict=True), start=1):
                images.save(
                    _sibling(target, f"sample-{i}"), image, {**record, "shows": f"the sample of seed {seed}"}
                )
            std = done.image.std(dim=0).mean(dim=0, keepdim=True)
            white = max(float(std.max()), 1e-6)
            spread = {**record, "shows": "standard deviation of the samples", "white_is": white}
            images.save(_sibling(target, "std"), std / white, spread)
            record["shows"] = "mean of the samples"
        images.save(target, done.image.mean(dim=0), record)
        self._report(
            "result", file, problem, done.preview, done.nfe, done.elapsed, target,
            stopped_by=done.stopped_by.value, seeds=list(done.seeds),
        )  # fmt: skip

    def _report(
        self,
        event: str,
        file: Path,
        problem: Problem,
        preview: Preview,
        nfe: int,
        elapsed: float,
        path: Path | None,
        **more: Any,
    ) -> None:
        scores: dict[str, float] = {}
        if problem.original is not None:
            scores = scores_of(problem.original, preview.image.mean(dim=0))
        facts = {
            "input": str(file),
            "nfe": nfe,
            "total_nfe": preview.total_nfe,
            "outer_step": preview.outer_step,
            "complete": preview.complete,
            "elapsed_s": round(elapsed, 4),
            **({} if path is None else {"path": str(path)}),
            **scores,
            **({} if preview.expected_change is None else {"expected_change": round(preview.expected_change, 5)}),
        }
        self.display.event(event, **facts, **more)
        told = f", PSNR {scores['psnr']:.2f} dB" if scores else ""
        told += f", SSIM {scores['ssim']:.3f}" if "ssim" in scores else ""
        spent = f"{nfe} of {preview.total_nfe} evaluations"
        arrow = "" if path is None else f" → {path}"
        if event == "preview":
            change = preview.expected_change
            told += "" if not change else f", expected to change by about {change:.2g}"
            self.display.say(f"{file.name}: preview at {spent}, {elapsed:.1f} s{told}{arrow}")
        elif more["stopped_by"] == StoppedBy.FINISHED:
            self.display.say(f"{file.name}: {spent}, {elapsed:.1f} s, seed {more['seeds'][0]}{told}{arrow}")
        else:
            why = str(more["stopped_by"]).replace("_", " ")
            self.display.say(f"{file.name}: stopped at {spent} ({why}), seed {more['seeds'][0]}{told}{arrow}")


def _cropped(preview: Preview, problem: Problem) -> Preview:
    return replace(preview, image=problem.crop(preview.image))


def _standing(preview: Preview) -> dict[str, Any]:
    return {
        "nfe": preview.nfe,
        "total_nfe": preview.total_nfe,
        "outer_step": preview.outer_step,
        "complete": preview.complete,
    }
