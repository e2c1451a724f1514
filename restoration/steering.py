"""A restoration that a person steers: a tree of runs, each node a value.

s = restorer.steer(measurement, candidates=4, seeds=[7])     # four first previews
s = s.choose(2).advance()                                    # four second ones, forked from the third
s = s.choose(0, 1).edit(painted).advance()                   # one of them, painted over
s.candidates[0]                                              # the result; s.back().choose(1) is another way
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from degradations import Measurement
from degradations.arguments import whole
from nested import Effort, NestedDiffusion, NestedState, chosen, edited, more, replayed
from nested.record import digest
from restoration.marking import remembered
from restoration.restorer import Preview, Restorer, resolve_seeds
from solvers import NoiseSource


@dataclass(frozen=True, eq=False)
class Steered:
    """Where a steered restoration stands. Every method returns another one and leaves this as it is.

    Args:
        restorer: the prior and the sampler.
        measurement: of one image, in [0, 1] units, as it was before any edit.
        run: of all candidates, in the prior's units; ``run.record`` holds every choice and edit.
        parent: where it was before the last act; None of the first, and of one that was loaded.
        in_range: share of the last edit's energy, 0 … 1, in what was measured: drawn back to it, or trusted; None
            where nothing was edited.
        preview: what :meth:`advance` has shown last, if that is how it came here.
    """

    restorer: Restorer
    measurement: Measurement
    run: NestedState
    parent: Steered | None = None
    in_range: float | None = None
    preview: Preview | None = None

    @property
    def candidates(self) -> Tensor:
        """The newest completed previews (N, C, H, W) in [0, 1].

        Raises:
            ValueError: there is none yet, as after a stop in the first inner run.
        """
        if self.run.x0 is None:
            raise ValueError("no inner run has ended yet: advance()")
        return self.restorer.shown(self.run.x0)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do; :meth:`more` adds to it."""
        return self.run.finished

    def choose(self, i: int | Sequence[int], n: int | None = None) -> Steered:
        """Keep a candidate, counted from 0, or several, and fork n from each; see ``nested.chosen``.

        Args:
            i: which.
            n: None keeps as many candidates as there are, or nearly.

        Raises:
            ValueError: no such candidate, or it is not at a completed preview.
        """
        count = 1 if isinstance(i, int) else max(len(i), 1)
        return self._after(chosen(self.run, i, max(len(self.run) // count, 1) if n is None else n))

    def edit(self, image: Tensor, trust: bool = False) -> Steered:
        """Another image goes on in the preview's place; see ``nested.edited``.

        Args:
            image: (C, H, W) for all candidates, or (N, C, H, W), in [0, 1]: a preview of ``candidates``, changed.
                What equals the preview is not an edit.
            trust: keep what contradicts the measurement.

        Raises:
            ValueError: an image of another shape, or it is not at a completed preview.
        """
        image = image[None] if image.ndim == 3 else image
        x0 = self._wanted(self.run, image)
        result = edited(self.loop(), self.run, x0, trust=trust, sha256=digest(image))
        return self._after(result.run, float(result.in_range.max()))

    def right(self, where: Tensor, candidates: int = 1, seeds: Sequence[int] | None = None) -> Steered:
        """Begin anew with what is right in the preview as measured: missing pixels known, missing colours hints.

        What was measured stands, also where a trusted edit said something else.

        Args:
            where: (H, W), True where the preview is right; of wrong pixels ``~wrong``.
            candidates, seeds: of the new run, as of :meth:`Restorer.steer`; new noise where no seeds are given.

        Raises:
            ValueError: several candidates (``choose(i, 1)`` keeps one), another degradation than missing pixels or
                colours, marks that say nothing of what is missing, or all.
        """
        if len(self.run) != 1:
            raise ValueError(f"right is of one candidate: got {len(self.run)}; choose(i, 1) keeps one")
        measurement = remembered(self.measurement, self.candidates[0], where)
        return replace(begun(self.restorer, measurement, candidates, self.run.allocation, seeds), parent=self)

    def more(self, effort: Effort | Sequence[int]) -> Steered:
        """Other work ahead, e.g. ``Budget(10)`` or (6, 4): so much more after the end, else in place of the rest.

        Raises:
            ValueError: no noise level is left to go on from.
        """
        return self._after(more(self.loop(), self.run, effort))

    def advance(
        self, watch: Callable[[Preview], bool | None] | None = None, stop: Callable[[], bool] | None = None
    ) -> Steered:
        """Run to the next completed preview of every candidate; a finished one is returned as it is.

        Args:
            watch: called with every preview; returning True stops where it stands.
            stop: asked between any two calls of the network; true stops where it stands.
        """
        newest: Preview | None = None
        many = self.measurement.expand(len(self.run))
        stream = self.restorer.stream(many, allocation=self.run.allocation, state=self.run, stop=stop)
        for preview in stream:
            if preview.state.spent == self.run.spent:  # where it comes from
                continue
            newest = preview
            if (watch is not None and watch(preview)) or preview.complete:
                break
        stream.close()
        if newest is None:
            return self
        return Steered(self.restorer, self.measurement, newest.state, self, preview=newest)

    def loop(self) -> NestedDiffusion:
        """The outer loop of its run, for the functions of ``nested``."""
        many = self.measurement.expand(len(self.run))
        return NestedDiffusion(self.restorer.posterior(many), self.run.allocation)

    def back(self) -> Steered:
        """Where it was before the last act; ValueError where there was none, or it was loaded."""
        if self.parent is None:
            raise ValueError("there is nothing to go back to: this is where it began or was loaded")
        return self.parent

    def save(self, path: Path | str) -> None:
        """Write the run to a file, whole or not at all; :func:`load` goes on from it. OSError where it cannot."""
        self.run.save(path)

    @classmethod
    def load(cls, restorer: Restorer, measurement: Measurement, path: Path | str) -> Steered:
        """A node from its file.

        Raises:
            ValueError: not a state file, a damaged one, or another restoration's.
            OSError: it cannot be read.
        """
        device = getattr(restorer.prior, "device", measurement.y.device)
        loaded = cls(restorer, measurement, NestedState.load(path, device=device))
        loaded.loop().refuse_other(loaded.run)
        return loaded

    def replayed(self, edits: Sequence[Tensor] = ()) -> NestedState:
        """Its run made anew from ``run.record``: bit for bit, where device and software are the same.

        Args:
            edits: the images as :meth:`edit` was given them, in any order.

        Raises:
            ValueError: an edit is not among them.
        """
        images = {digest(image[None] if image.ndim == 3 else image): image for image in edits}

        def x0_of(sha256: str, run: NestedState) -> Tensor:
            if sha256 not in images:
                raise ValueError(f"edits must hold every image that was put in: none has the hash {sha256}")
            image = images[sha256]
            return self._wanted(run, image[None] if image.ndim == 3 else image)

        return replayed(lambda n: self.restorer.posterior(self.measurement.expand(n)), self.run, x0_of)

    def _after(self, run: NestedState, in_range: float | None = None) -> Steered:
        return Steered(self.restorer, self.measurement, run, self, in_range)

    def _wanted(self, run: NestedState, image: Tensor) -> Tensor:
        """x̂₀ in the prior's units with the image where it differs from what is shown."""
        if run.x0 is None:
            return image  # told by whoever edits
        shown = self.restorer.shown(run.x0)
        if image.ndim != 4 or len(image) not in (1, len(shown)) or image.shape[1:] != shown.shape[1:]:
            raise ValueError(
                f"image must be {tuple(shown.shape[1:])}, or one a candidate: got {tuple(image.shape)}"
            )
        image = image.to(shown)
        return torch.where(image == shown, run.x0, 2 * image - 1)


def begun(
    restorer: Restorer,
    measurement: Measurement,
    candidates: int,
    allocation: Sequence[int],
    seeds: Sequence[int] | None = None,
) -> Steered:
    """A steered restoration before its first evaluation; as :meth:`Restorer.steer`."""
    whole("candidates", candidates, 1)
    if not isinstance(measurement, Measurement) or len(measurement) != 1:
        raise ValueError("measurement must be a Measurement of one image: candidates are of one picture")
    if seeds is None or (len(seeds) == 1 < candidates):
        (first,) = resolve_seeds(seeds, 1)
        seeds = range(first, first + candidates)
    posterior = restorer.posterior(measurement.expand(candidates))
    noise = NoiseSource(resolve_seeds(seeds, candidates), posterior.measurement.y.device)
    return Steered(restorer, measurement, NestedDiffusion(posterior, allocation).begin(noise))
