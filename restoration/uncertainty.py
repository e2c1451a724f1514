"""How sure samples are: their spread, their quantiles, and intervals that hold a promised share of the pixels.

Samples of a posterior tell where a picture could be otherwise, and they are too alike: a prior is not perfect, and
few evaluations are few. A factor that was measured on pictures whose truth is known makes intervals of them that
hold what they promise: mean ± factor · std, by conformal risk control.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 1 / (255 * math.sqrt(12))
"""The least spread that is believed, [0, 1] units: the std of rounding to 8 bits, as the truth was rounded."""
FACTORS: tuple[float, ...] = tuple(0.25 * 2 ** (i / 16) for i in range(129))
"""The factors among which one is chosen: 0.25 to 64, 16 an octave."""


def spread(samples: Tensor) -> Tensor:
    """The standard deviation of samples (S, ...) at every value (...), but at least ``LEAST``."""
    return samples.std(dim=0).clamp_min(LEAST)


def interval(samples: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """mean ∓ factor · :func:`spread` of samples (S, ...), cut to [0, 1]."""
    mean, width = samples.mean(dim=0), factor * spread(samples)
    return (mean - width).clamp(0, 1), (mean + width).clamp(0, 1)


def quantiles(samples: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """The quantiles of samples (S, ...) that have ``level`` of them in between, linear between samples."""
    tail = (1 - level) / 2
    low, high = torch.quantile(samples, samples.new_tensor([tail, 1 - tail]), dim=0)
    return low, high


def missed(samples: Tensor, truth: Tensor, factors: Sequence[float] = FACTORS) -> Tensor:
    """(F,) float64: of one picture, the share of uncertain values that mean ± factor · spread does not hold.

    Values whose samples differ by no more than ``LEAST`` are not uncertain, as the air around a head or a known
    pixel, and count only where they are missed: else they would make any interval look sure. A larger factor
    never misses more.

    Args:
        samples: (S, C, H, W), clamped to [0, 1].
        truth: (C, H, W).
    """
    width = spread(samples).double()
    away = (samples.double().mean(dim=0) - truth).abs() / width
    uncertain = samples.std(dim=0) > LEAST
    shares = []
    for factor in factors:
        outside = away > factor
        counted = (uncertain | outside).sum()
        shares.append(float(outside.sum() / counted.clamp_min(1)))
    return torch.tensor(shares, dtype=torch.float64)


def factor_for(losses: Tensor, level: float, confidence: float | None = None) -> float:
    """The least factor of ``FACTORS`` by which intervals hold ``level`` of a further picture's uncertain values.

    Without ``confidence`` they do so in expectation over pictures and calibrations: conformal risk control, the
    least λ with (n R̂(λ) + 1)/(n + 1) ≤ 1 − level. With it their mean over pictures is at least the level for
    that share of calibrations: risk-controlling prediction sets, by the bound of Waudby-Smith and Ramdas.

    Args:
        losses: (n, F), of every calibration picture as :func:`missed` has it.
        level: between 0 and 1, e.g. 0.9.
        confidence: between 0 and 1, e.g. 0.9.

    Raises:
        ValueError: too few pictures for that promise, or samples so far from the truth that no factor keeps it.

    Sources: Angelopoulos et al., *Conformal risk control*, 2022; Bates et al., *Distribution-free,
    risk-controlling prediction sets*, 2021; Angelopoulos et al., *Image-to-image regression with distribution-free
    uncertainty quantification*, 2022.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1: got {level:g}")
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1: got {confidence:g}")
    n, alpha = len(losses), 1 - level
    if confidence is None:
        bounds = ((losses.sum(dim=0) + 1) / (n + 1)).tolist()
    else:
        bounds = [risk_bound(losses[:, i], 1 - confidence) for i in range(losses.shape[1])]
    chosen = None
    for factor, bound in zip(reversed(FACTORS), reversed(bounds), strict=True):
        if bound > alpha + 1e-12:
            break
        chosen = factor
    if chosen is None:
        least = "" if confidence is not None else f", of which {math.ceil(round(1 / alpha - 1, 6))} are the least"
        raise ValueError(f"no factor up to {FACTORS[-1]:g} keeps {level:.0%} on {n} calibration pictures{least}")
    return chosen


def risk_bound(losses: Tensor, delta: float) -> float:
    """An upper bound of the mean of losses in [0, 1] that fails with probability ``delta`` at most.

    Source: Waudby-Smith and Ramdas, *Estimating means of bounded random variables by betting*, 2020, as Bates et
    al., 2021, use it.
    """
    n = len(losses)
    values = losses.double()
    count = torch.arange(1, n + 1, dtype=torch.float64)
    means = (0.5 + values.cumsum(0)) / (count + 1)
    variances = (0.25 + ((values - means) ** 2).cumsum(0)) / (count + 1)
    before = torch.cat([torch.tensor([0.25], dtype=torch.float64), variances[:-1]])
    bets = (2 * math.log(1 / delta) / (n * before)).sqrt().clamp(max=1)

    def refuted(risk: float) -> bool:
        """Whether the bets against that mean have won."""
        logs = torch.log1p((-bets * (values - risk)).clamp_min(-1 + 1e-12)).cumsum(0)
        return float(logs.max()) > math.log(1 / delta)

    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if refuted(middle) else (middle, high)
    return high
