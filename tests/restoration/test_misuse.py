"""What a caller gets wrong is one line of ValueError or TypeError that names the argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from degradations import (
    Achromatic,
    Colorization,
    Denoising,
    FourierSampling,
    Inpainting,
    Measurement,
    SuperResolution,
    SVDOperator,
    simulate,
)
from restoration import GaussianPrior, Preview, Restorer, load_prior, prior_for
from solvers import NoiseSource

SHAPE = (3, 8, 8)
PRIOR = GaussianPrior(torch.zeros(SHAPE), torch.eye(192))
Y = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))


def measured(y: Tensor = Y, sigma: Any = 0.1, operator: Any = None) -> Measurement:
    return Measurement(y, Denoising(SHAPE) if operator is None else operator, sigma)


def restored(measurement: Any = None, **options: Any) -> Any:
    given = {"outer": 1, "inner": 2, "seeds": [1]} | options
    return Restorer(PRIOR).restore(measured() if measurement is None else measurement, **given)


MISUSE: dict[str, tuple[Callable[[], object], str]] = {
    "sparse y": (lambda: measured(Y.to_sparse()), "y must hold its values"),
    "meta y": (lambda: measured(Y.to("meta")), "y must hold its values"),
    "complex sigma": (lambda: measured(sigma=1j), "sigma must be a number"),
    "complex sigmas": (lambda: measured(sigma=torch.tensor([1j])), "sigma must be real"),
    "true sigma": (lambda: measured(sigma=True), "sigma must be a number"),
    "meta sigma": (lambda: measured(sigma=torch.empty(1, device="meta")), "sigma must hold its values"),
    "sparse sigma": (lambda: measured(sigma=torch.tensor([0.1]).to_sparse()), "sigma must hold its values"),
    "text for sigma": (lambda: measured(sigma="0.1"), "sigma must be a number"),
    "no operator": (lambda: Measurement(Y, None, 0.1), "operator must be an SVDOperator"),  # type: ignore[arg-type]
    "a class": (lambda: measured(operator=Denoising), "operator must be an SVDOperator"),
    "no copies": (lambda: measured().expand(0), "n must be at least 1"),
    "no noise": (lambda: simulate(Y, Denoising(SHAPE), 0.1, noise="x"), "noise must be"),  # type: ignore[arg-type]
    "no mask": (lambda: Inpainting(SHAPE, None), "mask must be a tensor"),  # type: ignore[arg-type]
    "sparse mask": (lambda: Inpainting(SHAPE, torch.ones(8, 8).to_sparse()), "mask must hold its values"),
    "complex mask": (lambda: Inpainting(SHAPE, torch.ones(8, 8, dtype=torch.cfloat)), "mask must be real"),
    "float shape": (lambda: Denoising((3.0, 4, 4)), "image_shape must be"),  # type: ignore[arg-type]
    "no shape": (lambda: Denoising(None), "image_shape must be"),  # type: ignore[arg-type]
    "text for shape": (lambda: Denoising("abc"), "image_shape must be"),  # type: ignore[arg-type]
    "no factor": (lambda: SuperResolution(SHAPE, None), "factor must be"),  # type: ignore[arg-type]
    "text for factor": (lambda: SuperResolution(SHAPE, "4"), "factor must be"),  # type: ignore[arg-type]
    "NaN for factor": (lambda: SuperResolution(SHAPE, float("nan")), "factor must be"),  # type: ignore[arg-type]
    "complex weights": (lambda: Colorization(SHAPE, [1j, 1, 1]), "weights must be real"),  # type: ignore[list-item]
    "a name for prior": (lambda: Restorer("photos-64"), "prior must be one that was loaded"),  # type: ignore[arg-type]
    "text for eta": (lambda: Restorer(PRIOR, eta="1"), "eta must be a number"),  # type: ignore[arg-type]
    "a tensor": (lambda: restored(Y), "measurement must be a Measurement"),
    "text for state": (lambda: restored(state="x"), "state must be a NestedState"),
    "half an evaluation": (lambda: restored(max_nfe=1.5), "max_nfe must be a whole number"),
    "text for deadline": (lambda: restored(deadline="5"), "deadline must be a number"),
    "text for allocation": (lambda: restored(allocation="16,8"), "allocation must be"),
    "floats for allocation": (lambda: restored(allocation=(1.0, 2)), "allocation must be"),
    "a number for watch": (lambda: restored(watch=5), "watch must be a function"),
    "a number for stop": (lambda: restored(stop=5), "stop must be a function"),
    "half a tile": (lambda: prior_for(PRIOR, (3, 9, 9), tile_batch=1.5), "tile_batch must be"),  # type: ignore[arg-type]
    "half a pixel": (lambda: prior_for(PRIOR, (3, 9.5, 9)), "image_shape must be"),  # type: ignore[list-item]
    "no name": (lambda: load_prior(None), "name_or_path must be"),  # type: ignore[arg-type]
    "whole weights": (lambda: load_prior("faces-64", "cpu", torch.int32), "dtype must be"),
    "abacus": (lambda: NoiseSource([1], "abacus"), "device must be"),
    "y of 255": (lambda: restored(measured(Y * 255)), "divide y, and sigma"),
    "y of [-1, 1]": (lambda: restored(measured(2 * Y - 1)), r"of images in \[-1, 1\]"),
    "sigma of 255": (lambda: restored(measured(sigma=25)), "on a scale of 255 that is 0.098"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_one_line_that_names_the_argument(name: str) -> None:
    misuse, message = MISUSE[name]
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        misuse()
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers() -> None:
    assert SuperResolution((np.int64(3), 8, 8), np.int32(2)).factor == 2  # type: ignore[arg-type]
    assert restored(max_nfe=np.int64(1), deadline=np.float32(9)).nfe == 1


def test_a_watcher_that_writes_into_a_picture_changes_no_result() -> None:
    def watch(preview: Preview) -> None:
        preview.image.zero_()

    assert restored(watch=watch).image.equal(restored().image)


@pytest.mark.parametrize("scale", [255.0, None])
@pytest.mark.parametrize(
    "operator",
    [Inpainting(SHAPE, torch.arange(64).reshape(8, 8) % 2), SuperResolution(SHAPE, 2), Colorization(SHAPE),
     Achromatic(Denoising((1, 8, 8)))],
    ids=lambda operator: type(operator).__name__,
)  # fmt: skip
def test_other_units_are_refused_whatever_averages(operator: SVDOperator, scale: float | None) -> None:
    x = Y.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1) if isinstance(operator, Achromatic) else Y
    x = x * scale if scale else 2 * x - 1
    with pytest.raises(ValueError, match=r"y must be in the units of images in \[0, 1\]"):
        restored(Measurement(operator(x), operator, 0.0))
    assert restored(Measurement(operator(Y.clamp(0, 1)), operator, 0.0)).nfe == 2


def test_another_operators_y_is_refused_where_no_image_could_give_it() -> None:
    operator = FourierSampling((2, 8, 8), torch.ones(8, 8))
    x = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    prior = GaussianPrior(torch.zeros(2, 8, 8), torch.eye(128))
    with pytest.raises(ValueError, match=r"larger than any image in \[0, 1\] gives"):
        Restorer(prior).restore(Measurement(operator(x * 255), operator), outer=1, inner=1)
    assert Restorer(prior).restore(Measurement(operator(x), operator), outer=1, inner=1).nfe == 1


def test_what_stands_where_nothing_was_measured_does_not_count() -> None:
    mask = torch.arange(64).reshape(8, 8) % 2
    y = torch.where(mask > 0, Y, 255.0)
    assert restored(Measurement(y, Inpainting(SHAPE, mask), 0.0)).nfe == 2


def test_numbers_that_may_leave_the_range_are_taken_without_clamp() -> None:
    image = Restorer(PRIOR, clamp=False).restore(measured(2 * Y - 1, 0.0), outer=1, inner=1, seeds=[1]).image
    assert float(image.min()) < 0
