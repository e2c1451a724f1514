"""A preview's file that was changed, put into the stored run that it was a preview of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from torch import Tensor

from nested import NestedDiffusion, NestedState, edited
from nested.record import Edit
from restoration.pictures import images, outputs
from restoration.pictures.picture import Depth, Picture
from restoration.restorer import Restorer
from restoration.tasks import Problem


@dataclass(frozen=True, eq=False)
class EditFile:
    """An edited preview.

    Args:
        name: what it is called.
        picture: a preview as it was written, and then changed.
        sha256: of the bytes it came in, for the run's record.
        trust: keep it also where it contradicts what was measured.
    """

    name: str
    picture: Picture
    sha256: str
    trust: bool = False

    @classmethod
    def read(cls, path: Path, trust: bool) -> Self:
        """From a file; ImageError where it is no picture."""
        return cls(path.name, images.read(path), outputs.sha256(path), trust)

    def is_in(self, state: NestedState) -> bool:
        """Whether it was put into the run before."""
        acts = (act for act in state.record if isinstance(act, Edit))
        return any((act.sha256, act.trust) == (self.sha256, self.trust) for act in acts)

    def told(self, state: NestedState) -> NestedState:
        """The run as its record will tell of it once the edit is in it: for what is asked before any work."""
        if self.is_in(state):
            return state
        return replace(state, record=(*state.record, Edit(state.spent, self.sha256, self.trust)))

    def put_in(
        self, state: NestedState, nested: NestedDiffusion, restorer: Restorer, problem: Problem, depth: Depth
    ) -> tuple[NestedState, str]:
        """The run that goes on from the edit, and in words how much of it was in what was measured.

        Args:
            state: of one image or several, at a completed preview.
            nested: the run's loop.
            restorer, problem: the run's.
            depth: that the preview was written in: what is within its rounding is no change.

        Raises:
            ImageError: a picture of another size than the preview's.
            ValueError: a run within an inner run, or a picture that is the preview itself.
        """
        if state.x0 is None or state.inner is not None:
            edited(nested, state, state.x_k)  # which says so
        x0 = self.x0(state, restorer, problem, depth)
        result = edited(nested, state, x0, trust=self.trust, sha256=self.sha256)
        share = float(result.in_range.max())
        if share < 0.005:
            return result.run, f"{self.name}: nothing of the edit contradicts the measurement"
        how = "is trusted" if self.trust else "is drawn back to it (--trust-edit keeps it)"
        return result.run, f"{self.name}: {share:.0%} of the edit contradicts the measurement and {how}"

    def x0(self, state: NestedState, restorer: Restorer, problem: Problem, depth: Depth) -> Tensor:
        """What the edit makes of a run's newest x̂₀, (B, C, H, W) in the prior's units: for ``nested.replayed``.

        Raises:
            ImageError: a picture of another size than the preview's.
            ValueError: a picture that is the preview itself.
        """
        assert state.x0 is not None
        shown = restorer.shown(state.x0)
        depth = min(depth, self.picture.depth)
        tolerance = 1e-6 if depth is Depth.FLOAT else 0.51 / (2**depth - 1)
        wanted = problem.edited(shown, self.picture.pixels, tolerance)
        changed = wanted != shown
        if not bool(changed.any()):
            raise ValueError(f"{self.name} is the preview itself: nothing in it was changed")
        return (2 * wanted - 1).where(changed, state.x0)
