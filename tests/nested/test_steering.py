"""Runs are steered: candidates chosen, previews edited, more done; and made again from what they record."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, SVDOperator
from nested import Budget, NestedDiffusion, NestedState, chosen, edited, more, replayed
from nested.record import Choice, Edit, Reallocation, digest
from restoration.priors import GaussianPrior
from solvers import DDIM, DDRM, FIRE, NoiseSource, Posterior, Spectral

SHAPE = (3, 8, 8)
VARIANCE = 0.3
MASK = (torch.arange(64).reshape(8, 8) * 7) % 5 < 2
OPERATORS: dict[str, SVDOperator] = {
    "sr2": SuperResolution(SHAPE, 2),
    "colorize": Colorization(SHAPE),
    "inpaint": Inpainting(SHAPE, MASK),
    "denoise": Denoising(SHAPE),
}
STEPS = (4, 3, 3)


@cache
def prior() -> GaussianPrior:
    """Of independent values, so that every component of any operator is one number's recursion."""
    return GaussianPrior(torch.zeros(SHAPE), torch.eye(192, dtype=torch.float64) * VARIANCE)


def measured(name: str, sigma: float) -> Measurement:
    image = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1)) * VARIANCE**0.5
    operator = OPERATORS[name]
    return Measurement(operator(image), operator, sigma)


def advanced(nested: NestedDiffusion, run: NestedState, n: int | None = None) -> NestedState:
    """n evaluations on, or to the next completed preview."""
    first = run.outer_step
    while run.outer_step == first if n is None else n:
        question = nested.ask(run)
        if question is None:
            break
        run, _ = nested.answer(run, nested.inner.prior.denoise(question.x, question.k))
        n = None if n is None else n - 1
    return run


def ended(nested: NestedDiffusion, run: NestedState) -> Tensor:
    run = advanced(nested, run, run.total_nfe)
    assert run.x0 is not None
    return run.x0


def painted(run: NestedState, seed: int = 5) -> Tensor:
    """Its preview with a square painted over."""
    assert run.x0 is not None
    x0 = run.x0.clone()
    x0[:, :, 2:6, 1:4] = torch.rand(SHAPE[0], 4, 3, generator=torch.Generator().manual_seed(seed))
    return x0


@cache
def range_of(operator: SVDOperator) -> tuple[np.ndarray, float]:
    """A⁺A and the one singular value, from the matrix of A."""
    columns = [operator(e.reshape(1, *SHAPE)).flatten() for e in torch.eye(192)]
    A = torch.stack(columns, 1).double().numpy()
    s = np.linalg.svd(A, compute_uv=False)
    s = s[s > 1e-6]
    assert np.ptp(s) < 1e-5
    return np.linalg.pinv(A, rcond=1e-6) @ A, float(s[0])


def expected_end(sampler: Spectral, levels: tuple[int, ...], nu: float, trust: bool) -> float:
    """How far one component's end moves for an edit of 1: a recursion of plain numbers, by the tables."""
    schedule, natural = sampler.schedule, isinstance(sampler, FIRE) and sampler.settings.aim == "natural"
    sigma = schedule.sigma
    nearest = 0 if nu == 0 else 9999 if math.isinf(nu) else round(float(schedule.level(torch.tensor(nu))))

    def heard(k: int) -> bool:
        return nearest <= k if isinstance(sampler, FIRE) else nu <= sigma(k)

    def fire(z: float, z0: float, k: int, k_next: int) -> float:
        now, then = sigma(k), sigma(k_next)
        if not k_next:
            return dy if heard(k) else z0
        e, r = (z - z0) / now, then / now if natural else 0.0
        if math.isinf(nu):
            rmse = 0.0 if natural else min(prior().rmse(k), now)
            return z0 + math.sqrt(max(then**2 - rmse**2, 0)) * r * e
        if heard(k_next):
            return dy + math.sqrt(max(then**2 - nu**2, 0)) * r * e
        q = then / max(min(now, nu), then) if natural else 1.0
        return z0 + then * q * ((dy - z0) / nu if heard(k) else e)

    def ddrm(z: float, z0: float, k: int, k_next: int) -> float:
        assert isinstance(sampler, DDRM)
        keep = math.sqrt(1 - sampler.eta**2) * sigma(k_next)
        if math.isinf(nu):
            return z0 + keep * (z - z0) / sigma(k)
        return z0 + (sampler.eta_b if heard(k_next) else keep / nu) * (dy - z0)

    def restart(dx: float, x0: float, k: int, k_next: int) -> float:
        ab, ab_next = schedule.alpha_bar(k), schedule.alpha_bar(k_next)
        if not isinstance(sampler, FIRE):
            return math.sqrt(ab_next) * x0 + math.sqrt((1 - ab_next) / (1 - ab)) * (dx - math.sqrt(ab) * x0)
        ratio = sigma(k_next) / nu if not heard(k_next) else 1.0
        toward = 0.0 if math.isinf(nu) else 1.0 if heard(k_next) else ratio**2 if natural else ratio
        return math.sqrt(ab_next) * (x0 + toward * (dy - x0))

    step = fire if isinstance(sampler, FIRE) else ddrm
    dy = 1.0 if trust and not math.isinf(nu) else 0.0
    x0 = 1.0 if trust or not heard(levels[1]) else 0.0
    dx = restart(0.0, x0, *levels[:2])
    for i, n in enumerate(STEPS[1:], start=1):
        k, z = levels[i], dx / math.sqrt(schedule.alpha_bar(levels[i]))
        grid = (*sampler.levels(k, n), 0)
        for now, then in pairwise(grid):
            gain = VARIANCE / (VARIANCE + sigma(now) ** 2)
            z = step(z, gain * z, now, then)
        x0, dx = z, restart(dx, z, k, levels[i + 1])
    return x0


SETTINGS = [DDRM.Settings(), DDRM.Settings(0.4, 0.7), FIRE.Settings("natural"), FIRE.Settings("faithful")]
NAMES = ["ddrm", "ddrm-other", "natural", "faithful"]


@pytest.mark.parametrize("trust", [False, True], ids=["drawn-back", "trusted"])
@pytest.mark.parametrize("sigma", [0.0, 0.3])
@pytest.mark.parametrize("settings", SETTINGS, ids=NAMES)
@pytest.mark.parametrize("name", OPERATORS)
def test_the_end_of_an_edited_run_moves_as_the_recursion_says(name, settings, sigma, trust) -> None:
    if sigma and settings == FIRE.Settings("faithful"):
        pytest.skip("faithful runs average estimates of noisy components: no recursion of one number")
    if name == "denoise" and not sigma:
        pytest.skip("everything is known")
    measurement = measured(name, sigma)
    sampler = settings.of(prior(), measurement)
    nested = NestedDiffusion(sampler, STEPS)
    run = advanced(nested, nested.begin(NoiseSource([3])))
    x0 = painted(run)
    after = edited(nested, run, x0, trust=trust).run
    projection, s = range_of(measurement.operator)
    change = (x0 - run.x0).flatten().double().numpy()
    seen = projection @ change
    expected = expected_end(sampler, nested.levels, sigma / s, trust) * seen
    expected += expected_end(sampler, nested.levels, math.inf, trust) * (change - seen)
    moved = (ended(nested, after) - ended(nested, run)).flatten().double().numpy()
    # float32 states of size 1 to 3, a dozen roundings, and a level rounded to a whole one is the same in both
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    assert np.abs(moved).max() > 1e-4 or (name == "denoise" and not trust)


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=NAMES)
def test_a_noiseless_measurement_stands_or_moves_by_the_edit(settings, trust) -> None:
    measurement = measured("sr2", 0.0)
    if isinstance(settings, DDRM.Settings):
        settings = replace(settings, eta_b=1.0)
    nested = NestedDiffusion(settings.of(prior(), measurement), STEPS)
    run = advanced(nested, nested.begin(NoiseSource([3])))
    x0 = painted(run)
    assert run.x0 is not None
    result = edited(nested, run, x0, trust=trust)
    change = measurement.operator(x0 - run.x0)
    wanted = measurement.y + change if trust else measurement.y
    end = measurement.operator(ended(nested, result.run))
    torch.testing.assert_close(end, wanted, atol=1e-5, rtol=0)  # float32 sums of 4 pixels
    assert float(change.abs().max()) > 0.1
    projection, _ = range_of(measurement.operator)
    moved = (x0 - run.x0).flatten().double().numpy()
    share = np.sum((projection @ moved) ** 2) / np.sum(moved**2)
    assert float(result.in_range) == pytest.approx(share, abs=1e-5)


def test_an_edit_of_unmeasured_pixels_is_kept_whole_and_one_of_known_pixels_is_not() -> None:
    nested = NestedDiffusion(FIRE(prior(), measured("inpaint", 0.0)), STEPS)
    run = advanced(nested, nested.begin(NoiseSource([3])))
    assert run.x0 is not None
    for mask, share in ((~MASK, 0.0), (MASK, 1.0)):
        x0 = run.x0 + 0.5 * mask
        result = edited(nested, run, x0)
        assert float(result.in_range) == pytest.approx(share)
        kept = x0 if not share else run.x0
        torch.testing.assert_close(result.run.x0, kept, atol=1e-6, rtol=0)
        assert float((result.run.x_k - run.x_k).abs().max()) > 0.01 or share
    same = edited(nested, run, run.x0)
    assert same.run.x_k.equal(run.x_k)
    assert float(same.in_range) == 0


def test_an_edit_without_a_measurement_is_the_paper_s_outer_update() -> None:
    nested = NestedDiffusion(DDIM(prior()), STEPS)
    start = nested.begin(NoiseSource([3]))
    run = advanced(nested, start)
    x0 = painted(run)
    by_hand = nested.inner.restart(start.x_k, x0, *nested.levels[:2], NoiseSource([3]))
    # the difference of two updates of size 1 instead of one of them: roundings of float32
    torch.testing.assert_close(edited(nested, run, x0).run.x_k, by_hand, atol=1e-6, rtol=0)
    assert edited(nested, run, x0, trust=True).run.y is None


def four(settings: Spectral.Settings, n: int = 4) -> Posterior:
    return settings.of(prior(), measured("sr2", 0.05).expand(n))


def test_forks_go_on_with_noise_of_their_own_and_the_first_as_it_would_have() -> None:
    settings = FIRE.Settings("natural")
    nested = NestedDiffusion(four(settings), STEPS)
    run = advanced(nested, nested.begin(NoiseSource([1, 2, 3, 4])))
    forks = chosen(run, 2, 4)
    assert forks.seeds == chosen(run, 2, 4).seeds
    assert (forks.seeds[0], len({*forks.seeds, 1, 2, 4})) == (3, 7)
    ends = ended(nested, forks)
    # the same images at other places of a batch: a product of rows is summed alike, float64 in the prior
    torch.testing.assert_close(ends[0], ended(nested, run)[2], atol=1e-6, rtol=0)
    spread = [float((ends[i] - ends[j]).abs().max()) for i in range(4) for j in range(i)]
    assert min(spread) > 0.05
    several = chosen(run, [3, 0], 2)
    assert (several.seeds[0], several.seeds[2], len(several)) == (4, 1, 4)
    assert chosen(run, 1).seeds == (2,)
    given = chosen(run, 1, 2, seeds=[8, 9])
    assert given.seeds == (8, 9)
    assert given.noise[0].equal(NoiseSource([8]).state()[0])
    assert given.record == (Choice(4, (1, 2, 3, 4), (1,), (8, 9)),)


def test_candidates_edited_in_a_batch_are_those_edited_alone() -> None:
    settings = DDRM.Settings()
    nested, one = NestedDiffusion(four(settings), STEPS), NestedDiffusion(four(settings, 1), STEPS)
    run = advanced(nested, nested.begin(NoiseSource([1, 2, 3, 4])))
    images = torch.cat([painted(run.take(i), i) for i in range(4)])
    for trust in (False, True):
        together = edited(nested, run, images, trust=trust)
        ends = ended(nested, together.run)
        for i in range(4):
            alone = edited(one, run.take(i), images[i : i + 1], trust=trust)
            torch.testing.assert_close(alone.in_range[0], together.in_range[i])
            torch.testing.assert_close(ended(one, alone.run)[0], ends[i], atol=2e-6, rtol=0)
            torch.testing.assert_close(ended(one, together.run.take(i))[0], ends[i], atol=2e-6, rtol=0)


def steer(nested_of: Callable[[int], NestedDiffusion], stop: Callable[[NestedState], NestedState]) -> NestedState:
    """Four candidates, the third forked, edited and trusted, one kept, edited, more done; ``stop`` at each act."""
    nested = nested_of(4)
    run = advanced(nested, nested.begin(NoiseSource([1, 2, 3, 4])))
    run = stop(chosen(stop(run), 2, 2))
    nested = nested_of(2)
    run = stop(edited(nested, run, first_edit(), trust=True).run)
    run = stop(chosen(advanced(nested, run), 1))
    nested = nested_of(1)
    run = stop(edited(nested, run, second_edit()).run)
    run = more(nested, run, (2, 2))
    nested = NestedDiffusion(nested.inner, run.allocation)
    run = stop(advanced(nested, run, 3))
    run = advanced(nested, run, 99)
    run = more(nested, run, Budget(2))
    return stop(advanced(NestedDiffusion(nested.inner, run.allocation), run, 99))


def first_edit() -> Tensor:
    return torch.linspace(-0.5, 0.5, 192).reshape(1, *SHAPE)


def second_edit() -> Tensor:
    return -first_edit()


def of_many(n: int) -> NestedDiffusion:
    return NestedDiffusion(four(FIRE.Settings("natural"), n), STEPS)


def test_a_steered_run_that_is_stored_at_every_act_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def through_a_file(run: NestedState) -> NestedState:
        run.save(tmp_path / "state")
        return NestedState.load(tmp_path / "state")

    whole, stored = steer(of_many, lambda run: run), steer(of_many, through_a_file)
    assert whole.x0 is not None
    assert stored.x0 is not None
    assert whole.x0.equal(stored.x0)
    assert whole.record == stored.record
    assert [type(act) for act in whole.record] == [Choice, Edit, Choice, Edit, Reallocation, Reallocation]
    assert whole.record[1] == Edit(4, digest(first_edit()), True)
    assert (whole.allocation, whole.spent) == ((4, 3, 2, 2, 2), 13)


def test_a_run_is_made_again_from_its_record_bit_for_bit(tmp_path: Path) -> None:
    nodes: list[NestedState] = []
    steer(of_many, lambda run: nodes.append(run) or run)
    images = {digest(x0): x0 for x0 in (first_edit(), second_edit())}
    for node in nodes:
        again = replayed(lambda n: of_many(n).inner, node, lambda sha256, run: images[sha256])
        assert node.x0 is not None
        assert again.x0 is not None
        assert again.x0.equal(node.x0)
        assert again.x_k.equal(node.x_k)
        assert (again.seeds, again.record, again.levels) == (node.seeds, node.record, node.levels)
        assert all(a.equal(b) for a, b in zip(again.noise, node.noise, strict=True))
    with pytest.raises(ValueError, match="x0_of must give the image"):
        replayed(lambda n: of_many(n).inner, nodes[-1])
    record = (*nodes[1].record, Choice(4, (9,), (0,), (9,)))
    with pytest.raises(ValueError, match="the record is of other candidates"):
        replayed(lambda n: of_many(n).inner, replace(nodes[1], record=record))


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
file, here = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(here.parent))
from test_steering import steer, of_many
from nested import NestedState

def life(seen):
    count = 0
    def stop(run):
        nonlocal count
        count += 1
        if count == seen:
            return NestedState.load(file)
        if count > seen:
            run.save(file)
            os.kill(os.getpid(), signal.SIGKILL)
        return run
    steer(of_many, stop)
    os._exit(0)

for seen in range(8):
    child = os.fork()
    if not child:
        life(seen)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_steered_run_killed_after_every_act_ends_bit_for_bit(tmp_path: Path) -> None:
    told = [sys.executable, "-c", KILLED, str(tmp_path / "state"), __file__]
    out = subprocess.run(
        told, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert [int(code) for code in out.stdout.split()] == [-signal.SIGKILL] * 7 + [0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    whole, last = steer(of_many, lambda run: run), NestedState.load(tmp_path / "state")
    torch.set_num_threads(threads)
    assert whole.x0 is not None
    assert last.x0 is not None
    assert last.x0.equal(whole.x0)
    assert last.record == whole.record


def test_only_a_completed_preview_is_chosen_or_edited() -> None:
    nested = of_many(4)
    start = nested.begin(NoiseSource([1, 2, 3, 4]))
    within = advanced(nested, start, 5)
    for run in (start, within):
        with pytest.raises(ValueError, match="at a completed preview"):
            chosen(run, 0)
        with pytest.raises(ValueError, match="at a completed preview"):
            edited(nested, run, first_edit())
    run = advanced(nested, start)
    for wrong in (4, -1, [], [1, 1]):
        with pytest.raises(ValueError, match="i must be one or several of 0 … 3"):
            chosen(run, wrong)
    with pytest.raises(ValueError, match="n must be"):
        chosen(run, 0, 0)
    with pytest.raises(ValueError, match="seeds must be 2"):
        chosen(run, 0, 2, seeds=[1])
    with pytest.raises(ValueError, match="x0 must be"):
        edited(nested, run, first_edit()[:, :1])
    with pytest.raises(ValueError, match="x0 must be finite"):
        edited(nested, run, first_edit() / 0)
    other = NestedDiffusion(FIRE(prior(), measured("sr2", 0.1).expand(4)), STEPS)
    with pytest.raises(ValueError, match="another run"):
        edited(other, run, first_edit())


def test_a_trusted_edit_does_not_let_a_run_go_on_with_another_measurement(tmp_path: Path) -> None:
    nested = of_many(1)
    run = edited(nested, advanced(nested, nested.begin(NoiseSource([1]))), first_edit(), trust=True).run
    run.save(tmp_path / "state")
    run = NestedState.load(tmp_path / "state", configuration=nested.configuration)
    assert run.y is not None
    other = NestedDiffusion(FIRE(prior(), measured("sr2", 0.1), FIRE.Settings("natural")), STEPS)
    with pytest.raises(ValueError, match="another run"):
        other.run(run)
