"""A results folder through resuming, other picture lists, full disks and damage; and its summary."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.engine import results as module
from benchmarks.engine.campaign import Job, Measured, carry_out, jobs
from benchmarks.engine.chunk import ORIGINAL, Chunk
from benchmarks.engine.results import Results
from benchmarks.engine.summary import Mean, originals, summarise
from benchmarks.engine.trials import Look
from benchmarks.metrics.features import FeatureSpace
from benchmarks.metrics.frechet import frechet_distance
from benchmarks.metrics.kid import kernel_distance
from benchmarks.metrics.sample import FeatureSample
from benchmarks.metrics.statistics import Statistics
from nested.files import atomic_write
from restoration.errors import ImageError, OutputError
from restoration.pictures.sources import Source
from restoration.tasks import Task

TASK = Task("sr4", simulate=True)
SPACE = FeatureSpace("numbers", 3, "made here")
LOOK = Look("plain 1", "returned", 1)
SOURCES = [Source(f"{i}.png", Path(f"{i}.png")) for i in range(8)]


def number(name: str) -> int:
    return int(name.partition(".")[0])


def features(names: list[str], shift: float) -> torch.Tensor:
    rows = [torch.randn(3, generator=torch.Generator().manual_seed(number(name))) + shift for name in names]
    return torch.stack(rows)


def sample_of(names: list[str], shift: float) -> FeatureSample:
    sample = FeatureSample(SPACE)
    sample.update(features(names, shift), names)
    return sample


def chunk_of(job: Job) -> Chunk:
    """As if measured: picture i has i dB."""
    names = [source.name for source in job.sources]
    rows = [{"image": n, "run": "plain 1", "kind": "returned", "nfe": 1, "psnr": float(number(n))} for n in names]
    pictures = {ORIGINAL: torch.tensor([number(n) for n in names if number(n) < 3], dtype=torch.uint8)}
    told = {LOOK.key: features(names, 0.5), ORIGINAL: features(names, 0.0)}
    return Chunk(names, rows, {}, told, pictures if len(pictures[ORIGINAL]) else {}, {"plain 1": 0.1}, "here")


@pytest.fixture
def measured() -> list[list[str]]:
    """Names of the chunks that were measured, in order."""
    return []


@pytest.fixture
def campaign(tmp_path: Path, measured: list[list[str]]) -> Callable[..., Results]:
    def run(count: int, size: int = 2, stop: int = 10**9, **config: Any) -> Results:
        def measurer(todo: Any) -> Measured:
            for job in todo:
                measured.append([source.name for source in job.sources])
                yield job, chunk_of(job)

        results = Results(tmp_path / "r", {"batch": size} | config)
        todo = jobs([TASK], SOURCES[:count], size, results)
        carry_out(todo, measurer, results, lambda job, chunk: len(measured) >= stop)
        return results

    return run


def test_a_rerun_measures_only_what_is_missing(
    campaign: Callable[..., Results], measured: list[list[str]]
) -> None:
    campaign(5, stop=2)
    assert measured == [["0.png", "1.png"], ["2.png", "3.png"]]
    campaign(5)
    assert measured[2:] == [["4.png"]]
    campaign(5)
    assert len(measured) == 3
    campaign(8)  # a chunk that was not full is measured again, as a whole
    assert measured[3:] == [["4.png", "5.png"], ["6.png", "7.png"]]


def test_the_results_are_of_the_pictures_that_were_asked_for_last(campaign: Callable[..., Results]) -> None:
    assert summarise(campaign(8), "sr4").images == 8
    few = summarise(campaign(4), "sr4")
    assert (few.images, few.means[LOOK]["psnr"].mean) == (4, 1.5)
    assert summarise(Results.open(campaign(8).folder), "sr4").images == 8


def test_another_configuration_is_refused_unless_overwritten(campaign: Callable[..., Results]) -> None:
    folder = campaign(4, eta=0.85).folder
    with pytest.raises(
        OutputError, match=r"another configuration \(eta: 0.85 there, 0.5 asked for\); --overwrite"
    ):
        campaign(4, eta=0.5)
    assert Results.open(folder).indices("sr4") == [0, 1]
    fresh = Results(folder, {"batch": 2, "eta": 0.5}, overwrite=True)
    assert (fresh.tasks(), Results.open(folder).config["eta"]) == ([], 0.5)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OutputError, match="holds something else already"):
        Results(tmp_path, {}, overwrite=True)
    with pytest.raises(OutputError, match="is no results folder"):
        Results.open(tmp_path)
    with pytest.raises(OutputError, match="cannot be written to"):
        Results(tmp_path / "thesis.tex" / "r", {})


def test_a_full_disk_leaves_the_chunks_before(
    campaign: Callable[..., Results], measured: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, write: Callable[[BinaryIO], object]) -> None:
        if path.name == "00002.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        atomic_write(path, write)

    with monkeypatch.context() as patch:
        patch.setattr(module, "atomic_write", full)
        with pytest.raises(OutputError, match=r"00002.json cannot be written: No space left on device"):
            campaign(8)
    assert summarise(campaign(4), "sr4").images == 4
    assert len(measured) == 3
    assert summarise(campaign(8), "sr4", SPACE).images == 8
    assert len(measured) == 5


def test_what_a_kill_left_half_written_goes(campaign: Callable[..., Results]) -> None:
    folder = campaign(4).folder
    (folder / "sr4" / ".0123456789abcdef.part").touch()
    campaign(4)
    assert not list(folder.glob("**/.*"))


def test_a_chunk_of_other_pictures_goes_before_its_features_change(
    campaign: Callable[..., Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = campaign(3)

    def killed(path: Path, write: Callable[[BinaryIO], object]) -> None:
        if path.suffix == ".json":
            raise KeyboardInterrupt  # between the features and the rows
        atomic_write(path, write)

    monkeypatch.setattr(module, "atomic_write", killed)
    with pytest.raises(KeyboardInterrupt):
        results.write("sr4", 1, chunk_of(Job(TASK, 1, 2, tuple(SOURCES[2:4]))))
    assert not results.has("sr4", 1, ["2.png"])
    assert not results.has("sr4", 1, ["2.png", "3.png"])


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("00001.json", b'{"names": ["2.png", "3.png"], "rows": ['),
        ("00001.json", b"[]"),
        ("00001.json", b'{"nonsense": 1}'),
        ("00001.safetensors", b"no tensors"),
        ("00001.safetensors", None),
    ],
)
def test_a_damaged_file_is_told_in_one_line(
    campaign: Callable[..., Results], file: str, content: bytes | None
) -> None:
    results = campaign(4)
    path = results.folder / "sr4" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OutputError, match=rf"{file} is damaged.*; delete it .*to measure it again") as told:
        summarise(results, "sr4", SPACE)
    assert "\n" not in str(told.value)


def test_pictures_of_several_chunks_are_shown_together(campaign: Callable[..., Results]) -> None:
    names, pictures = campaign(8).pictures("sr4")
    assert names == ["0.png", "1.png", "2.png"]
    assert pictures[ORIGINAL].tolist() == [0, 1, 2]


def test_a_summary_is_what_the_rows_say(campaign: Callable[..., Results], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.engine.summary.BLOCK", 3)
    results = campaign(8)
    summary = summarise(results, "sr4", SPACE, kernel=True)
    names = [source.name for source in SOURCES]
    psnr = summary.means[LOOK]["psnr"]
    assert (psnr.mean, psnr.std) == pytest.approx((3.5, np.std(range(8), ddof=1)), rel=1e-15)
    ours, clean = Statistics(SPACE), Statistics(SPACE)
    ours.update(features(names, 0.5))
    clean.update(features(names, 0.0))
    # batches are joined in float64
    assert summary.distances[LOOK].value == pytest.approx(frechet_distance(ours, clean).value, rel=1e-12)
    assert summary.distances[LOOK].value == pytest.approx(3 * 0.25, abs=1e-6)  # a shift of float32 numbers
    assert summary.kernels[LOOK].name == "KD-numbers"
    assert summary.kernels[LOOK].value == kernel_distance(sample_of(names, 0.5), sample_of(names, 0.0)).value
    assert summary.seconds == {"plain 1": pytest.approx(4 * 0.1 / 8)}
    reference = originals(campaign(4), "sr4", SPACE)
    against = summarise(campaign(8), "sr4", SPACE, reference).distances[LOOK]
    assert (against.references, against.value) == (4, pytest.approx(frechet_distance(ours, reference).value))


def test_where_no_picture_could_be_read_that_is_told(campaign: Callable[..., Results]) -> None:
    results = campaign(2)
    results.write("sr4", 0, replace(Chunk(["0.png", "1.png"]), failed={"0.png": "0.png: broken", "1.png": "too"}))
    with pytest.raises(ImageError, match=r"sr4: no picture could be read, first 0.png: broken"):
        summarise(results, "sr4", SPACE)


def test_a_mean_is_exact_and_holds_no_numbers() -> None:
    values = np.random.default_rng(0).normal(25, 3, 3000)
    mean = Mean()
    for chunk in np.array_split(values, 100):
        mean.add(chunk.tolist())
    mean.add([])
    # joined chunk by chunk: each join rounds once
    assert (mean.mean, mean.std) == pytest.approx((values.mean(), values.std(ddof=1)), rel=1e-13)
    assert vars(mean).keys() == {"count", "mean", "squares"}
    assert np.isnan([Mean().mean, Mean().std, Mean(1, 2.0).std]).all()


DAMAGE: list[Callable[[dict[str, Any]], object]] = [
    lambda told: told["rows"][0].update(psnr=[0]),
    lambda told: told["rows"][0].update(nfe="1"),
    lambda told: told["rows"][0].pop("run"),
    lambda told: told["rows"][0].update(image="other.png"),
    lambda told: told.update(names="0.png"),
    lambda told: told.update(seconds={"plain 1": None}),
    lambda told: told.update(failed=[]),
    lambda told: told.update(strange=1),
    lambda told: told.pop("names"),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_chunk_is_named_in_one_line(
    campaign: Callable[..., Results], damage: Callable[[dict[str, Any]], object]
) -> None:
    results = campaign(4)
    file = results.folder / "sr4" / "00000.json"
    told = json.loads(file.read_text())
    damage(told)
    file.write_text(json.dumps(told))
    with pytest.raises(OutputError, match=r"00000\.json is damaged \(.*delete it to measure it again"):
        list(results.chunks("sr4"))


def test_features_that_are_none_are_named(campaign: Callable[..., Results]) -> None:
    results = campaign(4)
    path = results.folder / "sr4" / "00000.safetensors"
    tensors = load_file(path)
    key = next(iter(tensors))
    for wrong in (tensors[key].flatten(), tensors[key] * torch.nan, tensors[key].int()):
        save_file({**tensors, key: wrong}, path)
        with pytest.raises(OutputError, match=r"00000\.safetensors is damaged"):
            results.features("sr4", 0, key)
