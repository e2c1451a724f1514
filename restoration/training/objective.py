"""What a prior is trained to do: predict v, and how well it does at every noise level."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from solvers import NoiseSchedule

LEVELS = (1, 25, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
"""Noise levels k at which a trained prior is measured on pictures it has not seen."""


class Objective:
    """The weighted mean square error of v = √ᾱ ε − √(1−ᾱ) x₀ (Salimans and Ho, 2022) over all noise levels.

    With ε-prediction an error at the highest noise is multiplied by σ = 157 in x̂₀; v is x̂₀ there and ε at low
    noise. How the levels are drawn and weighted:

    * balanced, the default: half of the levels evenly in k, half (`low`) evenly in ln σ, since samplers of few
      steps go down evenly in ln σ and all of σ < 0.1 is 25 of 1,000 levels. The weight is √ᾱ √(1−ᾱ), half-way
      between the loss of ε (ᾱ) and that of x₀ (1−ᾱ): of photographs, every level then adds about as much to the
      loss.
    * min-SNR-γ for v (Hang et al., 2023): evenly in k, weighted by min(SNR, γ)/(SNR + 1), SNR = ᾱ/(1−ᾱ).

    Args:
        schedule: the noise levels.
        gamma: γ of min-SNR, where the higher, the more low noise counts; None for balanced.
        device: where training runs.
        low: the share of levels drawn evenly in ln σ, in twentieths; the higher, the more low noise counts.
    """

    def __init__(
        self, schedule: NoiseSchedule, gamma: float | None, device: torch.device, low: float = 0.5
    ) -> None:
        alpha_bars = schedule.alpha_bars[1:]
        self.K = schedule.K
        self.signal = alpha_bars.sqrt().float().to(device)
        self.spread = (1 - alpha_bars).sqrt().float().to(device)
        if gamma is None:
            weight = (alpha_bars * (1 - alpha_bars)).sqrt()
            self.drawn = _evenly_in_k_and_log(((1 - alpha_bars) / alpha_bars).sqrt(), low).to(device)
        else:
            snr = alpha_bars / (1 - alpha_bars)
            weight = snr.clamp(max=gamma) / (snr + 1)
            self.drawn = torch.arange(self.K, device=device)
        self.weight = weight.float().to(device)

    def __call__(self, network: Any, x0: Tensor, draw: torch.Generator) -> Tensor:
        """The loss of one batch x₀ (B, C, H, W) on the [-1, 1] scale, a level for each picture from `draw`."""
        batch, device = len(x0), x0.device
        # one level from each of B equal ranges: evenly drawn, with less chance in the batch's mean
        where = (torch.arange(batch, device=device) + torch.rand(batch, generator=draw, device=device)) / batch
        t = self.drawn[(where * len(self.drawn)).long().clamp(max=len(self.drawn) - 1)]
        noise = torch.randn(x0.shape, generator=draw, device=device)
        errors = self.errors(network, x0, t, noise)
        return (self.weight[t] * errors).mean()

    def errors(self, network: Any, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Each picture's mean square error of v (B,) at timesteps t = k − 1; x̂₀'s is (1 − ᾱ) times that."""
        signal, spread = self.signal[t].view(-1, 1, 1, 1), self.spread[t].view(-1, 1, 1, 1)
        output = network(signal * x0 + spread * noise, t).sample.float()
        wanted = self.target(x0, noise, signal, spread)
        return functional.mse_loss(output, wanted, reduction="none").mean((1, 2, 3))

    def target(self, x0: Tensor, noise: Tensor, signal: Tensor, spread: Tensor) -> Tensor:
        """What the network is to answer: v."""
        return signal * noise - spread * x0

    @torch.no_grad()
    def by_level(
        self, network: Any, pictures: Tensor, batch: int, seed: int = 0
    ) -> dict[int, tuple[float, float]]:
        """For every k of ``LEVELS``: the mean square error of v, and the RMSE of x̂₀ in [0, 1] units.

        The noise is drawn on the CPU from `seed`, so that two priors are asked the same questions.
        """
        table = {}
        for k in LEVELS:
            draw = torch.Generator().manual_seed(seed + k)
            total = 0.0
            for x0 in torch.split(pictures, batch):
                noise = torch.randn(x0.shape, generator=draw).to(self.signal.device)
                t = torch.full((len(x0),), k - 1, device=noise.device)
                total += float(self.errors(network, x0.to(noise.device), t, noise).sum())
            mean = total / len(pictures)
            table[k] = mean, float(self.spread[k - 1]) * mean**0.5 / 2
        return table


def _evenly_in_k_and_log(sigmas: Tensor, low: float) -> Tensor:
    """Timesteps t in order, of which equal chances draw `low` evenly in ln σ and the others evenly in t."""
    count = len(sigmas)
    logs = sigmas.log()
    targets = torch.linspace(float(logs[0]), float(logs[-1]), count, dtype=logs.dtype)
    nearest = (logs[None, :] - targets[:, None]).abs().argmin(1)
    share = Fraction(round(20 * low), 20)
    shares = share.denominator - share.numerator, share.numerator
    return torch.cat([torch.arange(count).repeat(shares[0]), nearest.repeat(shares[1])]).sort().values
