"""Where the pictures and the state of one input go: files, whole or not at all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nested import NestedState
from restoration.commands.settings import EffortSettings
from restoration.errors import OutputError, RestorationError
from restoration.events import Advanced, Event, Output, Previewed, Restored, Skipped
from restoration.pictures import images, outputs
from restoration.pictures.names import beside, stem_of, suffix_of
from restoration.pictures.outputs import Standing
from restoration.pictures.picture import Picture
from restoration.priors.coverage import quantile_names

STATE_EVERY_S = 0.5
"""Least seconds between two writes of a state within an inner run."""

STATE_SHARE = 10
"""And at least so many times what a write takes, so that a large state costs a tenth of the time at most."""

EXACT = (".tif", ".tiff")
"""Suffixes of formats that hold float numbers, the first where a result's own does not."""


@dataclass(frozen=True)
class Delivery:
    """The files of one input: its result, what stands beside it, and its previews.

    Args:
        file: the input.
        target: its result.
        previews: a folder for completed previews, if they are wanted.
        stem: what previews' names begin with; None is the input's.
        quality: of JPEG and WebP.
    """

    file: Path
    target: Path
    previews: Path | None
    stem: str | None = None
    quality: int | None = None

    def written(self, effort: EffortSettings) -> list[Path]:
        """Every picture that may be written."""
        paths = [self.target]
        if effort.samples > 1:
            paths += [self._beside(f"sample-{i}") for i in range(1, effort.samples + 1)]
            level = effort.interval
            maps = ("std",) if level is None else ("std", *quantile_names(level), "low", "high")
            paths += [self._beside(name, exact=level is not None) for name in maps]
        if self.previews is not None:
            ends = accumulate(effort.steps) if effort.tolerance is None else range(1, sum(effort.steps) + 1)
            paths += [self._preview(self.previews, f"{nfe:03d}") for nfe in ends]
        return paths

    def skipped(
        self, effort: EffortSettings, identity: Mapping[str, Any], limits: Mapping[str, Any] | None
    ) -> Skipped | None:
        """What to tell where the result is there already; None where there is work to do.

        Args:
            effort, identity, limits: of the work that would write it; see ``outputs.standing``.

        Raises:
            OutputError: a file of another run is in the way.
        """
        for path in self.written(effort):
            if outputs.standing(path, identity, None) is Standing.OTHER:
                why = outputs.differences(path, identity)
                raise OutputError(
                    f"{path} exists and is not this run's ({why}); choose another output, or --overwrite"
                )
        done = outputs.standing(self.target, identity, limits) is Standing.DONE
        return Skipped(str(self.file), str(self.target)) if done else None

    def deliver(self, event: Event, warn: Callable[[str], None]) -> Event:
        """Write what an event brings; the event, with where its picture is.

        A preview that cannot be written is told to ``warn``, and the run goes on.

        Raises:
            RestorationError: a result that cannot be written.
        """
        if isinstance(event, Previewed) and self.previews is not None:
            path = self._preview(self.previews, event.output.suffix)
            try:
                self._save(path, event.output)
            except RestorationError as error:
                warn(f"restore: the preview is not stored: {error}")
                return event
            return replace(event, path=str(path))
        if isinstance(event, Restored):
            for output in event.outputs:
                path = self._beside(output.suffix, exact=output.exact) if output.suffix else self.target
                self._save(path, output)
            return replace(event, path=str(self.target))
        return event

    def candidates(self, given: Picture, pictures: Tensor, nfe: int, record: Mapping[str, Any]) -> None:
        """Write every candidate (N, C, H, W) among the previews, if these are wanted, numbered from 1."""
        if self.previews is not None:
            for i, picture in enumerate(pictures, start=1):
                self._save(self._preview(self.previews, f"{nfe:03d}-{i}"), Output("", given.like(picture), record))

    def _beside(self, suffix: str, *, exact: bool = False) -> Path:
        path = beside(self.target, suffix)
        return path.with_suffix(EXACT[0]) if exact and suffix_of(path) not in EXACT else path

    def _preview(self, folder: Path, suffix: str) -> Path:
        return folder / f"{self.stem or stem_of(self.file)}-{suffix}{suffix_of(self.target)}"

    def _save(self, path: Path, output: Output) -> None:
        outputs.make_folder(path.parent)
        images.write(path, output.picture, output.record, self.quality)


class StateFile:
    """A run's state in a file, kept up to date while the run goes on.

    The newest state is written when an inner run has ended, when the run ends, and in between as often as previews
    bring a newer one, but at most every half second. A run killed in between goes on from an older state, and any
    state leads to the same result, bit for bit. So that this also holds for a run that ``max_nfe`` ends within its
    first inner run, the state after that evaluation is not kept: a picture of it needs one evaluation more.

    Args:
        path: the file.
        warn: is told what cannot be written; the run goes on.
        max_nfe: evaluations after which the run stops, if it does.
    """

    def __init__(self, path: Path, warn: Callable[[str], None], max_nfe: int | None = None) -> None:
        self.path = path
        self._warn = warn
        self._last = math.inf if max_nfe is None else max_nfe
        self._stored = 0  # evaluations that the file holds
        self._missing = 0  # evaluations of the state that was told to be missing
        self._newest: NestedState | None = None
        self._next = -math.inf  # when the file may be written within an inner run

    def load(self, device: torch.device, *, redo: bool) -> NestedState | None:
        """The state to go on from; None where there is no file, or with ``redo`` a finished run in it.

        Raises:
            ValueError, OSError: a file that is no state, or cannot be read.
        """
        if not self.path.exists():
            return None
        state = NestedState.load(self.path, device=device)
        if redo and state.finished:
            return None
        self._stored = state.spent
        return state

    def forget(self) -> None:
        """Another way is taken from an earlier preview: what the file holds is not of it."""
        self._stored, self._newest = -1, None

    def follow(self, event: Event) -> None:
        """Write what an event brings, if it is time to."""
        if isinstance(event, Advanced):
            if event.state.x0 is None and event.nfe >= self._last:
                return
            self._newest = event.state
            if event.complete or time.monotonic() >= self._next:
                self._write(event.state, tell=event.complete)
        elif isinstance(event, Restored) and self._newest is not None:
            self._write(self._newest, tell=self._newest.spent != self._missing)

    def _write(self, state: NestedState, *, tell: bool) -> None:
        if state.spent == self._stored:
            return
        began = time.monotonic()
        try:
            state.save(self.path)
            self._stored = state.spent
        except OSError as error:
            if tell:  # else it is tried again soon
                self._missing = state.spent
                self._warn(f"restore: the state is not stored: {error}")
        ended = time.monotonic()
        self._next = ended + max(STATE_EVERY_S, STATE_SHARE * (ended - began))
