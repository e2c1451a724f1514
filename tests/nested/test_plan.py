"""Which network call comes when."""

from __future__ import annotations

import pytest
from diffusers import DDIMScheduler

from restoration.plugins.diffusers.plan import Call, Progress, plan
from solvers import NoiseSchedule
from solvers.schedule import outer_levels


@pytest.mark.parametrize("allocation", [(10, 10, 10), (16, 8, 6), (1,), (7,), (1, 1, 1, 1), (250, 333, 3)])
def test_the_nested_spacing_is_the_projects_own(allocation: tuple[int, ...]) -> None:
    schedule = NoiseSchedule.linear()
    levels = outer_levels(1000, len(allocation))
    expected = tuple(
        tuple(k - 1 for k in schedule.steps(level, n)) for level, n in zip(levels, allocation, strict=False)
    )
    assert plan(allocation, 1000, "nested").runs == expected


@pytest.mark.parametrize("n", [2, 3, 7, 20, 50, 999, 1000])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_one_outer_step_has_the_timesteps_of_diffusers(spacing: str, n: int) -> None:
    offset = int(spacing == "leading" and n < 999)
    ddim = DDIMScheduler(timestep_spacing=spacing, steps_offset=offset)
    ddim.set_timesteps(n)
    assert list(plan((n,), 1000, spacing, offset).runs[0]) == ddim.timesteps.tolist()


def test_a_plan_is_walked_call_by_call() -> None:
    progress = Progress(plan((2, 1), 10, "nested"))
    seen, state = [], []
    while progress.nfe < progress.total_nfe:
        seen.append(progress.next)
        progress = progress.after()
        state.append((progress.nfe, progress.outer_steps, progress.outer_step_complete))
    assert seen == [Call(9, 0, 0, False), Call(0, 0, 1, True), Call(4, 1, 0, True)]
    assert state == [(1, 0, False), (2, 1, True), (3, 2, True)]
    assert [progress.plan.outer_step(i) for i in range(2)] == [(9, 4), (4, None)]
    with pytest.raises(ValueError, match="no call is left"):
        _ = progress.next


def test_a_run_starts_only_at_an_outer_step() -> None:
    progress = Progress(plan((2, 2, 2), 10, "nested"))
    later = progress.start_at(2)
    assert (later.nfe, later.total_nfe, later.outer_steps, later.total_outer_steps) == (0, 4, 0, 2)
    assert later.next.t == 6
    for index in (1, 6, -1):
        with pytest.raises(ValueError, match=f"where an outer step starts: got call {index} of 6"):
            progress.start_at(index)


@pytest.mark.parametrize(
    ("allocation", "spacing", "offset", "message"),
    [
        ((501, 501), "nested", 0, "from noise level 500 takes at most 500 steps: got 501"),
        ((1000,), "leading", 1, "from noise level 1000 takes at most 999 steps: got 1000"),
        ((), "nested", 0, "from 1 to 1000 outer steps: got 0"),
        ((1,) * 1001, "nested", 0, "from 1 to 1000 outer steps: got 1001"),
        ((5,), "karras", 0, "timestep_spacing must be one of nested, leading, trailing, linspace: got 'karras'"),
        ((2, 2, 333), "leading", 1, "from noise level 333 takes at most 332 steps: got 333"),
        ((2, 1, 1), "leading", 0, "do not start ever lower"),
    ],
)
def test_what_cannot_be_planned_is_told(allocation, spacing: str, offset: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(allocation, 1000, spacing, offset)


def test_the_final_level_can_be_the_networks_lowest_noise() -> None:
    assert plan((3,), 10, "nested", final=1).runs == ((9, 5, 1),)
    with pytest.raises(ValueError, match="takes at most 9 steps: got 10"):
        plan((10,), 10, "nested", final=1)
