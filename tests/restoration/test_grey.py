"""Achromatic in, grey out: a prior of colour pictures measures a grey one as a plane without chroma."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from degradations import Achromatic, Denoising, Inpainting, Measurement, SuperResolution
from restoration.priors import GaussianPrior
from restoration.restorer import Restorer
from restoration.tasks import Task, pose
from solvers import DDRM, FIRE

SHAPE = (3, 4, 4)


def colour_prior() -> tuple[GaussianPrior, Tensor, Tensor]:
    """Smooth colours whose channels hang together unequally, so that the grey axis alone is no eigenvector."""
    draw = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1).double()
    near = torch.exp(-(torch.cdist(places, places) ** 2) / 4)
    channels = torch.tensor([[1.0, 0.7, 0.2], [0.7, 1.5, 0.5], [0.2, 0.5, 0.6]], dtype=torch.float64)
    covariance = 0.1 * torch.kron(channels, near) + 1e-3 * torch.eye(48, dtype=torch.float64)
    mean = 0.3 * torch.randn(SHAPE, generator=draw)
    return GaussianPrior(mean, covariance), mean.double().flatten(), covariance


def exact(y: Tensor, operator: Achromatic, sigma: float, mean: Tensor, covariance: Tensor) -> Tensor:
    """The mean of the posterior, on the [0, 1] scale: conditioned on the plane's measurement and on no chroma."""
    eye = torch.eye(48, dtype=torch.float64).reshape(48, *SHAPE)
    A = operator.double()(eye).squeeze((1, 2)).T
    noise = torch.full((len(A),), 1e-10, dtype=torch.float64)
    noise[: operator.count] += (2 * sigma) ** 2
    given = Measurement(operator.measured(y.double()), operator, sigma).in_model_units().y.flatten()
    gain = covariance @ A.T @ torch.linalg.inv(A @ covariance @ A.T + noise.diag())
    return ((mean + gain @ (given - A @ mean)).reshape(SHAPE) + 1) / 2


@pytest.mark.parametrize("posterior", [DDRM.Settings(), FIRE.Settings("natural"), FIRE.Settings("faithful")])
@pytest.mark.parametrize("sigma", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["denoise", "inpaint", "sr2"])
def test_a_grey_result_is_exactly_grey(kind: str, sigma: float, posterior) -> None:
    prior, *_ = colour_prior()
    plane = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(16).reshape(4, 4) % 3 > 0
    inner = {
        "denoise": Denoising((1, 4, 4)),
        "inpaint": Inpainting((1, 4, 4), mask),
        "sr2": SuperResolution((1, 4, 4), 2),
    }[kind]
    operator = Achromatic(inner)
    y = inner(plane)
    done = Restorer(prior, posterior).restore(Measurement(operator.measured(y), operator, sigma), seeds=[0])
    assert done.image[:, :1].expand_as(done.image).equal(done.image)
    if not sigma:
        torch.testing.assert_close(inner(done.image[:, :1]), y.clamp(0, 1), atol=1e-5, rtol=0)  # float32


def test_samples_are_of_the_posterior_given_that_there_is_no_colour() -> None:
    """Where colours are known to be none, the plane's missing pixels are those of the conditioned Gaussian."""
    prior, mean, covariance = colour_prior()
    plane = 0.5 + 0.1 * torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(16).reshape(4, 4) % 3 > 0
    operator = Achromatic(Inpainting((1, 4, 4), mask))
    measurement = Measurement(operator.measured(plane * mask), operator)
    truth = exact(plane * mask, Achromatic(Inpainting((1, 4, 4), mask)), 0.0, mean, covariance)
    restorer = Restorer(prior, FIRE.Settings("natural"), clamp=False)
    many = measurement.expand(256)
    drawn = restorer.restore(many, outer=1, inner=100, seeds=range(256)).image
    found = drawn.double().mean(dim=0)[0]
    # what three measured channels and their mean would give is another picture
    expanded = Inpainting(SHAPE, mask)
    y = (plane * mask).expand(1, 3, 4, 4)
    naive = restorer.restore(Measurement(y, expanded).expand(256), outer=1, inner=100, seeds=range(256)).image
    grey = naive.mean(dim=1).double().mean(dim=0)
    near, far = (float((image - truth[0])[~mask].square().mean().sqrt()) for image in (found, grey))
    assert near < 0.025  # the samplers measure known pixels by replacing them, which is not exact for neighbours
    assert near < 0.6 * far


def test_the_plane_of_a_noisy_picture_has_the_noise_of_one_plane() -> None:
    prior, mean, covariance = colour_prior()
    y = 0.5 + 0.1 * torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    operator = Achromatic(Denoising((1, 4, 4)))
    truth = exact(y, Achromatic(Denoising((1, 4, 4))), 0.2, mean, covariance)
    measurement = Measurement(operator.measured(y), operator, 0.2).expand(256)
    done = Restorer(prior, FIRE.Settings("natural"), clamp=False).restore(
        measurement, outer=1, inner=100, seeds=range(256)
    )
    spread = done.image.std(dim=0).max() / 16
    assert float((done.image.double().mean(dim=0) - truth).abs().max()) < 4 * spread + 0.02


@pytest.mark.parametrize("name", ["denoise", "sr4", "inpaint"])
@pytest.mark.parametrize("simulate", [False, True])
def test_a_grey_picture_is_posed_as_one_plane(name: str, simulate: bool) -> None:
    given = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 16, 16)
    mask[:, 4:8, 4:8] = 1
    task = Task(name, 0.1, simulate=simulate)
    problem = pose(task, given, (3, 16, 16), mask=mask if name == "inpaint" else None)
    assert problem.grey
    assert problem.degraded.shape[0] == 1
    assert problem.crop(torch.rand(2, 3, 64, 64)).shape[1] == 1
    assert problem.original is None or problem.original.equal(given)
    chroma = problem.measurement.y.flatten()[problem.measurement.operator.count :]
    assert not chroma.any()  # also of a simulated measurement: there is no noise in what is known


def test_colour_is_added_only_where_the_task_adds_it() -> None:
    given = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert not pose(Task("colorize"), given, (3, 16, 16)).grey
    assert not pose(Task("denoise", 0.1), given, (1, 16, 16)).grey
    assert not pose(Task("denoise", 0.1), given.expand(3, -1, -1), (3, 16, 16)).grey
