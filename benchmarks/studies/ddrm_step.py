"""One DDRM step of ours against the same step on flattened, sorted vectors, the memory of a run, and every
sampler's step beside a pass of the network.

``python -m benchmarks.studies.ddrm_step`` exits 1 where the promise in its last line does not hold. The prior is
free, its x̂₀ (and for the baseline its ε) given: what is timed is all that DDRM adds to the network. Beside other
work on the same cores set OMP_WAIT_POLICY=passive: threads that spin for a core they do not get take longer than
the step.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Annotated

import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.studies import sampler_step
from benchmarks.studies.costs import FreePrior, clocked, peak_images
from benchmarks.studies.flattened_ddrm import FlatDDRM
from benchmarks.studies.operators import operators
from degradations import Measurement, simulate
from restoration.priors import load_prior
from solvers import DDRM, NoiseSource
from solvers.units import to_model

SIGMA_Y = 0.1  # in model units, [-1, 1]
WARM_UP = 3  # rounds before the clock counts: allocator, caches, kernels
TOLERANCE = 1e-4  # of x in [-1, 1] after every step, float32; the two sum in different orders
FASTER = 5.0


class Replay(NoiseSource):
    """The same noise at every step, so that two formulations can be compared number by number."""

    def __init__(self, xi: Tensor) -> None:
        super().__init__(range(len(xi)), xi.device)
        self.xi = xi

    def normal(self, shape: Sequence[int]) -> Tensor:
        return self.xi


@dataclass
class Case:
    """One operator at one σ_y, both formulations of it, and what was measured of them."""

    name: str
    measurement: Measurement
    prior: FreePrior
    x: Tensor
    ours: list[float] = field(default_factory=list)
    flat: list[float] = field(default_factory=list)
    lean: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    peaks: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self.ddrm, self.baseline = DDRM(self.prior, self.measurement), FlatDDRM(self.measurement)

    def eps(self, x: Tensor, k: int) -> Tensor:
        """The ε that goes with x and the prior's x̂₀ at level k."""
        alpha_bar = self.prior.schedule.alpha_bar(k)
        return (x - math.sqrt(alpha_bar) * self.prior.x0) / math.sqrt(1 - alpha_bar)

    def difference(self, xi: Tensor, steps: int = 12) -> float:
        """The largest difference between the two x after any step of a run with the same noise ξ in both.

        ξ holds our spectral components; the baseline gets them as an image, in its own basis.
        """
        alpha_bar, levels = self.prior.schedule.alpha_bar, self.prior.schedule.steps(self.prior.schedule.K, steps)
        ours = [(self.prior.x, item) for item in self.ddrm.follow(self.x, levels, Replay(xi))]
        expected = [*(seen for seen, _ in ours[1:]), ours[-1][1]]
        flat_xi = self.baseline.basis.Vt(self.measurement.operator.V(xi))
        x, worst = self.x, 0.0
        for (k, k_next), mine in zip(pairwise((*levels, 0)), expected, strict=True):
            given = (x, self.prior.x0, self.eps(x, k), alpha_bar(k), alpha_bar(k_next))
            x = self.baseline.step(*given, lambda mask, _: flat_xi[:, mask], lean=False)
            worst = max(worst, float((x - mine).abs().max()))
        return worst

    def time(self, repeats: int) -> None:
        """Step both down one schedule, round by round, so that a busy machine slows both alike."""
        alpha_bar, x, x0 = self.prior.schedule.alpha_bar, self.x, self.prior.x0
        noise = NoiseSource(range(len(x)), x.device)
        generator = torch.Generator(x.device).manual_seed(0)

        def draw(mask: Tensor, like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator, device=like.device)

        # Two levels more than rounds: the first advance starts the run, the last one holds two steps.
        levels = self.prior.schedule.steps(self.prior.schedule.K, WARM_UP + repeats + 2)
        run = self.ddrm.follow(x, levels, noise)
        next(run)
        for k, k_next in pairwise(levels[:-1]):
            step = partial(self.baseline.step, x, x0, self.eps(x, k), alpha_bar(k), alpha_bar(k_next), draw)
            clocked(x.device, self.ours, partial(next, run))
            x = clocked(x.device, self.flat, partial(step, lean=False))
            clocked(x.device, self.lean, partial(step, lean=True))
            clocked(x.device, self.noise, partial(noise.normal, x.shape))
        for times in (self.ours, self.flat, self.lean, self.noise):
            del times[:WARM_UP]
        self.peaks = (peak_images(self.ddrm, self.x, 10), peak_images(self.ddrm, self.x, 100))

    def faster(self, than: list[float]) -> float:
        """How many times faster ours is: the median over rounds of the ratio within a round."""
        return median(other / mine for other, mine in zip(than, self.ours, strict=True))


def make_cases(size: int, batch: int, device: torch.device) -> list[Case]:
    """Every operator, noiseless and noisy, on random images in [-1, 1]."""
    shape, generator = (3, size, size), torch.Generator().manual_seed(0)
    clean, x0 = (to_model(torch.rand(batch, *shape, generator=generator)) for _ in range(2))
    x = torch.randn(batch, *shape, generator=generator)
    cases = []
    for name, make in operators(size).items():
        operator = make()
        for sigma in (0.0, SIGMA_Y):
            n = torch.randn(batch, *operator.measurement_shape, generator=generator)
            measurement = simulate(clean, operator, sigma, noise=n).to(device)
            cases.append(Case(name, measurement, FreePrior(x0.to(device)), x.to(device)))
    return cases


def broken_promises(cases: Sequence[Case]) -> list[str]:
    """What the measured cases break of: SR16 at least 5 times faster, none slower, memory that does not grow."""
    broken = []
    for case in cases:
        name, ratio, least = f"{case.name} at σ_y {case.measurement.sigma}", case.faster(case.flat), 1.0
        if case.name == "SuperResolution(16)":
            least = FASTER
        if ratio < least:
            broken.append(f"{name} is {ratio:.2f} times faster, not {least:g}")
        if case.peaks[1] > 1.01 * case.peaks[0]:
            broken.append(f"{name} takes more memory in 100 steps than in 10")
    return broken


def report(cases: Sequence[Case], device: torch.device) -> Table:
    """The measured cases as a table: medians of a step, ratios, memory."""
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device} {_processor()}"
    threads = f"{torch.get_num_threads()} threads"
    table = Table(
        title=f"One DDRM step, {'×'.join(map(str, cases[0].x.shape))} float32\n"
        f"{chip}, {threads}, torch {torch.__version__}",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption="noise: share of ours that drawing noise takes. lean: the baseline without its spare Vᵀx.\n"
        "peak: memory beyond the state in 10 / 100 steps, in tensors as large as the batch.",
    )
    table.add_column("operator", no_wrap=True)
    for header in ("σ_y", "ours ms", "noise", "flat ms", "faster", "lean", "peak"):
        table.add_column(header, justify="right", no_wrap=True)
    for case in cases:
        table.add_row(
            case.name,
            f"{case.measurement.sigma:g}",
            f"{1e3 * median(case.ours):.2f}",
            f"{median(case.noise) / median(case.ours):.0%}",
            f"{1e3 * median(case.flat):.2f}",
            f"{case.faster(case.flat):.2f}×",
            f"{case.faster(case.lean):.2f}×",
            f"{case.peaks[0]:.2f} / {case.peaks[1]:.2f}",
        )
    return table


def _processor() -> str:
    return f"{platform.processor() or platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def main(
    size: Annotated[int, typer.Option(min=16, help="Side of the images; a multiple of 16.")] = 256,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 2,
    repeats: Annotated[int, typer.Option(min=2, max=900, help="Timed steps of each formulation.")] = 30,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    prior: Annotated[str, typer.Option(help="Whose pass the samplers' steps are set against.")] = "faces-64",
) -> None:
    """Compare DDRM's step with its flattened formulation and other samplers'; exits 1 if a promise is broken."""
    if size % 16:
        raise typer.BadParameter(f"must be a multiple of 16: got {size}", param_hint="--size")
    try:
        place = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise typer.BadParameter(f"cannot be used: {error}", param_hint="--device") from None
    console = Console(highlight=False, soft_wrap=True, width=100)
    cases = make_cases(size, batch, place)
    xi = torch.randn(cases[0].x.shape, generator=torch.Generator().manual_seed(1)).to(place)
    for case in cases:
        if not (difference := case.difference(xi)) < TOLERANCE:
            console.print(f"No timings: on {case.name} the two formulations differ by {difference:.2g}.")
            raise typer.Exit(1)
    for case in cases:
        case.time(repeats)
    console.print(report(cases, place))
    network = load_prior(prior, device)
    overheads = []
    for case in make_cases(network.image_shape[-1], batch, place):
        name = f"{case.name}, {case.measurement.sigma:g}"
        given = (name, network, case.measurement, case.prior.x0, repeats, clocked)
        overheads += [sampler_step.measured(*given)]
    console.print(sampler_step.report(overheads, network, batch))
    if broken := [*broken_promises(cases), *sampler_step.broken_promises(overheads)]:
        console.print(f"The promise does not hold: {'; '.join(broken)}.")
        raise typer.Exit(1)
    console.print(
        f"The promise holds: SR16 at least {FASTER:g} times faster, none slower, constant memory, no sampler's "
        f"step more than {sampler_step.MOST:g} times DDRM's."
    )


if __name__ == "__main__":
    typer.run(main)
