"""What operators share that measure pixels as they are, or do not: V = I."""

from __future__ import annotations

from torch import Tensor

from degradations.operator import SVDOperator


class Pixelwise(SVDOperator):
    """A keeps some values of an image, those whose singular value is 1, each where it is."""

    def Vt(self, x: Tensor) -> Tensor:
        return x

    def V(self, z: Tensor) -> Tensor:
        return z

    def Ut(self, y: Tensor) -> Tensor:
        return self.singular_values * y

    def U(self, z: Tensor) -> Tensor:
        return self.singular_values * z
