"""deepinv's physics as operators of ours: the same A, in bases that keep every promise."""

from __future__ import annotations

import pytest
import torch
from deepinv.physics import (
    MRI,
    Blur,
    BlurFFT,
    Decolorize,
    DecomposablePhysics,
    Demosaicing,
    Denoising,
    Downsampling,
    DynamicMRI,
    GaussianNoise,
    Inpainting,
    Physics,
    SinglePixelCamera,
    Tomography,
)

from degradations import (
    JPEG,
    Colorization,
    CompressedSensing,
    Dense,
    Grey,
    Masked,
    Mosaic,
    Separable,
    SuperResolution,
    SVDOperator,
    check_operator,
)
from degradations import Denoising as OurDenoising
from degradations import Downsampling as Shrinking
from restoration.deepinv_plugin import as_physics, from_physics


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def mask(*shape: int, seed: int = 0) -> torch.Tensor:
    return (uniform(*shape, seed=seed) < 0.5).float()


class Flipped(DecomposablePhysics):
    """A physics of a user's own: rows upside down, weights of both signs, one measured value more than pixels."""

    def __init__(self) -> None:
        super().__init__(mask=torch.tensor([2.0, -0.5, 0.0, 1.0]).reshape(1, 1, 1, 4), img_size=(2, 3, 4))

    def V_adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(-2)

    def V(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(-2)

    def U(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.flatten(1), torch.zeros(len(x), 1).to(x)], dim=1)

    def U_adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :-1].reshape(-1, 2, 3, 4)


def physics() -> dict[str, tuple[Physics, tuple[int, int, int]]]:
    blurs = uniform(3, 1, 3, 3)
    return {
        "denoising": (Denoising(GaussianNoise(0.1)), (3, 8, 6)),
        "inpainting": (Inpainting((3, 8, 6), mask(8, 6).expand(3, 8, 6)), (3, 8, 6)),
        "inpainting, drawn": (Inpainting((3, 8, 6), 0.5, rng=torch.Generator().manual_seed(0)), (3, 8, 6)),
        "inpainting, a mask an image": (Inpainting((3, 8, 6), mask(4, 3, 8, 6)), (3, 8, 6)),
        "demosaicing": (Demosaicing((8, 6)), (3, 8, 6)),
        "mri, complex": (MRI(mask(8, 6)), (2, 8, 6)),
        "mri, complex, a mask an image": (MRI(mask(4, 1, 8, 6)), (2, 8, 6)),
        "mri, real": (MRI(mask(8, 6)), (1, 8, 6)),
        "mri, real, odd": (MRI(mask(7, 5)), (1, 7, 5)),
        "mri, real, columns": (MRI(mask(6).expand(8, 6)), (1, 8, 6)),
        "mri, real, a mask an image": (MRI(mask(4, 1, 8, 6)), (1, 8, 6)),
        "single pixel": (SinglePixelCamera(20, (2, 8, 4)), (2, 8, 4)),
        "single pixel, zig-zag": (SinglePixelCamera(20, (2, 8, 8), ordering="zig_zag"), (2, 8, 8)),
        "single pixel, dense": (SinglePixelCamera(20, (2, 8, 6), fast=False), (2, 8, 6)),
        "single pixel, dense, more than pixels": (SinglePixelCamera(60, (2, 8, 6), fast=False), (2, 8, 6)),
        "blur": (BlurFFT((3, 8, 6), blurs[:1]), (3, 8, 6)),
        "blur, odd": (BlurFFT((3, 7, 5), blurs[:1]), (3, 7, 5)),
        "blur of zeros": (BlurFFT((1, 8, 6), torch.full((1, 1, 4, 2), 1 / 8)), (1, 8, 6)),
        "blur, a filter a channel": (BlurFFT((3, 8, 6), blurs.reshape(1, 3, 3, 3)), (3, 8, 6)),
        "blur, a filter an image": (BlurFFT((3, 8, 6), blurs), (3, 8, 6)),
        "blur, circular": (Blur(blurs[:1], padding="circular"), (3, 8, 6)),
        "blur, circular, odd": (Blur(uniform(1, 1, 4, 3), padding="circular"), (1, 7, 5)),
        "blur, circular, a filter an image": (Blur(blurs, padding="circular"), (3, 8, 6)),
        "shrunk": (Downsampling((3, 8, 6), filter=uniform(1, 1, 3, 3), factor=2, padding="circular"), (3, 8, 6)),
        "shrunk by 3": (Downsampling((1, 9, 6), filter=uniform(1, 1, 4, 2), factor=3), (1, 9, 6)),
        "shrunk by 3, even": (Downsampling((1, 12, 6), filter=uniform(1, 1, 3, 3), factor=3), (1, 12, 6)),
        "shrunk, no filter": (Downsampling((3, 8, 6), filter=None, factor=2), (3, 8, 6)),
        "shrunk, Gaussian": (Downsampling((3, 16, 24), filter="gaussian", factor=2), (3, 16, 24)),
        "shrunk, bicubic": (Downsampling((3, 16, 24), filter="bicubic", factor=2), (3, 16, 24)),
        "our bicubic": (as_physics(Shrinking((3, 16, 24), 2)), (3, 16, 24)),
        "our jpeg": (as_physics(JPEG((3, 16, 16), [torch.full((8, 8), 20.0)] * 2, "4:2:0")), (3, 16, 16)),
        "our mosaic": (as_physics(Mosaic((3, 8, 6))), (3, 8, 6)),
        "our compressed sensing": (as_physics(CompressedSensing((3, 8, 6), 0.25)), (3, 8, 6)),
        "our dense": (as_physics(Dense((1, 4, 4), uniform(6, 16))), (1, 4, 4)),
        "our separable": (as_physics(Separable((3, 8, 6), uniform(4, 8), uniform(6, 6))), (3, 8, 6)),
        "our old print": (as_physics(Grey((3, 8, 6), Masked(OurDenoising((1, 8, 6)), mask(8, 6)))), (3, 8, 6)),
        "grey": (Decolorize(), (3, 8, 6)),
        "grey, flat": (Decolorize(srf="flat"), (3, 8, 6)),
        "one's own": (Flipped(), (2, 3, 4)),
        "ours": (as_physics(SuperResolution((3, 8, 6), 2)), (3, 8, 6)),
    }


CASES = [pytest.param(*case, id=name) for name, case in physics().items()]


@pytest.mark.parametrize(("theirs", "shape"), CASES)
def test_check_operator_passes(theirs: Physics, shape: tuple[int, int, int]) -> None:
    check_operator(from_physics(theirs, shape).double())


@pytest.mark.parametrize(("theirs", "shape"), CASES)
def test_it_measures_what_the_physics_measures(theirs: Physics, shape: tuple[int, int, int]) -> None:
    operator = from_physics(theirs, shape)
    x = uniform(operator.batch_size or 2, *shape, seed=1)
    seen = torch.cat([x, torch.zeros_like(x)], dim=1) if isinstance(theirs, MRI) and shape[0] == 1 else x
    # float32 rounding of at most a few hundred terms near 1
    torch.testing.assert_close(operator(x).flatten(1), theirs.A(seen).flatten(1), atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["inpainting", "mri, real", "blur", "mri, complex", "single pixel, dense"])
def test_singular_values_are_those_of_the_matrix(name: str) -> None:
    theirs, shape = physics()[name]
    operator = from_physics(theirs, shape).double()
    count = shape[0] * shape[1] * shape[2]
    matrix = operator(torch.eye(count, dtype=torch.float64).reshape(count, *shape)).flatten(1).mT
    wanted = torch.linalg.svdvals(matrix)
    ours = operator.singular_values.expand(shape).flatten().sort(descending=True).values
    # singular values are stored in float32
    torch.testing.assert_close(ours[: len(wanted)], wanted[:count], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [name for name, _ in physics().items() if "an image" in name])
def test_one_image_of_a_batch_is_taken(name: str) -> None:
    theirs, shape = physics()[name]
    operator = from_physics(theirs, shape)
    assert operator.batch_size is not None
    x = uniform(operator.batch_size, *shape, seed=1)
    for i in (0, 2):
        # one image and several go through the same transforms; only their order of summation may differ
        torch.testing.assert_close(operator.take(i)(x[i : i + 1]), operator(x)[i : i + 1], atol=1e-6, rtol=0)
    assert operator.take([2, 0]).batch_size == 2


def test_a_real_image_is_heard_twice_where_both_opposite_frequencies_are_kept() -> None:
    """Noise of a pair's two measurements averages: s² is 1 with both, ½ with one, 0 with none."""
    kept = torch.zeros(4, 4)
    kept[2, 2] = 1  # k = 0, its own opposite
    kept[2, 3] = kept[2, 1] = 1  # k and −k
    kept[3, 3] = 1  # k without −k
    s = from_physics(MRI(kept), (1, 4, 4)).singular_values
    values, counts = s.square().unique(return_counts=True)
    torch.testing.assert_close(values, torch.tensor([0, 0.5, 1]))  # squares of float32 roots
    assert counts.tolist() == [11, 2, 3]


@pytest.mark.parametrize("name", ["inpainting", "mri, complex", "mri, real", "single pixel", "blur", "grey"])
def test_noise_of_the_physics_is_white_in_the_spectral_domain(name: str) -> None:
    theirs, shape = physics()[name]
    theirs.noise_model = GaussianNoise(0.1, rng=torch.Generator().manual_seed(0))
    operator = from_physics(theirs, shape)
    x = torch.zeros(400, 2 if isinstance(theirs, MRI) else shape[0], *shape[1:])
    heard = operator.Ut(theirs(x)).flatten(1)[:, (operator.singular_values > 0).expand(shape).flatten()]
    covariance = heard.mT @ heard / len(heard)
    # 400 draws: an entry's standard error is at most 0.01 √(2/400) = 7e-4; there are up to 144², so five of them
    torch.testing.assert_close(covariance, 0.01 * torch.eye(len(covariance)), atol=4e-3, rtol=0)


def test_colorize_is_our_own_operator_with_their_weights() -> None:
    theirs = Decolorize()
    operator = from_physics(theirs, (3, 4, 4))
    assert isinstance(operator, Colorization)
    assert operator.weights.equal(theirs.srf.flatten())


def test_later_updates_of_the_physics_do_not_reach_the_operator() -> None:
    theirs = Inpainting((1, 4, 4), mask(1, 4, 4))
    operator = from_physics(theirs)
    before = operator(torch.ones(1, 1, 4, 4))
    theirs.update(mask=torch.ones(1, 1, 4, 4))
    assert operator(torch.ones(1, 1, 4, 4)).equal(before)
    operator.double()
    assert theirs.mask.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:At least one input physics is a DecomposablePhysics:UserWarning")
@pytest.mark.filterwarnings("ignore:You are composing two physics objects:UserWarning")
@pytest.mark.filterwarnings("ignore:Following torch.nn.Module's design:UserWarning")  # deepinv 0.4
def test_physics_without_a_decomposition_are_refused_by_name() -> None:
    composed = Blur(torch.ones(1, 1, 3, 3)) * Denoising(GaussianNoise(0.1))
    with pytest.raises(TypeError, match=r"ComposedLinearPhysics has no singular value decomposition: .*DPS"):
        from_physics(composed, (1, 8, 8))
    with pytest.raises(TypeError, match=r'Downsampling has no .*padding="circular"'):
        from_physics(Downsampling((1, 8, 8), filter=uniform(1, 1, 3, 3), padding="reflect"), (1, 8, 8))
    with pytest.raises(TypeError, match=r'Blur has no .*padding="circular"'):
        from_physics(Blur(torch.ones(1, 1, 3, 3)), (1, 8, 8))
    with pytest.raises(TypeError, match=r"Tomography has no singular value decomposition"):
        from_physics(Tomography(angles=4, img_width=8, normalize=True), (1, 8, 8))


class Stretched(Flipped):
    def V_adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x.flip(-2)


class Economic(Flipped):
    def V_adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1]


class Elsewhere(Flipped):
    def A(self, x: torch.Tensor, **kwargs: object) -> torch.Tensor:
        return super().A(x) + self.U(x)


class Complex(Flipped):
    def V_adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft2(x, norm="ortho")


@pytest.mark.parametrize(
    ("theirs", "shape", "message"),
    [
        (Stretched(), None, "Stretched must have orthonormal U and V: .* is not "),
        (Economic(), None, "with as many columns as the image has values, 24: it has 12"),
        (Elsewhere(), None, "Elsewhere must have an A that is U diag"),
        (Complex(), None, "must have a real spectral domain"),
        (Denoising(GaussianNoise(0.1)), None, "image_shape must be given for Denoising"),
        (Inpainting((1, 4, 4)), None, "Inpainting has no mask yet"),
        (BlurFFT((1, 4, 4)), None, "BlurFFT has no filter yet"),
        (DecomposablePhysics(mask=mask(1, 1, 4, 4)), (1, 5, 4), r"must take images of \(1, 5, 4\)"),
        (DecomposablePhysics(mask=mask(1, 3, 4, 4)), (1, 4, 4), r"fits its spectral domain, \(1, 1, 4, 4\): got"),
        (Inpainting((1, 4, 4), uniform(1, 4, 4)), None, "mask of 0 and 1"),
        (Inpainting((1, 4, 4), mask(1, 4, 4)), (3, 4, 4), r"that of Inpainting, \(1, 4, 4\): got \(3, 4, 4\)"),
        (MRI(mask(4, 4)), (3, 4, 4), r"\(2, 4, 4\) or, of real images, \(1, 4, 4\): got \(3, 4, 4\)"),
        (MRI(mask(2, 4, 4)), (1, 4, 4), "same for real and imaginary parts"),
        (MRI(torch.ones(1, 2, 4, 4, 4), three_d=True), (2, 4, 4), "must be of slices"),
        (Denoising(GaussianNoise(0.1), sensor_model=torch.round), (1, 4, 4), "must have no sensor_model"),
        (DynamicMRI(torch.ones(3, 4, 4)), (1, 4, 4), r"DynamicMRI must be of slices, \(2, H, W\): its mask is"),
        (as_physics(SuperResolution((1, 4, 4), 2)), (3, 4, 4), r"that of SVDPhysics, \(1, 4, 4\)"),
    ],
)
def test_what_cannot_be_used_is_told(theirs: Physics, shape: tuple[int, int, int] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_physics(theirs, shape)


def test_a_mask_in_the_midst_of_training_is_taken_as_it_is() -> None:
    weights = torch.zeros(1, 1, 4, 4, requires_grad=True)
    operator = from_physics(Inpainting((1, 4, 4), weights + mask(1, 1, 4, 4)))
    assert operator.singular_values.equal(mask(1, 1, 4, 4)[0])
    assert not any(buffer.requires_grad for buffer in operator.buffers())


def test_ours_come_back_as_they_were() -> None:
    ours = SuperResolution((3, 8, 8), 4)
    back: SVDOperator = from_physics(as_physics(ours))
    assert type(back) is SuperResolution
    assert back is not ours


@pytest.mark.parametrize(
    ("several", "shape"),
    [
        ([MRI(mask(8, 6, seed=i)) for i in range(3)], (2, 8, 6)),
        ([MRI(mask(8, 6, seed=i)) for i in range(3)], (1, 8, 6)),
        ([SinglePixelCamera(20, (2, 8, 8), ordering=o) for o in ("sequency", "zig_zag")], (2, 8, 8)),
        ([SinglePixelCamera(20, (2, 8, 6), fast=False) for _ in range(2)], (2, 8, 6)),
        ([Flipped(), DecomposablePhysics(mask=mask(1, 2, 3, 4), img_size=(2, 3, 4))], (2, 3, 4)),
    ],
    ids=["mri, complex", "mri, real", "single pixel", "single pixel, dense", "physics of two kinds"],
)
def test_operators_of_several_physics_are_stacked(several: list[Physics], shape: tuple[int, int, int]) -> None:
    operators = [from_physics(one, shape) for one in several]
    if operators[0].measurement_shape != operators[1].measurement_shape:
        with pytest.raises(ValueError, match="same measurement_shape"):
            SVDOperator.stack(operators)
        return
    stacked, x = SVDOperator.stack(operators), uniform(len(operators), *shape, seed=1)
    for i, operator in enumerate(operators):
        # float32 transforms of one image and of several may differ in their order of summation
        torch.testing.assert_close(stacked(x)[i : i + 1], operator(x[i : i + 1]), atol=1e-5, rtol=0)
        assert stacked.take(i).fingerprint() == operator.fingerprint()


def test_a_batch_of_masks_is_taken_apart_into_the_operators_made_alone() -> None:
    masks = mask(3, 1, 8, 6)
    batch = from_physics(MRI(masks), (2, 8, 6))
    for i in range(3):
        assert batch.take(i).fingerprint() == from_physics(MRI(masks[i]), (2, 8, 6)).fingerprint()


def test_physics_that_differ_in_their_bases_alone_have_two_fingerprints() -> None:
    class Mirrored(Flipped):
        def V_adjoint(self, x: torch.Tensor) -> torch.Tensor:
            return x.flip(-1)

        def V(self, x: torch.Tensor) -> torch.Tensor:
            return x.flip(-1)

    assert from_physics(Mirrored()).fingerprint() != from_physics(Flipped()).fingerprint()


class Rotated(DecomposablePhysics):
    """A physics whose basis is a plain attribute."""

    def __init__(self, seed: int) -> None:
        super().__init__(mask=torch.ones(1, 1, 2, 2), img_size=(1, 2, 2))
        self.basis = torch.linalg.qr(uniform(4, 4, seed=seed)).Q

    def V_adjoint(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ self.basis.to(x)).view_as(x)

    def V(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) @ self.basis.to(x).mT).view_as(x)


def test_bases_that_are_plain_attributes_become_buffers() -> None:
    operator, other = from_physics(Rotated(0)), from_physics(Rotated(1))
    assert "bases.basis" in operator.state_dict()
    assert operator.fingerprint() != other.fingerprint()
    stacked, x = SVDOperator.stack([operator, other]), uniform(2, 1, 2, 2)
    assert stacked.Vt(x)[1:].equal(other.Vt(x[1:]))
