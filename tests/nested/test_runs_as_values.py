"""Runs are values: they share a network, are stored after any evaluation, and are taken apart and put together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from degradations import Colorization, Denoising, Inpainting, Measurement, SuperResolution, SVDOperator, simulate
from nested import NestedDiffusion, NestedState, Run
from restoration.priors import GaussianPrior, TiledPrior, load_prior
from restoration.restorer import Restorer, StoppedBy
from solvers import DDRM, NoiseSource, Question

SHAPE, LARGE = (3, 64, 64), (3, 64, 112)


def operator(name: str, shape: tuple[int, int, int]) -> SVDOperator:
    if name == "inpaint":
        mask = torch.rand(shape[1:], generator=torch.Generator().manual_seed(3)) < 0.5
        return Inpainting(shape, mask)
    kinds = {"denoise": Denoising, "colorize": Colorization}
    return SuperResolution(shape, 4) if name == "sr4" else kinds[name](shape)


def measured(name: str, sigma: float, shape: tuple[int, int, int] = SHAPE, n: int = 1) -> Measurement:
    rows, columns = torch.meshgrid(torch.linspace(0, 3, shape[1]), torch.linspace(0, 4, shape[2]), indexing="ij")
    waves = torch.stack([0.6 * torch.sin(rows + i) * torch.cos(columns * (1 + i)) for i in range(3)])
    return simulate(waves.expand(n, *shape), operator(name, shape), sigma, noise=NoiseSource(range(n)))


def begun(nested: NestedDiffusion, seeds: Sequence[int]) -> NestedState:
    noise = NoiseSource(seeds)
    return nested.start(nested.inner.initial(nested.schedule.K, noise), noise)


def alone(nested: NestedDiffusion, run: NestedState) -> Tensor:
    *_, last = nested.run(run)
    return last.x0


def test_eight_runs_share_one_network() -> None:
    """Four tasks, σ zero and not, three allocations, two shapes, one cancelled, one joining late."""
    prior = load_prior("faces-64", "cpu")
    tiled = TiledPrior(prior, LARGE)
    asked = [
        ("denoise", 0.4, SHAPE, (3, 2)), ("sr4", 0.0, SHAPE, (5,)), ("colorize", 0.1, SHAPE, (2, 2, 2)),
        ("inpaint", 0.0, SHAPE, (3, 2)), ("sr4", 0.1, LARGE, (5,)), ("inpaint", 0.2, LARGE, (2, 2, 2)),
        ("colorize", 0.0, SHAPE, (5,)), ("denoise", 0.2, SHAPE, (2, 2, 2)),
    ]  # fmt: skip
    nests = [
        NestedDiffusion(DDRM(prior if shape == SHAPE else tiled, measured(name, sigma, shape)), steps)
        for name, sigma, shape, steps in asked
    ]
    starts = [begun(nested, [i]) for i, nested in enumerate(nests)]
    runs: dict[int, NestedState] = {i: run for i, run in enumerate(starts) if i != 7}
    cancelled, late, calls, joins = 6, 7, 0, 0
    while any(not run.finished for run in runs.values()):
        parts, waiting = [], {}
        for i, run in runs.items():
            question = nests[i].ask(run)
            if question is None:
                continue
            windows = tiled.split(question) if question.x.shape[1:] == torch.Size(LARGE) else None
            asked_here = [question] if windows is None else [windows.question(j) for j in range(len(windows))]
            waiting[i] = windows, len(parts), len(asked_here)
            parts += asked_here
        together = Question.stack(parts)
        answers = torch.split(prior.denoise(together.x, together.k), [len(part.x) for part in parts])
        calls += 1
        for i, (windows, first, count) in waiting.items():
            x0 = answers[first]
            if windows is not None:
                for j in range(count):
                    windows.answer(j, answers[first + j])
                x0 = windows.x0
            runs[i], _ = nests[i].answer(runs[i], x0)
        if calls == 2:
            del runs[cancelled]
            runs[late] = starts[late]
            joins += 1
    assert calls <= max(sum(steps) for *_, steps in asked) + 2 * joins  # it joined two calls late
    for i, run in runs.items():
        # other batch sizes sum in another order: 1e-6 of a value an evaluation, times up to σ = 157 at k = 1000
        assert run.x0 is not None
        torch.testing.assert_close(run.x0, alone(nests[i], starts[i]), atol=2e-4, rtol=0)


def test_a_level_an_image_gives_the_answers_of_each_level() -> None:
    prior = load_prior("faces-64", "cpu")
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    together = prior.denoise(x, torch.tensor([1000, 300, 1]))
    for i, k in enumerate((1000, 300, 1)):
        # one rounding of each product, in another order by batch size
        torch.testing.assert_close(together[i : i + 1], prior.denoise(x[i : i + 1], k), atol=2e-5, rtol=0)
    with pytest.raises(ValueError, match="k must be a whole number or"):
        prior.denoise(x, torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="k must be from 0 to 1000"):
        prior.denoise(x, torch.tensor([1, 2, 1001]))


@pytest.mark.parametrize("allocation", [(3, 2), (5,)], ids=["nested", "plain"])
def test_a_run_stored_after_any_evaluation_goes_on_bit_for_bit(allocation, tmp_path: Path) -> None:
    nested = NestedDiffusion(DDRM(load_prior("faces-64", "cpu"), measured("sr4", 0.1)), allocation)
    whole = list(nested.run(begun(nested, [4])))
    for estimate in whole:
        estimate.state.save(tmp_path / "state")
        state = NestedState.load(tmp_path / "state", configuration=nested.configuration)
        rest = list(nested.run(state))
        assert [e.nfe for e in rest] == list(range(estimate.nfe + 1, 6))
        assert all(a.x0.equal(b.x0) for a, b in zip(rest, whole[estimate.nfe :], strict=True))


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
folder, here = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(here.parent))
from test_runs_as_values import begun, gaussian, measured
from nested import NestedDiffusion, NestedState
from solvers import DDRM

def one_life(file, allocation):
    nested = NestedDiffusion(DDRM(gaussian(), measured("sr4", 0.1, (3, 8, 8))), allocation)
    state = NestedState.load(file, configuration=nested.configuration) if file.exists() else begun(nested, [4])
    for estimate in nested.run(state):
        estimate.state.save(file)
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)

for name, allocation in (("nested", (2, 1)), ("plain", (3,))):
    for _ in range(4):
        child = os.fork()  # a process for every evaluation; imports are done once
        if not child:
            one_life(folder / name, allocation)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def gaussian() -> GaussianPrior:
    i = torch.arange(192.0)
    return GaussianPrior(torch.zeros(3, 8, 8), 0.2 * torch.exp(-(i[:, None] - i).abs() / 4))


def test_a_run_killed_after_every_evaluation_ends_bit_for_bit(tmp_path: Path) -> None:
    told = [sys.executable, "-c", KILLED, str(tmp_path), __file__]
    ended = subprocess.run(
        told, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert [int(code) for code in ended.stdout.split()] == ([-signal.SIGKILL] * 3 + [0]) * 2
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, allocation in (("nested", (2, 1)), ("plain", (3,))):
        nested = NestedDiffusion(DDRM(gaussian(), measured("sr4", 0.1, (3, 8, 8))), allocation)
        x0 = NestedState.load(tmp_path / name).x0
        assert x0 is not None
        assert x0.equal(alone(nested, begun(nested, [4])))
    torch.set_num_threads(threads)


def test_one_image_of_a_batch_goes_on_alone(tmp_path: Path) -> None:
    """Candidate 3 of 4: to exactly its result in the batch, with a prior that treats images alike."""
    measurement = measured("inpaint", 0.1, (3, 8, 8)).expand(4)
    four = NestedDiffusion(DDRM(gaussian(), measurement), (3, 2, 2))
    whole = list(four.run(begun(four, [1, 2, 3, 4])))
    for at in (1, 2, 4):
        whole[at].state.save(tmp_path / "state")
        third = NestedState.load(tmp_path / "state").take(2)
        one = NestedDiffusion(DDRM(gaussian(), measurement.take(2)), (3, 2, 2))
        # a product of one row is summed in another order than of four: float64 in the prior, float32 in the state
        torch.testing.assert_close(alone(one, third), whole[-1].x0[2:3], atol=1e-6, rtol=0)


def test_runs_are_taken_apart_and_put_together() -> None:
    measurement = measured("sr4", 0.1, (3, 8, 8), n=3)
    nested = NestedDiffusion(DDRM(gaussian(), measurement), (3, 2))
    for estimate in nested.run(begun(nested, [5, 6, 7])):
        run = estimate.state
        again = NestedState.stack([run.take(i) for i in range(3)])
        assert again.identities == run.identities
        assert again.x_k.equal(run.x_k)
        if not run.finished:
            assert alone(nested, again).equal(alone(nested, run))
    assert run.identities == tuple(nested.inner.take(i).fingerprint() for i in range(3))
    with pytest.raises(ValueError, match="at the same place of one allocation"):
        NestedState.stack([run, begun(nested, [5, 6, 7])])


def test_copies_go_on_alike_or_with_seeds_of_their_own() -> None:
    nested = NestedDiffusion(DDRM(gaussian(), measured("sr4", 0.1, (3, 8, 8))), (3, 2))
    first = next(nested.run(begun(nested, [5]))).state
    two = NestedDiffusion(DDRM(gaussian(), measured("sr4", 0.1, (3, 8, 8)).expand(2)), (3, 2))
    alike = alone(two, first.expand(2))
    assert alike[0].equal(alike[1])
    other = alone(two, first.expand(2, seeds=[8, 9]))
    assert float((other[0] - other[1]).abs().max()) > 1e-3
    with pytest.raises(ValueError, match="only the run of one image"):
        first.expand(2).expand(2)


def test_an_unfinished_run_takes_another_allocation_for_the_rest(tmp_path: Path) -> None:
    inner = DDRM(gaussian(), measured("sr4", 0.1, (3, 8, 8)))
    first = NestedDiffusion(inner, (3, 2, 2))
    estimates = list(first.run(begun(first, [5])))
    for at, steps, levels in ((2, (3, 4), (1000, 667, 0)), (3, (3, 2, 5, 1), (1000, 667, 445, 222, 0))):
        run = estimates[at].state.reallocated(steps)
        run.save(tmp_path / "state")
        run = NestedState.load(tmp_path / "state")
        assert (run.allocation, run.levels) == (steps, levels)
        assert run.reallocations == ((at + 1, (3, 2, 2)),)
        rest = list(NestedDiffusion(inner, steps).run(run))
        assert [e.nfe for e in rest] == list(range(at + 2, sum(steps) + 1))
        assert rest[-1].state.finished
    for wrong in ((2, 2), (3,), (3, 0)):
        with pytest.raises(ValueError, match="allocation must"):
            estimates[2].state.reallocated(wrong)


def test_two_priors_of_one_class_are_told_apart() -> None:
    class Mine:
        image_shape = (3, 8, 8)
        schedule = gaussian().schedule

        def __init__(self, slope: float) -> None:
            self.slope = torch.full((3, 1, 1), slope)

        def denoise(self, x_k: Tensor, k: int | Tensor) -> Tensor:
            return x_k * self.slope

    one = NestedDiffusion(DDRM(Mine(0.3), measured("sr4", 0.1, (3, 8, 8))), (3, 2))  # type: ignore[arg-type]
    other = NestedDiffusion(DDRM(Mine(0.4), measured("sr4", 0.1, (3, 8, 8))), (3, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another run"):
        other.run(begun(one, [1]))
    assert isinstance(begun(one, [1]), Run)


def test_a_stop_is_heard_between_tiles() -> None:
    prior = load_prior("faces-64", "cpu")
    shape = (3, 64, 176)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 5

    m = measured("denoise", 0.1, shape)
    measurement = Measurement((m.y + 1) / 2, m.operator, 0.1)
    tiled = TiledPrior(prior, shape, tile_batch=1)  # three windows
    done = Restorer(tiled).restore(measurement, 2, 2, seeds=[1], stop=stop)
    assert (done.nfe, done.stopped_by, len(asked)) == (1, StoppedBy.INTERRUPT, 5)
    with pytest.raises(InterruptedError, match="before the first evaluation"):
        Restorer(tiled).restore(measurement, 2, 2, seeds=[1], stop=lambda: True)
