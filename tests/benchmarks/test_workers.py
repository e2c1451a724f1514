"""Chunks that other processes measure are those this one measures, and a worker that dies loses none."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands import table2
from benchmarks.engine import setup
from benchmarks.engine.campaign import Job
from benchmarks.engine.chunk import Chunk
from benchmarks.engine.results import Results
from benchmarks.engine.workers import RayMeasurer
from benchmarks.studies.kills import same, totals, write_pictures, write_tiny_prior
from restoration.cluster import TRIES, WorkerError, count_of
from restoration.errors import PriorError
from restoration.pictures.sources import Source
from restoration.tasks import Task


@pytest.mark.skipif(find_spec("ray") is None, reason="the extra 'ray' is not installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning:ray", "ignore::ResourceWarning:subprocess")
def test_two_workers_of_which_one_is_killed_find_what_one_process_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # no weights there
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "pictures", 8)
    write_tiny_prior(tmp_path / "tiny")
    made: list[RayMeasurer] = []
    killed: list[int] = []
    begin, store = setup.on_ray, Results.write

    def on_ray(*arguments: Any) -> RayMeasurer:
        made.append(begin(*arguments))
        return made[-1]

    def write(self: Results, task: str, index: int, chunk: Chunk) -> None:
        if made and not killed:
            killed.append(next(iter(made[0].pids.values())))
            os.kill(killed[0], signal.SIGKILL)
        store(self, task, index, chunk)

    monkeypatch.setattr(setup, "on_ray", on_ray)
    monkeypatch.setattr(Results, "write", write)
    for workers, folder in (("here", "one"), ("ray:2", "two")):
        options = setup.Options(
            (Path("pictures"),), "tiny", tmp_path / folder, batch=1, device="cpu", workers=workers
        )
        finished, _ = table2.measure(options, ["inpaint"], 2, 2)
        assert finished.complete
    assert killed
    # 1e-9 was promised; chunks are measured alike, one thread each, and joined in their order
    assert same(totals(tmp_path / "two"), totals(tmp_path / "one"))


class RayError(Exception):
    """What Ray raises for a worker that has died; with a cause, for one that has raised."""

    def __init__(self, cause: Exception | None = None) -> None:
        self.cause = cause


@dataclass
class Ray:
    """As much of Ray as hands out jobs, in this process: ``act`` answers a job or raises."""

    act: Callable[[Job], Chunk]
    resources: dict[str, float] = field(default_factory=lambda: {"CPU": 4.0})
    config: dict[str, Any] = field(default_factory=dict)
    begun: int = 0
    options_of_a_worker: dict[str, Any] = field(default_factory=dict)
    exceptions: Any = None

    def __post_init__(self) -> None:
        self.exceptions = type("exceptions", (), {"RayError": RayError})

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, worker: Any) -> Ray:
        return self

    def options(self, **options: Any) -> Ray:
        self.options_of_a_worker = options
        self.remote = self._begin  # type: ignore[method-assign, assignment]
        return self

    def _begin(self, build: Any, threads: int) -> Any:
        self.begun += 1
        number = self.begun

        def method(answer: Callable[..., Any]) -> Any:
            return type("method", (), {"remote": staticmethod(lambda *given: lambda: answer(*given))})

        told = {"prepare": method(lambda: (number, self.config)), "measure": method(self.act)}
        return type("actor", (), told)

    def wait(self, under_way: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return under_way[:1], under_way[1:]

    def get(self, reference: Callable[[], Any]) -> Any:
        return reference()

    def kill(self, actor: Any) -> None:
        pass


JOBS = [
    Job(Task("sr4", simulate=True), i, i, (Source(f"{i}.png", Path(f"{i}.png")),)) for i in range(5)
]  # no files: nothing is read


def handed_out(
    ray: Ray, workers: int | None = 2, device: str = "cpu", config: dict[str, Any] | None = None
) -> list[int]:
    measurer = RayMeasurer(lambda: (None, {}), config or {}, device, workers)  # type: ignore[arg-type, return-value]
    return sorted(job.index for job, _ in measurer._measure(ray, JOBS))


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "two_workers" not in request.node.name and "extra" not in request.node.name:
        monkeypatch.setattr("benchmarks.engine.workers.require_ray", lambda: None)


def answer(job: Job) -> Chunk:
    return Chunk([source.name for source in job.sources])


def test_a_chunk_whose_worker_dies_is_measured_by_another() -> None:
    died: list[int] = []

    def act(job: Job) -> Chunk:
        if job.index in (1, 3) and died.count(job.index) < TRIES - 1:
            died.append(job.index)
            raise RayError
        return answer(job)

    ray = Ray(act)
    assert handed_out(ray) == [0, 1, 2, 3, 4]
    assert ray.begun == 2 + len(died) == 2 + 2 * (TRIES - 1)


def test_a_chunk_that_fails_on_every_try_ends_it_in_one_line() -> None:
    def act(job: Job) -> Chunk:
        if job.index == 2:
            raise RayError(RuntimeError("CUDA error: unspecified launch failure\nmore"))
        return answer(job)

    with pytest.raises(
        WorkerError, match=r"sr4: .* 2.png failed 3 times, last with: CUDA error: .* failure;"
    ) as told:
        handed_out(Ray(act))
    assert "\n" not in str(told.value)


def test_what_is_the_users_to_mend_is_told_at_once() -> None:
    def act(job: Job) -> Chunk:
        raise RayError(PriorError("no such prior"))

    with pytest.raises(PriorError, match="no such prior"):
        handed_out(Ray(act))


def test_workers_share_the_cores_and_take_a_gpu_each() -> None:
    ray = Ray(answer, {"CPU": 8.0, "GPU": 2.0})
    handed_out(ray, None)
    assert (ray.begun, ray.options_of_a_worker["num_cpus"]) == (5, 1)  # no more than there are chunks
    handed_out(ray := Ray(answer, {"CPU": 8.0, "GPU": 2.0}), None, "cuda")
    assert (ray.begun, ray.options_of_a_worker["num_gpus"], ray.options_of_a_worker["num_cpus"]) == (2, 1, 1)
    handed_out(ray := Ray(answer, {"CPU": 2.0}), 4)
    assert ray.options_of_a_worker["num_cpus"] == 0.5
    with pytest.raises(WorkerError, match="needs 3 GPUs, and there are 2"):
        handed_out(Ray(answer, {"CPU": 8.0, "GPU": 2.0}), 3, "cuda")


def test_a_worker_with_another_prior_is_refused() -> None:
    with pytest.raises(WorkerError, match="differs from this machine in prior: 'b' there, 'a' here"):
        handed_out(Ray(answer, config={"prior": "b"}), config={"prior": "a"})


def test_the_option_is_ray_with_a_number_or_without() -> None:
    assert (count_of("ray"), count_of("ray:3")) == (None, 3)
    for wrong in ("ray:", "ray:0", "ray:x", "dask", "ray3"):
        with pytest.raises(ValueError, match="--workers must be here or ray"):
            count_of(wrong)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restoration.cluster.find_spec", lambda name: None)
    with pytest.raises(WorkerError, match=r"pip install 'nested-restoration\[ray\]'"):
        RayMeasurer(lambda: (None, {}), {}, "cpu")  # type: ignore[arg-type, return-value]
