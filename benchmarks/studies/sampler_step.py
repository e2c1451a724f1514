"""Every sampler's step beside the pass of the network that it needs: part of ``benchmarks.studies.ddrm_step``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table
from torch import Tensor

from degradations import Measurement
from solvers import FIRE, SAMPLERS, NoiseSource, Prior, Spectral, settings_of
from solvers.prior import rmse_of

MOST = 2.0
"""How many times DDRM's step another sampler's may take."""
WARM_UP = 3
Clock = Callable[[torch.device, list[float], Callable[[], object]], object]


def samplers() -> dict[str, Spectral.Settings]:
    """Every sampler that there is, both aims of FIRE, by name; DDRM first."""
    found: dict[str, Spectral.Settings] = {}
    for name, kind in SAMPLERS.items():
        if kind is FIRE:
            found |= {"FIRE faithful": FIRE.Settings("faithful"), "FIRE natural": FIRE.Settings("natural")}
        else:
            found[kind.__name__] = settings_of(name)
    return found


class Idle:
    """A prior whose answer is given; for the rest, its error among it, it is the one that it stands for."""

    def __init__(self, prior: Prior, x0: Tensor) -> None:
        self.schedule, self.image_shape, self.device = prior.schedule, prior.image_shape, prior.device
        self.name, self.x0 = prior.name, x0
        self._prior = prior

    def fingerprint(self) -> str:
        """Of the prior that it stands for."""
        return self._prior.fingerprint()

    def rmse(self, k: int) -> float | None:
        """Of the prior that it stands for."""
        return rmse_of(self._prior, k)

    def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
        """x̂₀, given."""
        return self.x0


@dataclass
class Overhead:
    """Times in seconds, one a round: a pass of the network, and a step of every sampler without one."""

    name: str
    bare: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)

    def against(self, name: str, other: Sequence[float]) -> float:
        """A sampler's step over another time: the median over rounds of the ratio within a round."""
        return median(mine / theirs for mine, theirs in zip(self.steps[name], other, strict=True))


def measured(
    name: str, prior: Prior, measurement: Measurement, x0: Tensor, repeats: int, clock: Clock
) -> Overhead:
    """Step every sampler down its own run, round by round, so that a busy machine slows all alike.

    Args:
        prior: whose pass is timed.
        measurement: in the prior's units, on its device.
        x0: (B, C, H, W), the answer to all questions.
        clock: notes the seconds that something took on a device.
    """
    overhead, device, rounds = Overhead(name), x0.device, WARM_UP + repeats
    idle = Idle(prior, x0)
    runs = {}
    for kind, settings in samplers().items():
        sampler, noise = settings.of(idle, measurement), NoiseSource(range(len(x0)), device)
        k, _ = sampler.starts((rounds + 1,))
        runs[kind] = sampler.sample(sampler.initial(k, noise), k, rounds + 1, noise)
        overhead.steps[kind] = []
    for _ in range(rounds):  # a run's last step is another one: it is left out
        clock(device, overhead.bare, partial(prior.denoise, x0, prior.schedule.K // 2))
        for kind, run in runs.items():
            clock(device, overhead.steps[kind], partial(next, run))
    for times in (overhead.bare, *overhead.steps.values()):
        del times[:WARM_UP]
    return overhead


def report(overheads: Sequence[Overhead], prior: Prior, batch: int) -> Table:
    """Medians of the pass, and of every sampler's step beside it and beside DDRM's."""
    size = "×".join(map(str, (batch, *prior.image_shape)))
    title = f"What a sampler's step adds to a pass of {prior.name}, {size}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("operator, σ_y", no_wrap=True)
    table.add_column("sampler", no_wrap=True)
    for header in ("step ms", "pass ms", "of pass", "÷ DDRM"):
        table.add_column(header, justify="right", no_wrap=True)
    for one in overheads:
        for i, name in enumerate(one.steps):
            table.add_row(
                "" if i else one.name,
                name,
                f"{1e3 * median(one.steps[name]):.2f}",
                "" if i else f"{1e3 * median(one.bare):.1f}",
                f"{one.against(name, one.bare):.1%}",
                f"{one.against(name, one.steps['DDRM']):.2f}",
            )
    return table


def broken_promises(overheads: Sequence[Overhead]) -> list[str]:
    """Which samplers' steps take more than ``MOST`` times DDRM's."""
    return [
        f"{name}'s step on {one.name} takes {ratio:.2f} times DDRM's, not at most {MOST:g}"
        for one in overheads
        for name in one.steps
        if (ratio := one.against(name, one.steps["DDRM"])) > MOST
    ]
