"""What a prior is trained to do: predict v, and how well it does at every noise level."""

from __future__ import annotations

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
    noise. Weights are min(SNR, γ)/(SNR + 1), min-SNR-γ for v (Hang et al., 2023), with SNR = ᾱ/(1−ᾱ).

    Args:
        schedule: the noise levels.
        gamma: γ; the higher, the more low noise counts.
        device: where training runs.
    """

    def __init__(self, schedule: NoiseSchedule, gamma: float, device: torch.device) -> None:
        alpha_bars = schedule.alpha_bars[1:]
        snr = alpha_bars / (1 - alpha_bars)
        self.K = schedule.K
        self.signal = alpha_bars.sqrt().float().to(device)
        self.spread = (1 - alpha_bars).sqrt().float().to(device)
        self.weight = (snr.clamp(max=gamma) / (snr + 1)).float().to(device)

    def __call__(self, network: Any, x0: Tensor, draw: torch.Generator) -> Tensor:
        """The loss of one batch x₀ (B, C, H, W) on the [-1, 1] scale, a level for each picture from `draw`."""
        batch, device = len(x0), x0.device
        # one level from each of B equal ranges: evenly drawn, with less chance in the batch's mean
        where = (torch.arange(batch, device=device) + torch.rand(batch, generator=draw, device=device)) / batch
        t = (where * self.K).long().clamp(max=self.K - 1)
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
