"""Randomness, handed in: one generator an image."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import torch
from torch import Tensor

SEED_LIMIT = 2**63


class NoiseSource:
    """Standard normal noise for a batch, image i from its own generator seeded with ``seeds[i]``.

    An image's noise depends on its seed alone, never on its batch neighbours; streams differ between kinds of
    device. The global generators are not touched.

    Args:
        seeds: one whole number in [0, 2⁶³) an image.
        device: where the noise is drawn and used.

    Raises:
        TypeError, ValueError: seeds that are not such numbers, or none.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu") -> None:
        if isinstance(seeds, (int, str)):
            raise TypeError(f"seeds must be a sequence, one seed an image: got {seeds!r}")
        try:
            self.seeds = tuple(index(seed) for seed in seeds)
        except TypeError:
            raise TypeError(f"seeds must be whole numbers: got {list(seeds)}") from None
        if not self.seeds or any(not 0 <= seed < SEED_LIMIT for seed in self.seeds):
            raise ValueError(f"seeds must be at least one whole number from 0 to 2⁶³ − 1: got {list(seeds)}")
        try:
            self.device = torch.device(device)
        except (RuntimeError, TypeError):  # torch lists all that it was ever built for
            raise ValueError(f"device must be one that torch knows: got {device!r}") from None
        self._generators = [torch.Generator(self.device).manual_seed(seed) for seed in self.seeds]

    def normal(self, shape: Sequence[int]) -> Tensor:
        """The next float32 standard normal numbers of a (B, ...) shape, B the number of seeds."""
        if len(shape) < 2 or shape[0] != len(self.seeds):
            raise ValueError(f"shape must start with as many as there are seeds: got {tuple(shape)}")
        drawn = torch.empty(tuple(shape), dtype=torch.float32, device=self.device)
        for image, generator in zip(drawn, self._generators, strict=True):
            image.normal_(generator=generator)
        return drawn

    def take(self, which: int | slice | Sequence[int]) -> NoiseSource:
        """A source for the selected images that goes on from here, independently of this one."""
        if isinstance(which, slice):
            which = range(len(self.seeds))[which]
        chosen = [which] if isinstance(which, int) else list(which)
        taken = NoiseSource([self.seeds[i] for i in chosen], self.device)
        states = self.state()
        taken.restore([states[i] for i in chosen])
        return taken

    def state(self) -> tuple[Tensor, ...]:
        """Where each generator stands (uint8 tensors), for :meth:`restore`."""
        return tuple(generator.get_state() for generator in self._generators)

    def restore(self, state: Sequence[Tensor]) -> None:
        """Set each generator to a saved state; it must come from the same kind of device.

        Raises:
            ValueError: another number of images, or another kind of device.
        """
        if len(state) != len(self._generators):
            raise ValueError(f"state must hold {len(self._generators)} generators: got {len(state)}")
        for generator, saved in zip(self._generators, state, strict=True):
            try:
                generator.set_state(saved)
            except (RuntimeError, TypeError) as error:
                raise ValueError(f"noise state does not fit a generator on {self.device}: {error}") from None
