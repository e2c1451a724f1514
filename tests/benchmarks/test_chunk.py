"""Some pictures, measured: each by itself, whatever stands beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.engine.case import Case
from benchmarks.engine.chunk import ORIGINAL, Bench, Chunk, measure, problem_of, seed_of
from benchmarks.engine.trials import nested_trial, plain_trial
from benchmarks.metrics.pixels import to_uint8
from benchmarks.metrics.prior_features import PriorFeatures
from benchmarks.metrics.psnr import psnr
from benchmarks.studies.kills import SIZE, write_pictures, write_tiny_prior
from restoration.pictures.sources import Source, find
from restoration.priors import load_prior
from restoration.restorer import Restorer
from restoration.tasks import Task
from solvers import DDRM

TRIALS = (nested_trial((2, 1), (1, 3)), plain_trial(2, (2,)))
INPAINT, DENOISE = Case(Task("inpaint", simulate=True)), Case(Task("denoise", sigma=0.5, simulate=True))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("chunk")
    write_tiny_prior(folder / "tiny")
    prior = load_prior(folder / "tiny", "cpu")
    return Bench(prior, TRIALS, features=PriorFeatures(prior), shown=2)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = tmp_path_factory.mktemp("pictures") / "p"
    write_pictures(folder, 3)
    return find([folder])


def scores(chunk: Chunk) -> dict[tuple[str, str, int], float]:
    return {(row["image"], row["run"], row["nfe"]): row["psnr"] for row in chunk.rows}


@pytest.mark.parametrize("task", [INPAINT, DENOISE], ids=["masks", "noise"])
def test_a_picture_is_measured_alike_in_any_batch_and_order(
    bench: Bench, sources: list[Source], task: Case
) -> None:
    together = measure(bench, task, sources, 0)
    backwards = measure(bench, task, sources[::-1], 0)
    alone = {key: value for source in sources for key, value in scores(measure(bench, task, [source], 0)).items()}
    assert len(scores(together)) == 3 * 3
    # float32 sums in another order in a batch of another size: 1e-6 of a pixel, some 1e-5 dB
    assert scores(backwards) == pytest.approx(scores(together), abs=1e-4)
    assert alone == pytest.approx(scores(together), abs=1e-4)
    for key, features in together.features.items():
        torch.testing.assert_close(backwards.features[key].flip(0), features, rtol=1e-3, atol=1e-3)  # of 8 bits


@pytest.mark.parametrize("sigma", [None, 0.05])
@pytest.mark.parametrize("name", ["denoise", "sr2", "sr4", "inpaint", "colorize"])
def test_what_is_measured_is_what_restorer_restores_of_the_same_measurement_seed_and_sigma(
    bench: Bench, sources: list[Source], name: str, sigma: float | None
) -> None:
    task = Task(name, 0.5 if sigma is None and name == "denoise" else sigma, simulate=True)
    stops, posterior = (1, 2, 4), DDRM.Settings(0.6, 0.9)
    trial = nested_trial((2, 2), stops, ("drawn",))  # before the first end, what Restorer shows
    chunk = measure(Bench(bench.prior, (trial,), posterior, shown=2), Case(task), sources[:2], 0)
    measured = scores(chunk)
    restorer = Restorer(bench.prior, posterior)
    for i, source in enumerate(sources[:2]):
        problem = problem_of(Case(task), source, bench.prior.image_shape)
        assert problem.original is not None
        assert problem.measurement.sigma == (task.sigma or 0)
        for nfe in stops:
            image = restorer.restore(
                problem.measurement, allocation=(2, 2), seeds=[seed_of(source.name)], max_nfe=nfe
            ).image
            # a batch of two against two of one: 1e-6 of a pixel, some 1e-5 dB and at most one step of 8 bits
            wanted = float(psnr(image, problem.original[None])[0])
            assert measured[source.name, trial.name, nfe] == pytest.approx(wanted, abs=1e-4)
            kept = chunk.pictures[f"{trial.name}|drawn|{nfe}"][i]
            assert int((kept.int() - to_uint8(image)[0].int()).abs().max()) <= 1


def test_seeds_and_operators_are_told_and_every_picture_has_its_own_mask(
    bench: Bench, sources: list[Source]
) -> None:
    chunk = measure(bench, INPAINT, sources, 0)
    assert chunk.seeds == {source.name: seed_of(source.name) for source in sources}
    assert len(set(chunk.operators.values())) == len(sources)
    again = measure(bench, INPAINT, sources[:1], 0)
    assert again.operators[sources[0].name] == chunk.operators[sources[0].name]
    assert len(set(measure(bench, DENOISE, sources, 0).operators.values())) == 1


def test_a_seed_is_of_the_name_alone() -> None:
    assert seed_of("a.png") == seed_of("a.png") != seed_of("b.png")


def test_what_cannot_be_read_is_told_and_left_out_on_both_sides(
    bench: Bench, sources: list[Source], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing")
    bad, gone = Source("bad.png", tmp_path / "bad.png"), Source("gone.png", tmp_path / "gone.png")
    chunk = measure(bench, INPAINT, [sources[0], bad, sources[1], gone], 0)
    assert chunk.names == ["00.png", "bad.png", "01.png", "gone.png"]
    assert chunk.readable == ["00.png", "01.png"]
    assert list(chunk.failed) == ["bad.png", "gone.png"]
    assert "bad.png" in chunk.failed["bad.png"]
    assert {row["image"] for row in chunk.rows} == {"00.png", "01.png"}
    assert all(len(features) == 2 for features in chunk.features.values())
    assert ORIGINAL in chunk.features
    whole = scores(measure(bench, INPAINT, sources[:2], 0))
    assert scores(chunk) == pytest.approx(whole, abs=1e-4)
    nothing = measure(bench, INPAINT, [bad], 0)
    assert (nothing.rows, nothing.features, list(nothing.failed)) == ([], {}, ["bad.png"])


def test_of_the_first_pictures_the_images_are_kept(bench: Bench, sources: list[Source]) -> None:
    for first, kept in ((0, 2), (1, 1), (2, 0)):
        chunk = measure(bench, INPAINT, sources, first)
        assert len(chunk.pictures) == (3 + 2 if kept else 0)
        assert all(shown.shape == (kept, 3, SIZE, SIZE) for shown in chunk.pictures.values())


def test_a_network_that_answers_nan_is_an_error(bench: Bench, sources: list[Source]) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(bench.prior, name)

        def denoise(self, x: torch.Tensor, k: int) -> torch.Tensor:
            return torch.full_like(x, torch.nan)

    with pytest.raises(ValueError, match="the network answered NaN"):
        measure(Bench(Broken(), TRIALS), INPAINT, sources, 0)  # type: ignore[arg-type]
