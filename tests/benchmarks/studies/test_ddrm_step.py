"""The speed comparison compares like with like (its timings are no tests)."""

from __future__ import annotations

import pytest
import torch

from benchmarks.studies import sampler_step
from benchmarks.studies.costs import clocked, peak_images
from benchmarks.studies.ddrm_step import TOLERANCE, Case, make_cases
from restoration import GaussianPrior


@pytest.mark.parametrize("case", [pytest.param(c, id=f"{c.name}") for c in make_cases(32, 2, torch.device("cpu"))])
def test_the_flattened_formulation_takes_the_same_steps(case: Case) -> None:
    xi = torch.randn(case.x.shape, generator=torch.Generator().manual_seed(1))
    assert case.difference(xi) < TOLERANCE
    case.baseline.eta = 0.5
    everything = bool((case.measurement.operator.singular_values > 0).all())
    # the check has teeth, unless η counts nowhere
    assert case.difference(xi) > 100 * TOLERANCE or (everything and case.measurement.sigma == 0)


def test_memory_does_not_grow_with_the_number_of_steps() -> None:
    for case in make_cases(32, 2, torch.device("cpu")):
        few, many = (peak_images(case.ddrm, case.x, steps) for steps in (5, 40))
        # scalars that Python frees a moment later may overlap by a few bytes
        assert many == pytest.approx(few, rel=0.01)
        # a complex spectrum is two images; the basis of a macroblock is larger than an image of 32 × 32
        assert many < 12 or "4:2:0" in case.name


def test_every_sampler_is_stepped_beside_the_networks_pass() -> None:
    prior = GaussianPrior(torch.zeros(3, 16, 16), torch.eye(768))
    for case in make_cases(16, 2, torch.device("cpu")):
        found = sampler_step.measured(case.name, prior, case.measurement, case.prior.x0, 4, clocked)
        assert set(found.steps) >= {"DDRM", "FIRE faithful", "FIRE natural"}
        assert {len(found.bare), *map(len, found.steps.values())} == {4}
    slow = sampler_step.Overhead("here", [1.0], {"DDRM": [0.1], "FIRE natural": [0.19], "FIRE faithful": [0.21]})
    assert sampler_step.broken_promises([slow]) == [
        "FIRE faithful's step on here takes 2.10 times DDRM's, not at most 2"
    ]
