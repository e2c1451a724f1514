"""The outer loop: its extremes, its bookkeeping, and going on from a stored state."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from degradations import SuperResolution, simulate
from nested import Estimate, NestedDiffusion, NestedState, uniform
from solvers import DDIM, DDRM, NoiseSchedule, NoiseSource
from solvers.schedule import outer_levels

SHAPE = (3, 8, 8)


class Prior:
    """Nonlinear, rough, and counting its evaluations."""

    schedule = NoiseSchedule.linear()
    image_shape = SHAPE
    kernel = torch.randn(3, 3, 3, 3, generator=torch.Generator().manual_seed(5)) / 3

    def __init__(self) -> None:
        self.levels: list[int] = []

    def denoise(self, x_k: torch.Tensor, k: int) -> torch.Tensor:
        self.levels.append(k)
        return torch.nn.functional.conv2d(x_k, self.kernel, padding=1).tanh()


def ddrm(prior: Prior | None = None, eta: float = 0.85, seed: int = 0) -> DDRM:
    x = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return DDRM(prior or Prior(), simulate(x, SuperResolution(SHAPE, 2), 0.1, noise=NoiseSource([0, 1])), eta)


def start(nested: NestedDiffusion, seeds: tuple[int, int] = (3, 4)) -> NestedState:
    noise = NoiseSource(seeds)
    inner = nested.inner
    assert isinstance(inner, (DDRM, DDIM))
    return nested.start(inner.initial(1000, noise), noise)


def run(nested: NestedDiffusion, state: NestedState | None = None) -> list[Estimate]:
    return list(nested.run(state or start(nested)))


def test_one_outer_step_is_the_plain_inner_process() -> None:
    inner = ddrm()
    noise = NoiseSource([3, 4])
    plain = list(inner.sample(inner.initial(1000, noise), 1000, 7, noise))
    estimates = run(NestedDiffusion(inner, (7,)))
    assert len(estimates) == 7
    assert all(e.x0.equal(x0) for e, x0 in zip(estimates, plain, strict=True))


def test_one_inner_step_an_outer_step_is_plain_ddim_on_the_inner_estimate() -> None:
    ddim = DDIM(Prior())
    noise = NoiseSource([3, 4])
    levels = outer_levels(1000, 6)[:-1]
    plain = list(ddim.follow(ddim.initial(1000, noise), levels, noise))
    nested = run(NestedDiffusion(ddim, uniform(6, 1)))
    assert all(e.complete for e in nested)
    assert all(e.x0.equal(x0) for e, x0 in zip(nested, plain, strict=True))


def test_an_unequal_allocation_is_walked_step_by_step() -> None:
    prior = Prior()
    estimates = run(NestedDiffusion(ddrm(prior), (16, 8, 6)))
    assert [e.nfe for e in estimates] == list(range(1, 31))
    assert {e.total_nfe for e in estimates} == {30}
    assert [e.nfe for e in estimates if e.complete] == [16, 24, 30]
    assert [(e.outer_step, e.inner_step) for e in estimates][15:18] == [(1, 16), (2, 1), (2, 2)]
    schedule = prior.schedule
    assert prior.levels == [*schedule.steps(1000, 16), *schedule.steps(667, 8), *schedule.steps(333, 6)]
    assert [e.state.outer_step for e in estimates if e.complete] == [1, 2, 3]
    assert estimates[16].state.nfe == 16  # of completed outer steps
    assert (estimates[16].state.inner_step, estimates[16].state.spent) == (1, 17)
    assert estimates[-1].state.finished


def test_the_last_estimate_is_where_the_outer_process_lands() -> None:
    last = run(NestedDiffusion(ddrm(), (3, 2)))[-1]
    assert last.state.x_k.equal(last.x0)


@pytest.mark.parametrize("after", [1, 2])
def test_a_stored_run_goes_on_bit_for_bit(tmp_path: Path, after: int) -> None:
    allocation = (4, 3, 3)
    whole = run(NestedDiffusion(ddrm(), allocation))
    for estimate in NestedDiffusion(ddrm(), allocation).run(start(NestedDiffusion(ddrm(), allocation))):
        if estimate.complete and estimate.outer_step == after:
            estimate.state.save(tmp_path / "state")
            break
    nested = NestedDiffusion(ddrm(), allocation)
    state = NestedState.load(tmp_path / "state", configuration=nested.configuration)
    assert (state.outer_step, state.seeds, state.allocation) == (after, (3, 4), allocation)
    rest = run(nested, state)
    assert [e.nfe for e in rest] == list(range(state.nfe + 1, 11))
    assert all(a.x0.equal(b.x0) for a, b in zip(rest, whole[state.nfe :], strict=True))
    assert state.x0 is not None
    assert state.x0.equal(whole[state.nfe - 1].x0)


def test_running_from_a_state_does_not_change_it() -> None:
    nested = NestedDiffusion(ddrm(), (3, 2))
    state = start(nested)
    assert all(a.x0.equal(b.x0) for a, b in zip(run(nested, state), run(nested, state), strict=True))
    finished = run(nested, state)[-1].state
    assert run(nested, finished) == []


def test_memory_is_constant_in_the_number_of_steps() -> None:
    """No estimate keeps its predecessors alive: only the newest and the state's tensors are left."""
    import gc
    import weakref

    seen = []
    process = NestedDiffusion(ddrm(), (5, 5)).run(start(NestedDiffusion(ddrm(), (5, 5))))
    for estimate in process:
        seen.append(weakref.ref(estimate.x0))
    del estimate, process
    gc.collect()
    assert sum(ref() is not None for ref in seen) == 0


@pytest.mark.parametrize("yielded", [1, 3])
def test_an_inner_process_with_another_number_of_estimates_is_told(yielded: int) -> None:
    class Odd(DDIM):
        def levels(self, k: int, n: int) -> tuple[int, ...]:
            return self.schedule.steps(k, yielded)

    with pytest.raises(ValueError, match=f"one estimate a step, 2 here: got {yielded}"):
        run(NestedDiffusion(Odd(Prior()), (2, 2)))


@pytest.mark.parametrize(
    "other",
    [
        lambda: NestedDiffusion(ddrm(eta=0.5), (3, 2)),
        lambda: NestedDiffusion(ddrm(seed=1), (3, 2)),
        lambda: NestedDiffusion(ddrm(), (2, 3)),
        lambda: NestedDiffusion(DDIM(Prior()), (3, 2)),
    ],
    ids=["eta", "measurement", "allocation", "solver"],
)
def test_the_state_of_another_run_is_refused(other, tmp_path: Path) -> None:
    state = start(NestedDiffusion(ddrm(), (3, 2)))
    state.save(tmp_path / "state")
    nested = other()
    with pytest.raises(ValueError, match="another run"):
        nested.run(state)
    with pytest.raises(ValueError, match="another run"):
        NestedState.load(tmp_path / "state", configuration=nested.configuration)


def test_a_state_from_another_kind_of_device_is_refused() -> None:
    nested = NestedDiffusion(ddrm(), (3, 2))
    with pytest.raises(ValueError, match="started on cuda"):
        nested.run(dataclasses.replace(start(nested), device="cuda"))


def test_files_that_are_no_state_are_refused_in_one_line(tmp_path: Path) -> None:
    nested = NestedDiffusion(ddrm(), (3, 2))
    good = tmp_path / "good"
    start(nested).save(good)
    damaged = {"empty": b"", "text": b"hello", "truncated": good.read_bytes()[:-100]}
    for name, content in damaged.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=name) as caught:
            NestedState.load(path)
        assert "\n" not in str(caught.value)
    save_file({"x_k": torch.zeros(1)}, tmp_path / "weights")
    with pytest.raises(ValueError, match="not a state file"):
        NestedState.load(tmp_path / "weights")
    with pytest.raises(FileNotFoundError):
        NestedState.load(tmp_path / "missing")


def test_a_failing_save_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    state = start(NestedDiffusion(ddrm(), (3, 2)))
    state.save(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        state.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize(
    ("allocation", "message"),
    [
        ((), "from 1 to 1000 outer steps: got 0"),
        ((10, 0, 10), "at least 1: got"),
        ((10, 2.5), "whole numbers"),
        ((500, 501), "from noise level 500 takes at most 500 steps: got 501"),
        ((1001,), "takes at most 1000 steps: got 1001"),
    ],
)
def test_wrong_allocations_are_named(allocation, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NestedDiffusion(ddrm(), allocation)


def test_uniform() -> None:
    assert uniform(3, 10) == (10, 10, 10)
    with pytest.raises(ValueError, match="at least 1"):
        uniform(0, 10)


def test_a_start_without_a_seed_an_image_is_refused() -> None:
    nested = NestedDiffusion(ddrm(), (3, 2))
    with pytest.raises(ValueError, match="one seed an image"):
        nested.start(torch.zeros(2, *SHAPE), NoiseSource([1]))
