"""Whether a prior has probably seen pictures like one, by how much it knows of it that any picture has not.

Noise of ``SIGMA`` is added to a picture, and the prior takes it away in one evaluation. How well it does so says
little by itself: an empty picture is easy for anybody. So its error is compared with that of wavelet shrinkage
(BayesShrink), which knows nothing of any kind of picture. What the ratio is of pictures like those it was trained
on is measured on held-out ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nested.reading import conform

if TYPE_CHECKING:
    from torch import Tensor

    from solvers import Prior

KEY = "familiarity"
"""Of a calibration; ``restore-bench familiarity --calibrate`` writes it."""
SIGMA = 1.0
"""Of the noise that is added, on the [-1, 1] scale: where much is left to be known, and not all."""
RARE = 0.02
"""A picture is strange where so few of the held-out ones would be as little known."""
SEED = 2**40
"""Of the added noise."""


@dataclass(frozen=True)
class Familiarity:
    """The ratios of held-out pictures, and how others compare.

    Args:
        ratios: :func:`ratio_of` each, rising.
    """

    ratios: tuple[float, ...]

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Familiarity:
        """As a calibration holds it; KeyError, TypeError or ValueError of anything else."""
        ratios = conform(told["ratios"], list[float], "ratios")
        if not ratios or min(ratios) < 0 or sorted(ratios) != ratios:
            raise ValueError("ratios must be numbers of at least 0, rising")
        return cls(tuple(map(float, ratios)))

    def share(self, ratio: float) -> float:
        """The conformal p-value: which share of pictures like the held-out ones is at least as little known."""
        above = sum(other >= ratio for other in self.ratios)
        return (1 + above) / (1 + len(self.ratios))

    def strange(self, ratio: float) -> bool:
        """Whether the prior has probably never seen such a picture."""
        return self.share(ratio) <= RARE


def ratio_of(prior: Prior, picture: Tensor) -> float:
    """RMS of the prior's error over that of wavelet shrinkage, both of one picture with the same noise.

    Args:
        prior: of the picture's size, maybe in tiles; one evaluation.
        picture: (C, H, W) in [0, 1], C = 1 or the prior's.
    """
    import numpy as np
    import torch
    from skimage.restoration import denoise_wavelet

    from solvers import NoiseSource

    device = prior.device
    x = 2 * picture.detach().float().to(device).clamp(0, 1).expand(prior.image_shape[0], -1, -1)[None] - 1
    k = round(float(prior.schedule.level(torch.tensor([SIGMA]))))
    alpha_bar = float(prior.schedule.alpha_bar(k))
    noise = NoiseSource([SEED], "cpu").normal(tuple(x.shape)).to(device)  # the same on any device
    x0 = prior.denoise(math.sqrt(alpha_bar) * x + math.sqrt(1 - alpha_bar) * noise, k)
    sigma = math.sqrt((1 - alpha_bar) / alpha_bar)
    noisy = (x + sigma * noise)[0].cpu().double().numpy()
    plain = denoise_wavelet(noisy, sigma=sigma, channel_axis=0, method="BayesShrink", mode="soft")
    error = float((x0 - x).square().mean().sqrt())
    base = float(np.sqrt(((plain.clip(-1, 1) - x[0].cpu().numpy()) ** 2).mean()))
    return error / max(base, 1e-6)


def quantiles(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Least, middle and largest."""
    ordered = sorted(ratios)
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]
