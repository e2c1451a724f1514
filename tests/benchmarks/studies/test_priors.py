"""The tables of docs/priors.md: measured, gone on with, and read from folders that were measured elsewhere."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
import typer

from benchmarks.commands import compare
from benchmarks.commands.compare import COMPARED
from benchmarks.engine.chunk import ORIGINAL, Chunk
from benchmarks.engine.results import Results
from benchmarks.studies import priors
from benchmarks.studies.kills import write_pictures
from benchmarks.studies.priors_results import Row, grouped
from benchmarks.studies.priors_table import column, losses, tables, title
from restoration.commands import console
from restoration.errors import OutputError
from restoration.pictures import images

FEATURES = {"name": "prior", "dim": 2, "detail": "mid-block of these weights"}
STOPS = {"A⁺y": [0], "classic": [0], "FIRE faithful": [10], "nested FIRE faithful": [10, 20, 30]}


def write(
    folder: Path, task: str, psnr: dict[tuple[str, int], float], *, features: bool = False, operator: str = "a"
) -> Path:
    """A results folder of two pictures, of runs that have no ``compare.md``: each of the PSNR, half a dB apart."""
    config = {
        "command": "compare",
        "prior": "faces-64",
        "prior fingerprint": "0123456789abcdef",
        "image shape": [3, 64, 64],
        "data": ["faces.tar"],
        "batch": 2,
        "methods": [{"name": name, "stops": stops, "settings": ""} for name, stops in STOPS.items()],
        "deepinv": None,
        "features": FEATURES,
        "torch": "2.11.0",
    }
    results = Results(folder, config)
    results.ask(1)
    names = ["a.png", "b.png"]
    rows = [
        {
            "image": name,
            "run": run,
            "kind": "returned",
            "nfe": nfe,
            "psnr": value + shift,
            "ssim": 0.5,
            "seconds": 2.0,
        }
        for (run, nfe), value in psnr.items()
        for name, shift in zip(names, (-0.25, 0.25), strict=True)
    ]
    # Along the first axis 2 apart, in the second equal: two sets that differ by a shift of 3 are 9 apart.
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    kept = {ORIGINAL: points} | {f"{run}|returned|{nfe}": points + torch.tensor([0.0, 3.0]) for run, nfe in psnr}
    chunk = Chunk(names, rows, features=kept if features else {}, hardware="a machine")
    chunk.operators = dict.fromkeys(names, operator)
    results.write(task, 0, chunk)
    return folder


def test_cells_are_means_and_distances_where_there_are_features(tmp_path: Path) -> None:
    first = write(tmp_path / "1", "denoise-0.1", {("A⁺y", 0): 20.0, ("classic", 0): 29.0}, features=True)
    second = write(
        tmp_path / "2", "denoise-0.1", {("FIRE faithful", 10): 28.5, ("nested FIRE faithful", 30): 28.75}
    )
    (group,) = grouped([first, second])
    lines = tables(group)
    assert lines[0] == "## `faces-64`: 2 pictures of 64 × 64"
    assert lines[2:8] == [
        "|  | denoise 0.1 |",
        "| --- | --- |",
        "| measurement, A⁺y | 20.00 .500 9 |",
        "| classical | 29.00 .500 9 |",
        "| faithful, 10 | 28.50 .500 |",  # nothing is told of features that were left behind
        "| faithful, 3 × 10 | 28.75 .500 |",
    ]
    assert "| faithful, 10 | 2 | a machine |" in lines
    # 0.25 dB behind is within the limit of 0.3
    assert losses(group) == ["- denoise 0.1: classical, 29.00 dB, is ahead of faithful, 10 by 0.50 dB."]
    assert losses(group, 0.6) == []


def test_nothing_is_said_of_losses_where_faithful_was_not_measured(tmp_path: Path) -> None:
    classical = write(tmp_path / "1", "denoise-0.1", {("classic", 0): 29.0})
    ours = write(tmp_path / "2", "denoise-0.1", {("FIRE faithful", 10): 30.0})
    assert "is ahead of" not in "\n".join(tables(*grouped([classical])))
    assert "- nowhere." in tables(*grouped([classical, ours]))


def test_distances_of_compare_json_are_those_of_the_same_pictures_alone(tmp_path: Path) -> None:
    folder = write(tmp_path / "1", "sr4-0", {("A⁺y", 0): 20.0, ("classic", 0): 29.0})
    row = {
        "task": "sr4",
        "sigma": 0.0,
        "method": "A⁺y",
        "evaluations": 0,
        "pictures": 2,
        "failed": 0,
        "psnr": 20.0,
    }
    told = [{**row, "FD-prior": 0.5}, {**row, "method": "classic", "psnr": 28.0, "FD-prior": 0.25}]
    (folder / COMPARED).write_text(json.dumps(told))
    (group,) = grouped([folder])
    cells = {row.run: cells["sr4-0"] for row, cells in group.cells.items()}
    assert cells["A⁺y"].distance == 0.5
    assert cells["classic"].distance is None  # 28 dB is not of these pictures
    for damaged in ("{}", '[{"task": "sr4"}]', "[", json.dumps([{**row, "FD-prior": "low"}])):
        (folder / COMPARED).write_text(damaged)
        with pytest.raises(OutputError, match=r"compare\.json is damaged"):
            grouped([folder])


def test_the_last_folder_counts_and_other_operators_are_told(tmp_path: Path) -> None:
    old = write(tmp_path / "old", "inpaint-0", {("A⁺y", 0): 9.0, ("classic", 0): 29.0})
    new = write(tmp_path / "new", "inpaint-0", {("classic", 0): 30.0}, operator="b")
    for folders, psnr in (([old, new], 30.0), ([new, old], 29.0)):
        (group,) = grouped(folders)
        assert group.cells[Row("classic", 0)]["inpaint-0"].psnr == psnr
        told = [line for line in tables(group) if "other pictures or operators" in line]
        assert len(told) == (folders == [old, new])  # else all that is shown is of one folder


def test_a_method_that_failed_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "1", "jpeg20", {("classic", 0): 29.0})
    file = folder / "jpeg20" / "00000.json"
    chunk = json.loads(file.read_text())
    chunk["rows"][0] = {"image": "a.png", "run": "classic", "kind": "returned", "nfe": 0, "failed": "no"}
    chunk["rows"] += [
        {"image": name, "run": "A⁺y", "kind": "returned", "nfe": 0, "failed": "no"} for name in ("a.png", "b.png")
    ]
    file.write_text(json.dumps(chunk))
    (group,) = grouped([folder])
    lines = tables(group)
    assert "| measurement, A⁺y | failed |" in lines
    assert "| classical | 29.25 .500 (1 failed) |" in lines
    assert math.isnan(group.cells[Row("A⁺y", 0)]["jpeg20"].seconds)


def test_folders_of_other_commands_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "1", "sr4-0", {("A⁺y", 0): 20.0})
    with pytest.raises(OutputError, match="is no results folder"):
        grouped([tmp_path / "absent"])
    for change in (
        {"command": "table2"},
        {"methods": "all"},
        {"image shape": [3, "64"]},
        {"features": {"dim": 2}},
    ):
        other = tmp_path / "other"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(folder, other)
        config = json.loads((folder / "config.json").read_text())
        (other / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(OutputError, match="holds no results of restore-bench compare"):
            grouped([other])


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("denoise-0.05", "denoise 0.05"),
        ("denoise-1e-05", "denoise 1e-05"),
        ("sr4-0", "sr4"),
        ("sr4-0.05", "sr4, σ 0.05"),
        ("inpaint-hole24-0", "hole 24 × 24"),
        ("deblur-gaussian-1.6-0.01", "deblur-gaussian-1.6, σ 0.01"),
        ("jpeg20", "JPEG 20"),
    ],
)
def test_columns_are_named_for_readers(task: str, told: str) -> None:
    assert column(task) == told


def test_rows_are_named_by_their_evaluations() -> None:
    rows = (Row("A⁺y", 0), Row("FIRE natural", 30), Row("nested DDRM", 30, 3), Row("mean of 8 FIRE natural", 240))
    assert [*map(title, rows)] == ["measurement, A⁺y", "natural, 30", "DDRM, 3 × 10", "mean of 8 × 30 natural"]


def test_rows_and_columns_stand_in_one_order_whatever_the_folders_are(tmp_path: Path) -> None:
    tasks = ["denoise-0.05", "denoise-0.25", "sr2-0", "sr4-0", "sr16-0", "sr4-0.05"]
    tasks += ["inpaint-0", "inpaint-scratch-0", "inpaint-hole16-0", "inpaint-hole24-0", "inpaint-0.05", "jpeg20"]
    for task in reversed(tasks):
        write(
            tmp_path / "1", task, {("nested FIRE faithful", 30): 2.0, ("FIRE faithful", 10): 1.0, ("A⁺y", 0): 1.0}
        )
    lines = tables(*grouped([tmp_path / "1"]))
    heads = [line for line in lines if line.startswith("|  | ")][:2]
    assert heads[0] == "|  | denoise 0.05 | denoise 0.25 | sr2 | sr4 | sr16 | sr4, σ 0.05 |"
    inpainting = "inpaint 50 % | scratch | hole 16 × 16 | hole 24 × 24 | inpaint 50 %, σ 0.05"
    assert heads[1] == f"|  | {inpainting} | JPEG 20 |"
    rows = [line.split(" | ")[0] for line in lines[4:7]]
    assert rows == ["| measurement, A⁺y", "| faithful, 10", "| faithful, 3 × 10"]


def test_the_command_measures_goes_on_and_shows(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pictures(workplace / "pictures", 2)
    for name in ("a", "b"):
        images.save(workplace / "pictures" / f"{name}.png", torch.full((3, 20, 37), 0.5), {})
    shutil.copytree(workplace / "tiny", workplace / "photos-tiny")  # photographs are restored whole, too
    monkeypatch.setattr(priors, "TASKS", ("denoise:0.1", "sr2:0"))
    monkeypatch.setattr(priors, "WHOLE_TASKS", ("sr2:0",))
    monkeypatch.setattr(priors, "BUDGETS", compare.Budgets((2, 4), 2))
    monkeypatch.setattr(priors, "SIDE", 16)
    for names, kept in (("CLASSICAL", ("pinv", "nlm", "lanczos")), ("OURS", ("faithful",)), ("THEIRS", ())):
        monkeypatch.setattr(priors, names, kept)
    monkeypatch.setattr(priors, "WHOLE_METHODS", ("pinv", "faithful"))
    app = typer.Typer()
    app.command()(priors.main)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["priors", *arguments])
        with pytest.raises(SystemExit) as stop:
            console.main("priors", app)
        return int(stop.value.code or 0), *capsys.readouterr()

    asked = ("--data", "pictures", "--prior", "photos-tiny", "-o", "r", "--limit", "2", "--device", "cpu")
    code, out, err = run(*asked)
    assert code == 0, err
    assert out == Path("r/priors.md").read_text()
    assert "## `photos-tiny`: 2 pictures of 16 × 16" in out
    assert "## `photos-tiny`: 2 whole pictures" in out
    assert "|  | denoise 0.1 | sr2 |" in out
    for row in ("measurement, A⁺y", "non-local means", "Lanczos", "faithful, 2", "faithful, 4"):
        assert f"| {row} | " in out
    code, again, err = run(*asked)
    assert (code, again) == (0, out)
    assert "4 of 4 restorations are there already" in err
    code, shown, err = run("--results", "r/squares", "--results", "r/whole")
    assert (code, shown) == (0, out), err  # from features, as where they were measured
    for wrong in ((), (*asked, "--limit", "0"), ("--data", "pictures"), ("-o", "r"), ("--results", "absent")):
        code, out, err = run(*wrong)
        assert (code, out, err.count("\n")) == (2, "", 1)
    monkeypatch.setattr(priors.Campaign, "measure", lambda _: False)  # as after a Ctrl-C
    assert run(*asked) == (130, "", "priors: interrupted\n")
