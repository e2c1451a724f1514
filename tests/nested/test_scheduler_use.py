"""What users and pipelines do with the nested scheduler: noise, estimates, edits, progress."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from restoration import NestedScheduler

SHAPE = (2, 3, 4, 4)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(x: Tensor, t: int) -> Tensor:
    return (x * 0.8).sin() + t / 2000


def planned(outer: int = 2, **config: Any) -> NestedScheduler:
    scheduler = NestedScheduler(**{"inner_steps": 3} | config)
    scheduler.set_timesteps(outer)
    return scheduler


def walk(scheduler: NestedScheduler, x: Tensor, calls: int | None = None, **step: Any) -> Tensor:
    for _ in range(scheduler.progress.total_nfe if calls is None else calls):
        t = scheduler.timesteps[scheduler.progress.done]
        x = scheduler.step(network(x, int(t)), t, x, **step).prev_sample
    return x


def start(rows: int = 2) -> Tensor:
    return torch.randn((rows, *SHAPE[1:]), generator=generator(0))


def test_the_inner_eta_wins_over_the_zero_that_pipelines_pass() -> None:
    plain = walk(planned(), start(), generator=generator(1))
    assert walk(planned(), start(), generator=generator(1), eta=0.0).equal(plain)
    assert walk(planned(), start(), generator=generator(1), eta=0.85).equal(plain)
    assert not walk(planned(inner_eta=0.0), start(), generator=generator(1)).equal(plain)
    with pytest.raises(ValueError, match=r"inner_eta, 0\.85, or 0 for it: got 0\.3"):
        walk(planned(), start(), eta=0.3)


def test_the_schedulers_own_noise_is_its_seeds() -> None:
    """And the global generator is not touched."""
    before = torch.get_rng_state()
    seeded = walk(planned(seed=5), start())
    assert seeded.equal(walk(planned(seed=5), start()))
    unseeded = planned()
    drawn = walk(unseeded, start())
    assert unseeded.seed is not None
    assert not drawn.equal(seeded)
    assert drawn.equal(walk(planned(seed=unseeded.seed), start()))
    assert torch.get_rng_state().equal(before)
    again = planned(seed=5)
    again.generator = generator(5)
    assert walk(again, start()).equal(seeded)


@pytest.mark.parametrize("inner", ["ddim", "ddpm"])
def test_an_images_noise_is_its_generators(inner: str) -> None:
    both = walk(planned(inner=inner), start(), generator=[generator(3), generator(4)])
    assert walk(planned(inner=inner), start()[1:], generator=[generator(4)]).equal(both[1:])


@pytest.mark.parametrize("inner", ["ddim", "ddpm"])
def test_a_batch_doubled_for_guidance_has_the_noise_of_its_images(inner: str) -> None:
    plain = walk(planned(inner=inner), start(), generator=[generator(3), generator(4)])
    scheduler = planned(inner=inner)
    doubled = walk(scheduler, torch.cat([start(), start()]), generator=[generator(3), generator(4)])
    assert doubled.equal(torch.cat([plain, plain]))
    assert scheduler.last_estimate is not None
    assert scheduler.last_estimate.equal(plain)


@pytest.mark.parametrize("inner", ["ddim", "ddpm"])
def test_only_the_first_half_of_a_doubled_batch_counts(inner: str) -> None:
    config = {"inner": inner, "variance_type": "learned_range"}
    x, noise = start(), [generator(3), generator(4)]
    answer = torch.cat([network(x, 999), x.cos()], dim=1)  # with a variance
    plain = planned(**config).step(answer, 999, x, generator=noise).prev_sample
    doubled, noise = torch.cat([answer, torch.full_like(answer, 9.0)]), [generator(3), generator(4)]
    out = planned(**config).step(doubled, 999, torch.cat([x, x]), generator=noise).prev_sample
    assert out.equal(torch.cat([plain, plain]))


def test_the_last_estimate_is_the_newest_that_is_worth_showing() -> None:
    scheduler = planned(3)
    assert scheduler.last_estimate is None
    x, seen = start(), []
    for t in scheduler.timesteps:
        out = scheduler.step(network(x, int(t)), t, x, generator=generator(1))
        seen.append((out.pred_original_sample, scheduler.last_estimate))
        x = out.prev_sample
    assert all(shown.equal(newest) for newest, shown in seen[:2])  # before the first inner run has ended
    assert seen[3][1] is seen[4][1] is seen[2][1]  # then the completed one stays
    assert not seen[3][0].equal(seen[3][1])
    assert seen[-1][1].equal(x)
    scheduler.forget()
    assert scheduler.last_estimate is None


def test_an_edited_estimate_moves_the_latents_with_the_same_noise() -> None:
    scheduler = planned(2, outer_eta=0.5)
    after = walk(scheduler, start(), 3, generator=generator(1))
    x0 = scheduler.last_estimate
    assert x0 is not None
    assert scheduler.outer_update(x0).equal(after)
    edited = scheduler.outer_update(x0 + 1)
    assert scheduler.last_estimate.equal(x0 + 1)
    a, a_next = (scheduler.alphas_cumprod[t] for t in (999, 499))
    spread = 0.5 * ((1 - a_next) / (1 - a) * (1 - a / a_next)) ** 0.5
    gain = a_next**0.5 - (1 - a_next - spread**2) ** 0.5 * (a / (1 - a)) ** 0.5
    torch.testing.assert_close(edited - after, gain.expand(SHAPE), rtol=1e-5, atol=1e-5)
    end = walk(scheduler, edited, 3, generator=generator(2))
    assert scheduler.outer_update(end * 2).equal(end * 2)  # the last outer step lands on the estimate


def test_only_a_completed_estimate_can_be_edited() -> None:
    scheduler = planned(2)
    x = walk(scheduler, start(), 2)
    with pytest.raises(ValueError, match="no inner run has just ended"):
        scheduler.outer_update(x)
    walk(scheduler, x, 1)
    with pytest.raises(ValueError, match=r"x0 must be \(2, 3, 4, 4\)"):
        scheduler.outer_update(x[:1])


def test_every_step_is_told() -> None:
    scheduler, told = planned(2), []
    scheduler.on_step = lambda scheduler: told.append(scheduler.progress.nfe)
    walk(scheduler, start())
    assert told == list(range(1, 7))


@pytest.mark.parametrize("allocation", [None, [4, 4], [4, 3, 1]])
def test_pipelines_tick_on_outer_steps(allocation: list[int] | None) -> None:
    """The arithmetic of diffusers' denoising loops."""
    outer = len(allocation or [3, 3, 3])
    scheduler = planned(outer, allocation=allocation)
    ends = [i for i, call in enumerate(scheduler.progress.plan.calls) if call.last]
    timesteps, ticks, x = scheduler.timesteps, [], start()
    warmup = len(timesteps) - outer * scheduler.order
    for i in range(len(timesteps)):
        x = walk(scheduler, x, 1)
        if i == len(timesteps) - 1 or ((i + 1) > warmup and (i + 1) % scheduler.order == 0):
            ticks.append(i)
    assert ticks == ends
    if allocation == [4, 3, 1]:
        with pytest.raises(ValueError, match="strength needs equal inner steps"):
            planned(outer, allocation=allocation).set_begin_index(scheduler.order)


class Split(nn.Module):
    """A network with a learned variance."""

    def forward(self, x: Tensor, t: int) -> tuple[Tensor]:
        return (torch.cat([network(x, t), (5 * x).cos()], dim=1),)


def test_a_learned_variance_that_the_pipeline_drops_is_taken_from_the_network() -> None:
    config = {"inner": "ddpm", "variance_type": "learned_range"}
    net, ends = Split(), []
    for hooked in (True, False):
        scheduler, x, noise = planned(**config), start(), generator(1)
        handle = scheduler.take_variance_from(net) if hooked else None
        for t in scheduler.timesteps:
            output = net(x, int(t))[0]
            output = output[:, :3] if hooked else output
            x = scheduler.step(output, t, x, generator=noise).prev_sample
        if handle is not None:
            handle.remove()
        ends.append(x)
    assert ends[0].equal(ends[1])
    with pytest.raises(ValueError, match="take_variance_from"):
        walk(planned(**config), start(), 1)
    # an inner solver without use for it leaves it alone
    out = planned().step(net(start(), 999)[0], 999, start(), generator=generator(1)).prev_sample
    assert out.equal(walk(planned(), start(), 1, generator=generator(1)))


def test_a_pipeline_may_start_at_an_outer_step_unannounced_and_nowhere_else() -> None:
    announced, unannounced = planned(), planned()
    announced.set_begin_index(announced.order)
    t = int(announced.timesteps[announced.order])
    ends = [s.step(start(), t, start(), generator=generator(1)).prev_sample for s in (announced, unannounced)]
    assert ends[0].equal(ends[1])
    assert unannounced.progress == announced.progress
    with pytest.raises(ValueError, match=r"this run starts at timestep 999: got 998, where no outer step starts"):
        planned().step(start(), 998, start())
    scheduler = planned()
    walk(scheduler, start())
    with pytest.raises(ValueError, match="no call is left in the plan"):
        scheduler.step(start(), 0, start())


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize("inner", ["ddim", "ddpm", "dpmsolver++2s"])
def test_thresholding_is_diffusers_own(inner: str) -> None:
    settings = {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 1.5}
    steps = {"inner": inner, "inner_steps": 4, "timestep_spacing": "leading", "inner_eta": 0.0}
    x = 3 * start()
    output = torch.randn(x.shape, generator=generator(2))
    scheduler = planned(1, **steps, **settings)
    ours = scheduler.step(output, scheduler.timesteps[0], x, generator=generator(1)).pred_original_sample
    theirs = DDIMScheduler(clip_sample=False, **settings)
    theirs.set_timesteps(4)
    wanted = theirs.step(output, scheduler.timesteps[0], x).pred_original_sample
    # float32, √ᾱ and σ in another order
    torch.testing.assert_close(ours, wanted, atol=1e-4, rtol=1e-4)
    assert float(ours.abs().max()) <= 1
    plain = planned(1, **steps)
    assert not plain.step(output, plain.timesteps[0], x, generator=generator(1)).pred_original_sample.equal(ours)
