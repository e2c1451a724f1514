"""Numbers on another scale than [0, 1], which would be restored to nonsense without a word."""

from __future__ import annotations

import math

import torch

from degradations import Achromatic, Colorization, Denoising, Inpainting, Measurement, SuperResolution, SVDOperator
from restoration.tasks.task import LARGEST_SIGMA

BELOW, ABOVE = 0.1, 0.5
"""By how much of their range values may leave [0, 1] for other reasons than noise: ringing, lamps."""
NOISY = 3.0
"""Standard deviations that noise reaches in one value of a thousand."""
STRAY = 0.1
"""Share of values that may be anywhere."""


def refuse_other_units(measurement: Measurement) -> None:
    """ValueError where a measurement cannot be of images in [0, 1].

    Looked at are σ and, of operators that only average and leave out, the values: A x lies between 0 and A 1 then.
    Of any other operator |y| is at most s_max |x|.
    """
    sigma = float(torch.as_tensor(measurement.sigma).max())
    if sigma > LARGEST_SIGMA:
        raise ValueError(
            f"sigma must be in the units of images in [0, 1]: got {sigma:g}; "
            f"on a scale of 255 that is {sigma / 255:.3g}"
        )
    y, operator = measurement.y, measurement.operator
    if isinstance(operator, Achromatic):
        y, operator = operator.plane(y), operator.inner
    y = operator.U(operator.Ut(y.float()))  # where nothing was measured any number may stand
    if not _averages(operator):
        count = y[0].numel()
        most = float(operator.singular_values.max()) * math.sqrt(count)
        largest = float(y.float().flatten(1).norm(dim=1).max())
        if largest > (1 + ABOVE) * most * _spread(operator, count) + NOISY * sigma * count**0.5:
            raise ValueError(_said(y, "larger than any image in [0, 1] gives"))
        return
    ones = torch.ones(operator.batch_size or 1, *operator.image_shape, device=operator.singular_values.device)
    white = operator(ones.to(operator.singular_values.dtype)).to(y)
    below, above = (y < -BELOW * white - NOISY * sigma), (y > (1 + ABOVE) * white + NOISY * sigma)
    if float(below.float().mean()) > STRAY:
        raise ValueError(_said(y, "below 0 by more than noise; of images in [-1, 1], give (y + A·1)/2 and σ/2"))
    if float(above.float().mean()) > STRAY:
        raise ValueError(_said(y, "above white; divide y, and sigma, by the white of their scale, as 255"))


def _averages(operator: SVDOperator) -> bool:
    if isinstance(operator, Colorization):
        return bool((operator.weights >= 0).all())
    return isinstance(operator, (Denoising, Inpainting, SuperResolution))


def _spread(operator: SVDOperator, count: int) -> float:
    """√(pixels a measured number): an image has more of them than its measurement."""
    channels, height, width = operator.image_shape
    return max(math.sqrt(channels * height * width / count), 1.0)


def _said(y: torch.Tensor, why: str) -> str:
    low, high = float(y.min()), float(y.max())
    return f"y must be in the units of images in [0, 1]: it reaches from {low:.3g} to {high:.3g}, {why}"
