"""The anytime API: what a stream yields, when it stops, and what is kept."""

from __future__ import annotations

import itertools
import time

import pytest
import torch

from degradations import Denoising, Measurement, SuperResolution
from restoration.priors import GaussianPrior
from restoration.restorer import Restorer, StoppedBy
from solvers import DDRM

SHAPE = (1, 4, 4)


def prior() -> GaussianPrior:
    i = torch.arange(16.0)
    covariance = 0.2 * torch.exp(-(i[:, None] - i).abs() / 4)
    return GaussianPrior(torch.zeros(SHAPE), covariance)


class Slow(GaussianPrior):
    """A prior whose evaluation takes a while."""

    def __init__(self, seconds: float) -> None:
        gaussian = prior()
        super().__init__(torch.zeros(SHAPE), 0.2 * torch.eye(16), gaussian.schedule)
        self.seconds = seconds

    def denoise(self, x_k: torch.Tensor, k: int) -> torch.Tensor:
        time.sleep(self.seconds)
        return super().denoise(x_k, k)


def measured(n: int = 1, sigma: float = 0.0) -> Measurement:
    y = torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    return Measurement(y, SuperResolution(SHAPE, 2), sigma)


def test_a_preview_an_evaluation_in_the_range_of_pictures() -> None:
    previews = list(Restorer(prior()).stream(measured(2), outer=3, inner=4, seeds=[1, 2]))
    assert [p.nfe for p in previews] == list(range(1, 13))
    assert [p.nfe for p in previews if p.complete] == [4, 8, 12]
    assert all(p.image.shape == (2, *SHAPE) and p.image.dtype == torch.float32 for p in previews)
    assert all(float(p.image.min()) >= 0 and float(p.image.max()) <= 1 for p in previews)
    assert all(a.elapsed <= b.elapsed for a, b in itertools.pairwise(previews))


def test_noiseless_previews_agree_with_the_measurement_also_before_an_inner_run_ends() -> None:
    m = Measurement(torch.full((1, 1, 2, 2), 0.5), SuperResolution(SHAPE, 2), 0.0)
    for preview in Restorer(prior()).stream(m, outer=2, inner=3, seeds=[1]):
        inside = preview.image[(preview.image > 0) & (preview.image < 1)]
        if inside.numel() == 16:  # clamping pixels would move their block's mean
            torch.testing.assert_close(m.operator(preview.image), m.y, atol=1e-5, rtol=0)


def test_units_are_kept_apart() -> None:
    """A sharp prior at 0.25 in [0, 1] must restore to 0.25, and a measurement at 0.25 must be read as that."""
    sharp = GaussianPrior(torch.full(SHAPE, -0.5), 1e-8 * torch.eye(16))
    restored = Restorer(sharp).restore(
        Measurement(torch.full(SHAPE, 0.25)[None], Denoising(SHAPE), 0.1), seeds=[1]
    )
    torch.testing.assert_close(restored.image, torch.full((1, *SHAPE), 0.25), atol=1e-3, rtol=0)
    flat = GaussianPrior(torch.zeros(SHAPE), torch.eye(16))
    restored = Restorer(flat).restore(Measurement(torch.full(SHAPE, 0.25)[None], Denoising(SHAPE), 0.0), seeds=[1])
    torch.testing.assert_close(restored.image, torch.full((1, *SHAPE), 0.25), atol=1e-5, rtol=0)


def test_vanilla_is_one_run_of_as_many_evaluations() -> None:
    previews = list(Restorer(prior()).stream(measured(), outer=3, inner=4, vanilla=True, seeds=[1]))
    assert [p.nfe for p in previews if p.complete] == [12]


def test_seeds_repeat_a_run_and_are_drawn_when_not_given() -> None:
    restorer = Restorer(prior())
    first = restorer.restore(measured(), outer=2, inner=3)
    again = restorer.restore(measured(), outer=2, inner=3, seeds=first.seeds)
    assert again.image.equal(first.image)
    assert restorer.restore(measured(), outer=2, inner=3).seeds != first.seeds


def test_max_nfe_keeps_the_newest_completed_preview() -> None:
    done = Restorer(prior()).restore(measured(), outer=3, inner=4, seeds=[1], max_nfe=6)
    assert (done.nfe, done.total_nfe, done.stopped_by) == (6, 12, StoppedBy.MAX_NFE)
    assert (done.preview.nfe, done.preview.complete) == (4, True)
    whole = list(Restorer(prior()).stream(measured(), outer=3, inner=4, seeds=[1]))
    assert done.image.equal(whole[3].image)


def test_before_the_first_inner_run_ends_the_newest_estimate_is_kept() -> None:
    done = Restorer(prior()).restore(measured(), outer=3, inner=4, seeds=[1], max_nfe=2)
    assert (done.preview.nfe, done.preview.complete) == (2, False)


def test_reaching_the_end_is_finished_whatever_the_limits() -> None:
    done = Restorer(prior()).restore(measured(), outer=2, inner=2, seeds=[1], max_nfe=4, deadline=1000)
    assert done.stopped_by is StoppedBy.FINISHED


def test_a_deadline_is_kept() -> None:
    start = time.perf_counter()
    done = Restorer(Slow(0.05)).restore(measured(), outer=3, inner=10, seeds=[1], deadline=0.5)
    spent = time.perf_counter() - start
    assert done.stopped_by is StoppedBy.DEADLINE
    # 0.05 s an evaluation: ten fit; the slack is for a busy machine, not for a late stop
    assert 2 <= done.nfe <= 10
    assert spent < 1.0


def test_a_deadline_that_holds_one_evaluation_and_a_half_makes_one() -> None:
    start = time.perf_counter()
    done = Restorer(Slow(0.2)).restore(measured(), seeds=[1], deadline=0.3)
    assert (done.nfe, done.stopped_by) == (1, StoppedBy.DEADLINE)
    assert time.perf_counter() - start < 0.38  # a second evaluation would have ended at 0.4


def test_one_evaluation_is_made_whatever_the_deadline() -> None:
    done = Restorer(Slow(0.01)).restore(measured(), seeds=[1], deadline=1e-6)
    assert (done.nfe, done.stopped_by) == (1, StoppedBy.DEADLINE)


def test_the_time_a_listener_takes_counts() -> None:
    done = Restorer(Slow(0.001)).restore(measured(), seeds=[1], deadline=0.2, watch=lambda _: time.sleep(0.05))
    assert done.stopped_by is StoppedBy.DEADLINE
    assert done.nfe <= 5


def test_a_listener_can_stop_the_run() -> None:
    seen = []

    def watch(preview) -> bool:
        seen.append(preview.nfe)
        return preview.nfe == 5

    done = Restorer(prior()).restore(measured(), outer=3, inner=4, seeds=[1], watch=watch)
    assert (seen, done.nfe, done.stopped_by) == ([1, 2, 3, 4, 5], 5, StoppedBy.INTERRUPT)


def test_going_on_from_a_preview_gives_the_same_result() -> None:
    restorer = Restorer(prior())
    whole = list(restorer.stream(measured(sigma=0.1), outer=3, inner=4, seeds=[1]))
    rest = list(restorer.stream(measured(sigma=0.1), outer=3, inner=4, state=whole[7].state))
    assert [p.nfe for p in rest] == [8, 9, 10, 11, 12]
    assert rest[0].complete
    assert rest[0].image.equal(whole[7].image)
    assert rest[-1].image.equal(whole[-1].image)


def test_a_finished_state_is_its_result() -> None:
    restorer = Restorer(prior())
    done = restorer.restore(measured(), outer=2, inner=2, seeds=[1])
    again = restorer.restore(measured(), outer=2, inner=2, state=done.preview.state)
    assert again.image.equal(done.image)
    assert (again.nfe, again.stopped_by) == (4, StoppedBy.FINISHED)


def test_evaluations_before_the_state_count_towards_max_nfe() -> None:
    restorer = Restorer(prior())
    stopped = restorer.restore(measured(), outer=3, inner=4, seeds=[1], max_nfe=8)
    again = restorer.restore(measured(), outer=3, inner=4, state=stopped.preview.state, max_nfe=8)
    assert (again.nfe, again.stopped_by) == (8, StoppedBy.MAX_NFE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"allocation": (4, 0)}, "at least 1"),
        ({"outer": 0}, "outer and inner must be whole numbers of at least 1"),
        ({"outer": 1, "inner": 1001}, "at most 1000 steps"),
        ({"deadline": 0}, "deadline must be above 0"),
        ({"deadline": float("nan")}, "deadline must be above 0"),
        ({"max_nfe": 0}, "max_nfe must be at least 1"),
        ({"seeds": [1, 2]}, "seeds must be a sequence of 1"),
        ({"seeds": 1}, "seeds must be a sequence of 1"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Restorer(prior()).stream(measured(), **arguments)


def test_a_network_that_answers_nan_is_told() -> None:
    class Overflowing(Slow):
        def denoise(self, x_k: torch.Tensor, k: int) -> torch.Tensor:
            return super().denoise(x_k, k) * float("nan")

    with pytest.raises(ValueError, match="the network answered NaN"):
        Restorer(Overflowing(0)).restore(measured(), seeds=[1])


def test_images_of_another_shape_than_the_priors_are_refused() -> None:
    with pytest.raises(ValueError, match="shaped as the prior's"):
        Restorer(prior()).stream(Measurement(torch.zeros(1, 1, 8, 8), Denoising((1, 8, 8)), 0.1))


def test_unknown_samplers_and_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"posterior must be one of ddrm.*: got 'dps'"):
        Restorer(prior(), posterior="dps")
    with pytest.raises(TypeError, match="posterior must be a sampler, its name or its settings"):
        Restorer(prior(), posterior=0.85)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="eta must be from 0 to 1"):
        Restorer(prior(), posterior=DDRM.Settings(eta=2))
