"""Colorization with hints: grey is measured everywhere, and colour where somebody has said it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from degradations.achromatic import grey_and_chroma_axes
from degradations.arguments import as_plain
from degradations.colorization import Colorization
from degradations.measurement import Measurement
from degradations.operator import SVDOperator, checked_shape


class ColourHints(SVDOperator):
    """A is the mean of the channels at every pixel, and at hinted pixels the two chroma coordinates as well.

    In the orthonormal basis of the axis (1, 1, 1)/√3 and two chroma axes, a pixel's mean is its first coordinate
    over √3. So every pixel is a block of its own, with one measured component or three. The measurement
    (3, H, W) holds the mean in its first channel and the chroma coordinates in the others, 0 without a hint.

    Args:
        image_shape: (3, H, W).
        weight: (H, W) of the chroma rows, 0 at pixels without a hint: a hint has the measurement's noise over its
            weight. (B, 1, H, W): for each of B images.
        exact_grey: the means are measured without noise, whatever the measurement's σ is.
        exact: bool as ``weight``: hints without noise; None is none.

    Raises:
        ValueError: other images than of three channels, weights of another size, negative or not finite.
    """

    per_image = ("singular_values", "noiseless")
    axes: Tensor

    def __init__(
        self,
        image_shape: Sequence[int],
        weight: Tensor,
        exact: Tensor | None = None,
        *,
        exact_grey: bool = False,
    ) -> None:
        channels, height, width = checked_shape("image_shape", image_shape)
        if channels != 3:
            raise ValueError(f"image_shape must have 3 channels for hints of colour: got {channels}")
        rows = as_plain("weight", weight).to(torch.get_default_dtype())
        if rows.ndim not in (2, 4) or rows.shape[-2:] != (height, width) or rows.shape[-3:-2] not in ((), (1,)):
            raise ValueError(f"weight must be {(height, width)}, or (B, 1, H, W): got {tuple(rows.shape)}")
        if not bool(rows.isfinite().all()) or bool((rows < 0).any()):
            raise ValueError("weight must be finite and ≥ 0")
        noiseless = torch.zeros_like(rows, dtype=torch.bool) if exact is None else as_plain("exact", exact).bool()
        if noiseless.shape != rows.shape:
            raise ValueError(f"exact must be shaped as weight, {tuple(rows.shape)}: got {tuple(noiseless.shape)}")
        if rows.ndim == 2:
            rows, noiseless = rows[None], noiseless[None]
        grey = torch.full_like(rows, 1 / math.sqrt(3))
        flags = torch.cat([torch.full_like(noiseless, exact_grey), noiseless, noiseless], dim=-3)
        super().__init__(image_shape, image_shape, torch.cat([grey, rows, rows], dim=-3), flags)
        self.register_exact("axes", grey_and_chroma_axes())

    def Vt(self, x: Tensor) -> Tensor:
        return (self.axes.to(x) @ x.flatten(2)).view_as(x)

    def V(self, z: Tensor) -> Tensor:
        return (self.axes.to(z).mT @ z.flatten(2)).view_as(z)

    def Ut(self, y: Tensor) -> Tensor:
        return y * (self.singular_values > 0)

    def U(self, z: Tensor) -> Tensor:
        return z * (self.singular_values > 0)


def hinted(measurement: Measurement, colours: Tensor, noise: Tensor) -> Measurement:
    """A measurement of grey pictures that holds hints of colour as well.

    A hint gives a pixel its chroma, the differences between the channels; how light the pixel is was measured.
    What the measured grey cannot carry within [0, 1] is less saturated, in the same hue.

    Args:
        measurement: of B images, in [0, 1] units, by ``Colorization`` with equal weights.
        colours: (3, H, W) in [0, 1], read at hinted pixels only.
        noise: (H, W), standard deviation of each of a hint's two chroma coordinates, [0, 1] units: 0 keeps a hint
            exactly, more takes it for a suggestion; infinite where there is no hint.

    Raises:
        ValueError: another degradation, values of another shape or not finite, no hint at all, negative noise.

    Example:
        >>> import torch
        >>> from degradations import Colorization, simulate
        >>> grey = simulate(torch.rand(1, 3, 4, 4), Colorization((3, 4, 4)), 0.0, noise=torch.zeros(1, 1, 4, 4))
        >>> noise = torch.full((4, 4), torch.inf)
        >>> noise[1, 2] = 0  # this pixel is red
        >>> both = hinted(grey, torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 4, 4), noise)
        >>> int((both.operator.singular_values > 0).sum())  # 16 means, and two coordinates of chroma
        18
    """
    operator = measurement.operator
    if not isinstance(operator, Colorization) or bool((operator.weights != operator.weights[0]).any()):
        raise ValueError(f"hints of colour go with the mean of the channels: got {type(operator).__name__}")
    shape = operator.image_shape
    if tuple(noise.shape) != shape[1:] or tuple(colours.shape) != shape:
        raise ValueError(
            f"colours and noise must be {shape} and {shape[1:]}: "
            f"got {tuple(colours.shape)} and {tuple(noise.shape)}"
        )
    if bool(noise.isnan().any()) or bool((noise < 0).any()):
        raise ValueError("noise must be ≥ 0, or infinite where there is no hint")
    y = measurement.y
    noise = noise.to(y)
    where, soft = noise.isfinite(), noise.isfinite() & (noise > 0)
    if not bool(where.any()):
        raise ValueError("noise must be finite somewhere: there is no hint")
    colours = torch.where(where, colours.to(y), 0)
    if not bool(colours.isfinite().all()):
        raise ValueError("colours must be finite where they are hints: got NaN or infinity")
    own = torch.as_tensor(measurement.sigma).flatten()
    if bool((own != own[0]).any()):
        raise ValueError("measurement must have one sigma for hints: got several")
    # One σ serves both: the grey's own, or of grey without noise the least of the hints'.
    sigma = float(own[0]) or (float(noise[soft].min()) if bool(soft.any()) else 0.0)
    weight = torch.where(soft, sigma / torch.where(soft, noise, 1), where.to(y))
    exact_grey = not float(own[0]) and sigma > 0
    hints = ColourHints(shape, weight.cpu(), (noise == 0).cpu(), exact_grey=exact_grey).to(y.device)
    chroma = hints.Vt(_within(y, colours - colours.mean(dim=0)))[:, 1:]
    return Measurement(torch.cat([y, weight * chroma], dim=1), hints, sigma)


def _within(grey: Tensor, chroma: Tensor) -> Tensor:
    """Chroma (B, 3, H, W), as much of it as leaves grey + chroma in [0, 1]."""
    grey = grey.clamp(0, 1)
    room = torch.where(chroma > 0, 1 - grey, grey)
    share = torch.where(chroma != 0, room / chroma.abs(), torch.inf).amin(dim=1, keepdim=True)
    return chroma * share.clamp(max=1)
