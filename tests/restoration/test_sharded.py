"""``restore --workers ray``: inputs spread over processes, to the same files as here, whoever dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import running
import torch
from PIL import Image

from benchmarks.studies.fuzz_corpus import tiny_prior
from restoration.cluster import TRIES
from restoration.commands import sharded
from restoration.priors.formats.convert import save_folder

NAMES = ("a", "b", "c", "d")


class ActorDiedError(Exception):
    """As Ray's."""

    cause = None


class TaskError(Exception):
    """As Ray's, of an exception in a worker."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class Ray:
    """As much of Ray as starts workers and hands them inputs, in this process; ``dies`` says who dies of what."""

    class exceptions:  # noqa: N801
        RayError = (ActorDiedError, TaskError)

    def __init__(self, dies: Callable[[str], bool]) -> None:
        self.dies, self.started, self.begun = dies, 0, list[str]()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, kind: type) -> Any:
        return self

    def options(self, **options: Any) -> Any:
        return type("remote", (), {"remote": staticmethod(self._start)})

    def _start(self, *arguments: Any) -> Any:
        self.started += 1
        worker = sharded.Worker(*arguments)

        def restore(delivery: Any) -> Any:
            self.begun.append(delivery.file.stem)
            if self.dies(delivery.file.stem):
                raise ActorDiedError
            return worker.restore(delivery)

        methods = {"prepare": worker.prepare, "restore": restore, "stop": worker.stop}
        return type("actor", (), {name: _Method(act) for name, act in methods.items()})()

    def wait(self, under_way: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return under_way[:1], under_way[1:]

    def get(self, reference: Callable[[], Any]) -> Any:
        try:
            return reference()
        except ActorDiedError:
            raise
        except Exception as error:
            raise TaskError(error) from None

    def kill(self, actor: Any) -> None:
        pass

    def shutdown(self) -> None:
        pass


class _Method:
    def __init__(self, act: Callable[..., Any]) -> None:
        self._act = act

    def remote(self, *given: Any) -> Callable[[], Any]:
        return lambda: self._act(*given)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Four small pictures in ``in``, and a prior that has learned nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("restoration.cluster.find_spec", lambda name: object())
    save_folder(tiny_prior(), tmp_path / "tiny")
    (tmp_path / "in").mkdir()
    draw = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(f"in/{name}.png")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker of two on two cores has
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ray]:
    """Puts a cluster in the place of Ray's."""

    def put(dies: Callable[[str], bool] = lambda name: False) -> Ray:
        ray = Ray(dies)
        monkeypatch.setattr(sharded, "connected", lambda: ray)
        return ray

    return put


def restore(capsys: Any, *more: str, seed: str = "1") -> tuple[int, list[dict[str, Any]], str]:
    options = ("--task", "sr2", "--allocation", "2,1", "--device", "cpu", "--prior", "tiny", "--json")
    code, out, err = running.restore("in", *options, "--seed", seed, *more, capsys=capsys)
    return code, [json.loads(line) for line in out.splitlines()], err


def test_results_are_those_of_one_process_whoever_dies(folder: Path, capsys: Any, cluster: Any) -> None:
    assert restore(capsys, "-o", "here/", "--previews", "seen")[0] == 0
    died: list[str] = []

    def dies(name: str) -> bool:
        if name in "bd" and died.count(name) < TRIES - 1:
            died.append(name)
            return True
        return False

    ray = cluster(dies)
    code, told, err = restore(capsys, "-o", "there/", "--previews", "looked", "--workers", "ray:2")
    assert (code, err) == (0, "")
    assert sorted(ray.begun) == ["a", "b", "b", "b", "c", "d", "d", "d"]  # what had ended is not done again
    assert ray.started == 2 + len(died)
    for here, there in (("here", "there"), ("seen", "looked")):
        names = sorted(path.name for path in Path(here).iterdir())
        assert names == sorted(path.name for path in Path(there).iterdir())
        for name in names:
            assert (Path(here) / name).read_bytes() == (Path(there) / name).read_bytes()
    results = [event for event in told if event["event"] == "result"]
    assert sorted(event["path"] for event in results) == [f"there/{name}.png" for name in NAMES]
    ray = cluster()
    Path("there/c.png").unlink()
    _, told, _ = restore(capsys, "-o", "there/", "--workers", "ray:2")
    assert sorted(event["event"] for event in told if event["event"] != "preview") == ["result", *["skipped"] * 3]


def test_input_that_fails_costs_no_other(folder: Path, capsys: Any, cluster: Any) -> None:
    Path("in/b.png").write_bytes(b"no picture")
    cluster(lambda name: name == "d")  # whoever touches it dies
    code, told, err = restore(capsys, "-o", "out/", "--workers", "ray:2")
    assert code == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "c.png"]
    failed = {Path(event["input"]).name: event["message"] for event in told if event["event"] == "error"}
    assert failed.keys() == {"b.png", "d.png"}
    assert f"{TRIES} workers failed on it, the last with: ActorDiedError" in failed["d.png"]
    assert "restore: 2 of 4 inputs failed" in err


def test_what_no_worker_can_do_is_one_line(folder: Path, capsys: Any, cluster: Any) -> None:
    cluster()
    for wrong, why in (
        (("--workers", "dask"), "--workers must be here or ray"),
        (("--workers", "ray:2", "--batch", "4"), "leave --batch away"),
        (("--workers", "ray:2", "--prior", "missing"), "missing"),
    ):
        code, _, err = restore(capsys, "-o", "out/", *wrong)
        assert code == 2
        assert why in err
        assert len(err.splitlines()) == 1


def test_without_ray_the_extra_is_named(folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restoration.cluster.find_spec", lambda name: None)
    code, _, err = restore(capsys, "-o", "out/", "--workers", "ray")
    assert code == 2
    assert "pip install 'nested-restoration[ray]'" in err


def test_warning_of_scans_is_told_once_by_all_workers(folder: Path, capsys: Any, cluster: Any) -> None:
    nibabel = pytest.importorskip("nibabel")
    from restoration.medical import WARNING

    cluster()
    for i in range(3):
        volume = np.random.default_rng(i).integers(0, 255, (8, 8, 2)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), f"in/{i}.nii")
    code, told, _ = restore(capsys, "-o", "out/", "--workers", "ray:2")
    assert code == 0
    notes = [event["message"] for event in told if event["event"] == "note"]
    assert notes.count(WARNING) == 1
    assert sum(note.startswith("window ") for note in notes) == 3  # what is of each scan is told of each
