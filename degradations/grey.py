"""A grey picture that was degraded as well: shrunk, blurred, with pixels missing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from torch import Tensor

from degradations.colorization import Colorization
from degradations.operator import SVDOperator


class Grey(SVDOperator):
    """A adds the channels up with weights, and then degrades the grey image by another operator.

    With S = U diag(s) Vᵀ that operator, the reflection of :class:`Colorization` puts the grey image, over the
    weights' norm, into one channel; there A is the norm times S, and nothing is measured in the others.

    Args:
        image_shape: (C, H, W) of the colour image, C ≥ 2.
        inner: S, of images (1, H, W).
        weights: of the channels; None means 1/C each.

    Raises:
        ValueError: an inner operator of another shape; what :class:`Colorization` refuses.
    """

    def __init__(
        self, image_shape: Sequence[int], inner: SVDOperator, weights: Sequence[float] | Tensor | None = None
    ) -> None:
        colours = Colorization(image_shape, weights)
        if inner.image_shape != (1, *colours.image_shape[1:]):
            raise ValueError(f"inner must be of images {(1, *colours.image_shape[1:])}: got {inner.image_shape}")
        s = inner.singular_values.expand(*inner.singular_values.shape[:-3], *inner.image_shape)
        super().__init__(image_shape, inner.measurement_shape, colours.singular_values.to(s) * s)
        self.colours: Colorization = colours
        self.inner: SVDOperator = inner
        self.per_image = tuple(f"inner.{name}" for name in ("singular_values", *inner.per_image))

    def Vt(self, x: Tensor) -> Tensor:
        return self._within(self.colours.Vt(x), self.inner.Vt)

    def V(self, z: Tensor) -> Tensor:
        return self.colours.V(self._within(z.clone(), self.inner.V))

    def Ut(self, y: Tensor) -> Tensor:
        return self.colours.Ut(self.inner.Ut(y))

    def U(self, z: Tensor) -> Tensor:
        return self.inner.U(self.colours.U(z))

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{super().fingerprint()} {self.inner.fingerprint()}".encode()).hexdigest()

    def _within(self, z: Tensor, apply: Callable[[Tensor], Tensor]) -> Tensor:
        """z, its measured channel replaced by what the inner operator makes of it; written to."""
        channel = slice(self.colours.pivot, self.colours.pivot + 1)
        z[:, channel] = apply(z[:, channel])
        return z
