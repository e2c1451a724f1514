"""Brain slices from a quarter of k-space: what is restored, what is uncertain, and whether the spread is honest.

    python examples/mri_uncertainty.py --data brain-mri/test.tar --slices 4 --samples 8 --out mri/

deepinv simulates single-coil Cartesian MRI with a variable-density mask whose centre is whole; k-space is complex
and noisy, images are real and grey. Several posterior samples of each slice give a mean and a standard deviation.
DDRM is known to be over-confident: how often mean ± 2 std holds the truth is measured here.
What a prior fills in is plausible, not what is there: not for diagnosis.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from deepinv.loss.metric import PSNR
from deepinv.physics import MRI, GaussianNoise
from deepinv.physics.generator import GaussianMaskGenerator
from scipy.stats import t as student
from torch import Tensor

from benchmarks.commands.sheet import Cell, contact_sheet
from restoration import load_prior
from restoration.deepinv_plugin import NestedDDRM
from restoration.pictures import images
from restoration.pictures.sources import find
from restoration.priors import DiffusionPrior

HEAD = 0.05
"""Brighter than this is head, the rest is air."""
SMALLEST = 1e-4
"""A standard deviation below this is taken to be this: 1/40 of a grey level."""
COLUMNS = ("original", "zero-filled", "mean", "std x 5", "|error| x 5")


@dataclass(frozen=True)
class Slice:
    """One slice (1, H, W) each, in [0, 1], of ``samples`` (S, 1, H, W)."""

    name: str
    original: Tensor
    zero_filled: Tensor
    samples: Tensor

    @property
    def mean(self) -> Tensor:
        """Of the samples."""
        return self.samples.mean(0)

    @property
    def std(self) -> Tensor:
        """Of the samples."""
        return self.samples.std(0)

    @property
    def error(self) -> Tensor:
        """Of the mean, in absolute value."""
        return (self.mean - self.original).abs()


def slices(data: Path, count: int, prior: DiffusionPrior) -> list[tuple[str, Tensor]]:
    """The first pictures by name, grey, (1, H, W), of the prior's size."""
    found = []
    for source in find([data])[:count]:
        picture = images.decode(source.read(), source.name).mean(0, keepdim=True)
        if tuple(picture.shape) != prior.image_shape:
            raise SystemExit(f"{source.name} must be {prior.image_shape}: it is {tuple(picture.shape)}")
        found.append((source.name, picture))
    return found


def restore(name: str, original: Tensor, physics: MRI, model: NestedDDRM, seeds: Sequence[int]) -> Slice:
    """Simulate k-space of a real slice once, and sample from its posterior."""
    x = original[None].to(physics.mask.device)
    y = physics(torch.cat([x, torch.zeros_like(x)], dim=1))
    zero_filled = physics.A_adjoint(y)[0, :1]
    samples = model(y.repeat(len(seeds), 1, 1, 1), physics, seed=list(seeds))
    return Slice(name, original, zero_filled.cpu().clamp(0, 1), samples.cpu())


@dataclass(frozen=True)
class Honesty:
    """How the spread of samples compares with their mean's error, over pixels.

    Args:
        correlation: of error and std.
        coverage: share of pixels in which mean ± 2 std holds the truth.
        factor: by which std must be multiplied for that share to be 95 %.
    """

    correlation: float
    coverage: float
    factor: float


def honesty(error: Tensor, std: Tensor) -> Honesty:
    """Of pixels (n,)."""
    std = std.double().clamp(min=SMALLEST)
    ratio = error.double() / std
    correlation = float(torch.corrcoef(torch.stack([error.double(), std]))[0, 1])
    worst = ratio.sort().values[math.ceil(0.95 * len(ratio)) - 1]
    return Honesty(correlation, float((ratio <= 2).double().mean()), float(worst) / 2)


def exact_coverage(samples: int) -> float:
    """What mean ± 2 std of so many samples holds of another one, if all are of one Gaussian (Student's t)."""
    return float(2 * student.cdf(2 / math.sqrt(1 + 1 / samples), samples - 1) - 1)


def exact_factor(samples: int) -> float:
    """By what the std of so many of them must be multiplied to hold 95 %: few samples need more than 1."""
    return float(student.ppf(0.975, samples - 1) * math.sqrt(1 + 1 / samples) / 2)


def verdict(heads: Honesty, samples: int) -> str:
    """What was found in the heads beside what so many samples of the truth's own Gaussian would give."""
    wanted = exact_coverage(samples)
    return (
        f"In heads mean ± 2 std of {samples} samples holds the truth in {heads.coverage:.1%} of pixels; "
        f"of an exact Gaussian sampler it would in {wanted:.0%}. For 95 % the std must be multiplied by "
        f"{heads.factor:.2f}, an exact sampler's by {exact_factor(samples):.2f}: "
        f"DDRM is {'over' if heads.coverage < wanted else 'under'}-confident here."
    )


def pooled(some: Sequence[Slice], head: bool = False) -> Honesty:
    """Over the pixels of all slices, or of their heads only."""
    error = torch.cat([each.error.flatten() for each in some])
    std = torch.cat([each.std.flatten() for each in some])
    if head:
        inside = torch.cat([each.original.flatten() for each in some]) > HEAD
        error, std = error[inside], std[inside]
    return honesty(error, std)


def row(name: str, found: Honesty, shown: Sequence[float] = ()) -> str:
    """A line of the table; ``shown`` are PSNRs."""
    line = f"{name:24} {found.correlation:11.2f} {found.coverage:9.1%} {found.factor:11.2f}"
    return line + "".join(f" {value:11.2f}" for value in shown)


def picture(some: Sequence[Slice], title: str, path: Path) -> None:
    """The slices beside their maps."""
    rows = []
    for each in some:
        shown = (each.original, each.zero_filled, each.mean, 5 * each.std, 5 * each.error)
        rows.append((Path(each.name).stem[:12], [Cell(one) for one in shown]))
    contact_sheet(title, COLUMNS, rows).save(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Mean, spread and their honesty for undersampled MRI.")
    parser.add_argument("--data", type=Path, required=True, help="folder or tar of grey slices")
    parser.add_argument("--prior", default="brain-mri-128", help="a grey prior")
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--samples", type=int, default=8, help="of each slice's posterior, at least 2")
    parser.add_argument("--outer", type=int, default=3, help="outer steps")
    parser.add_argument("--inner", type=int, default=10, help="network evaluations per outer step")
    parser.add_argument("--acceleration", type=int, default=4, help="one of so many lines of k-space is measured")
    parser.add_argument("--sigma", type=float, default=0.02, help="noise of k-space's real and imaginary parts")
    parser.add_argument("--precision", default="auto", help="of the network: fp32, bf16, fp16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("mri"), help="folder for the picture")
    options = parser.parse_args(arguments)
    if options.samples < 2:
        parser.error(f"--samples must be at least 2: got {options.samples}")
    if options.slices < 1 or options.acceleration < 2:
        parser.error(
            "--slices must be at least 1 and --acceleration at least 2: "
            f"got {options.slices} and {options.acceleration}"
        )

    prior = load_prior(options.prior, dtype=options.precision)
    generator = torch.Generator(prior.device).manual_seed(options.seed)
    lines = GaussianMaskGenerator(
        prior.image_shape[1:], acceleration=options.acceleration, rng=generator, device=prior.device
    )
    noise = GaussianNoise(options.sigma, rng=generator)
    physics = MRI(mask=lines.step()["mask"], noise_model=noise, device=prior.device)
    model = NestedDDRM(prior, outer_steps=options.outer, inner_steps=options.inner)

    done, psnr = [], PSNR()
    headings = ("error ~ std", "coverage", "std factor", "zero-filled", "one sample", "mean, dB")
    print(" " * 25 + " ".join(f"{name:>{9 if name == 'coverage' else 11}}" for name in headings))
    for i, (name, original) in enumerate(slices(options.data, options.slices, prior)):
        seeds = range(options.seed + i * options.samples, options.seed + (i + 1) * options.samples)
        one = restore(name, original, physics, model, seeds)
        shown = [float(psnr(image[None], original[None])) for image in (one.zero_filled, one.samples[0], one.mean)]
        print(row(name[:24], pooled([one]), shown), flush=True)
        done.append(one)
    print(row("all pixels", pooled(done)))
    heads = pooled(done, head=True)
    print(row("all pixels of the heads", heads))
    print(verdict(heads, options.samples))

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "uncertainty.png"
    steps = f"{options.outer} x {options.inner} evaluations, {options.samples} samples"
    picture(done, f"{options.acceleration} x undersampled MRI, sigma {options.sigma:g}, {steps}", path)
    print(path)


if __name__ == "__main__":
    main()
