"""``restore-bench``, as a user types it."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from torch import Tensor

from benchmarks.metrics.statistics import Statistics
from benchmarks.studies.kills import write_pictures
from restoration.priors.calibration import Calibration, key_of
from restoration.restorer import DEFAULT
from solvers import DDRM, FIRE, SAMPLERS, NoiseSource, Spectral, record_of

QUICK = (
    "--prior",
    "tiny",
    "--device",
    "cpu",
    "--outer",
    "2",
    "--inner",
    "2",
    "--batch",
    "2",
    "--tasks",
    "inpaint",
)


@pytest.fixture(autouse=True)
def folder(workplace: Path) -> Path:
    """Where ``tiny`` is a prior of 16×16 and ``pictures`` has four."""
    write_pictures(workplace / "pictures", 4)
    return workplace


def test_table2_leaves_a_table_and_says_what_is_missing(folder: Path, bench) -> None:
    (folder / "pictures" / "01a.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing")
    code, out, _ = bench("table2", "--data", "pictures", *QUICK, "-o", "r")
    assert code == 0
    assert out == Path("r/table2.md").read_text()
    assert "| PSNR ↑ dB | nested 2 | nested 4 | plain 4 | plain x̂₀ 2 | drawn 2 |" in out
    assert out.count("| inpaint |") == 3
    assert "FD-prior ↓" in out
    assert "KD-prior ↓" in out
    assert "FID ↓" not in out
    assert "4 pictures of pictures at 16×16, prior tiny" in out
    assert "FD-prior of fewer than 2,048 pictures is unreliable" in out
    assert "LPIPS: not available: AlexNet's weights cannot be downloaded here" in out
    assert "inpaint: left out on both sides: 01a.png: " in out
    config = json.loads(Path("r/config.json").read_text())
    assert (config["eta"], config["eta_b"], config["device"]) == (0.85, 1.0, "cpu")
    argv = json.loads(Path("r/asked.json").read_text())["argv"]
    assert argv == ["restore-bench", "table2", "--data", "pictures", *QUICK, "-o", "r"]


def test_a_rerun_says_what_is_there_and_another_configuration_is_refused(folder: Path, bench) -> None:
    assert bench("table2", "--data", "pictures", *QUICK, "--limit", "2", "-o", "r")[0] == 0
    first = Path("r/inpaint/00000.json").read_bytes()
    code, out, err = bench("table2", "--data", "pictures", *QUICK, "-o", "r")
    assert (code, "2 of 4 restorations are there already" in err) == (0, True)
    assert "4 pictures of pictures" in out
    assert Path("r/inpaint/00000.json").read_bytes() == first
    other = ("--prior", "tiny", "--device", "cpu", "--outer", "2", "--inner", "3", "--batch", "2")
    code, out, err = bench("table2", "--data", "pictures", *other, "-o", "r")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "another configuration (runs: " in err
    assert "--overwrite" in err
    assert Path("r/inpaint/00000.json").read_bytes() == first


def test_reference_statistics_are_written_once_and_then_taken(folder: Path, bench) -> None:
    given = ("--reference-stats", "clean.stats")
    code, own, _ = bench("table2", "--data", "pictures", *QUICK, *given, "-o", "r")
    assert (code, Statistics.load(Path("clean.stats")).count) == (0, 4)
    code, out, _ = bench("table2", "--data", "pictures", *QUICK, *given, "-o", "r")
    assert "FD-prior against 4 pictures of clean.stats." in out
    assert out.replace("FD-prior against 4 pictures of clean.stats.\n", "") == own
    statistics = Statistics.load(Path("clean.stats"))
    statistics.mean = statistics.mean + 1
    statistics.save(Path("clean.stats"))
    _, moved, _ = bench("table2", "--data", "pictures", *QUICK, *given, "-o", "r")
    rows = [line for line in own.splitlines() if line.startswith("| inpaint")]
    others = [line for line in moved.splitlines() if line.startswith("| inpaint")]
    assert (rows[0], rows[2]) == (others[0], others[2])
    assert rows[1] != others[1]


def test_one_picture_has_a_psnr_and_no_distance(folder: Path, bench) -> None:
    code, out, _ = bench("table2", "--data", "pictures", *QUICK, "--limit", "1", "-o", "r")
    assert code == 0
    assert "| inpaint | nan | nan |" in out


def large(folder: Path) -> None:
    Image.new("RGB", (20, 16)).save(folder / "pictures" / "zz.png")


def empty(folder: Path) -> None:
    (folder / "none").mkdir()


def twice(folder: Path) -> None:
    shutil.copytree(folder / "pictures", folder / "more")


def ruined(folder: Path) -> None:
    for file in (folder / "pictures").iterdir():
        file.write_bytes(b"nothing")


def statistics(folder: Path) -> None:
    (folder / "x.stats").write_bytes(b"nothing")


def occupied(folder: Path) -> None:
    (folder / "r").mkdir()
    (folder / "r" / "thesis.tex").touch()


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (large, (), "zz.png is 20×16, and this prior makes 16×16; --fit crops and shrinks every picture"),
        (empty, ("--data", "none"), "none: no pictures in it"),
        (twice, ("--data", "pictures", "--data", "more"), "2 pictures are called 00.png"),
        (ruined, (), "inpaint: no picture could be read, first 00.png"),
        (occupied, (), "r holds something else already"),
        (statistics, ("--reference-stats", "x.stats"), "x.stats: is damaged or no safetensors file"),
        (None, ("--reference-stats", "no/x.stats"), "there is no folder no"),
        (None, ("--data", "nowhere"), "nowhere"),
        (None, ("--tasks", "inpaint,sharpen"), "--tasks must be one of denoise, sr2, sr4,"),
        (None, ("--batch", "0"), "--batch and --limit must be at least 1"),
        (None, ("--limit", "-1"), "--batch and --limit must be at least 1"),
        (None, ("--outer", "0"), "--outer and --inner must be at least 1"),
        (None, ("--workers", "ray:none"), "--workers must be here or ray[:N]"),
        (None, ("--prior", "absent"), "'absent' is no file or folder"),
        (None, ("--fid-weights", "absent.pth"), "absent.pth: no such file"),
        (None, ("--device", "abacus"), "abacus"),
        (None, ("--precision", "fp8"), "fp8"),
        (None, ("--nonsense",), "--nonsense"),
    ],
)  # fmt: skip
def test_what_the_user_can_mend_is_one_line(folder: Path, bench, prepare, arguments, message: str) -> None:
    if prepare is not None:
        prepare(folder)
    data = () if "--data" in arguments else ("--data", "pictures")
    code, out, err = bench("table2", *data, *QUICK, "-o", "r", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err


ANYTIME = ("anytime", "--prior", "tiny", "--device", "cpu", "--total", "4", "--splits", "1,2", "-o", "r")


def test_anytime_leaves_curves_as_a_table_and_as_a_picture(folder: Path, bench) -> None:
    code, out, err = bench(*ANYTIME, "--data", "pictures", "--tasks", "inpaint,sr4")
    assert code == 0, err
    assert "| nested 2x2 |" in out
    assert "area under the curve of log FD-prior" in out
    for task in ("inpaint", "sr4"):
        drawn = ElementTree.parse(folder / "r" / f"anytime-{task}.svg")
        words = [element.text or "" for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
        assert f"{task}: PSNR, dB ↑" in words
        assert words.count("nested 2x2") == words.count("plain 4") == 2  # of PSNR and of the distance


class Halving(Spectral):
    """Nobody's sampler: a share of what is not ẑ₀ is left by every step, nothing by the last one."""

    @dataclass(frozen=True)
    class Settings(Spectral.Settings):
        share: float = 0.5

    def step(self, z: Tensor, z0: Tensor, k: int, k_next: int, noise: NoiseSource) -> Tensor:
        return z0 + (self.settings.share if k_next else 0) * (z - z0)


def test_anytime_measures_any_sampler_that_has_a_name(folder: Path, bench, monkeypatch) -> None:
    monkeypatch.setitem(SAMPLERS, "halving", Halving)
    ours = ("--data", "pictures", "--limit", "2", "--sampler", "halving")
    code, out, err = bench(*ANYTIME, *ours, "--grid", "log")
    assert code == 0, err
    assert "halving, grid log, share 0.5, seeds of names" in out
    config = json.loads(Path("r/config.json").read_text())
    assert (config["sampler"], config["grid"], config["share"]) == ("halving", "log", 0.5)
    assert not {"eta", "eta_b"} & set(config)
    assert bench("report", "r")[0] == 0
    page = Path("r/report.html").read_text(encoding="utf-8")
    assert "prior tiny, sampler halving." in page
    assert "--sampler halving" in page
    code, _, err = bench(*ANYTIME, *ours, "--eta", "0.5", "--overwrite")
    assert (code, err.count("\n")) == (2, 1)
    assert "Halving has no setting eta: it has grid, share" in err
    code, _, err = bench(*ANYTIME, "--data", "pictures", "--sampler", "doubling")
    assert (code, err.count("\n")) == (2, 1)
    assert "--sampler must be ddrm or fire or halving: got 'doubling'" in err


def test_anytime_takes_the_default_sampler_or_ddrm_with_its_settings(folder: Path, bench) -> None:
    asked = (*ANYTIME, "--data", "pictures", "--limit", "1")
    assert bench(*asked)[0] == 0
    assert record_of(DEFAULT).items() <= json.loads(Path("r/config.json").read_text()).items()
    for more, eta in ((("--sampler", "ddrm"), 0.85), (("--eta", "0.5"), 0.5)):
        assert bench(*asked, *more, "--overwrite")[0] == 0
        wanted = record_of(DDRM.Settings(eta=eta, eta_b=1.0))
        assert wanted.items() <= json.loads(Path("r/config.json").read_text()).items()


def test_anytime_of_one_picture_has_curves_and_no_area(folder: Path, bench) -> None:
    code, out, err = bench(*ANYTIME, "--data", "pictures", "--limit", "1")
    assert code == 0, err
    assert "inpaint: psnr" in out
    assert "area" not in out


def test_consistency_tells_distances_to_the_end_and_writes_what_restore_reads(folder: Path, bench) -> None:
    asked = (
        "--data",
        "pictures",
        "--prior",
        "tiny",
        "--device",
        "cpu",
        "--tasks",
        "sr4",
        "--limit",
        "2",
        "-o",
        "r",
    )
    code, out, err = bench("consistency", *asked, "--calibrate", "calibration.json")
    assert code == 0, err
    assert "sr4: RMSE to the end" in out
    assert "sr4: MSE to the end" in out
    assert "DreamSim: not available: dreamsim is not installed" in out
    assert "CLIP image score: not available" in out
    change = Calibration.load(folder)
    assert change is not None
    (tasks,) = change.samplers.values()
    assert tasks["sr4"].complete[-1] == (1.0, 0.0)
    fire = ("--sampler", "fire", "--aim", "faithful", "--grid", "power")
    code, _, err = bench("consistency", *asked, *fire)
    assert (code, err.count("\n"), "grid: 'log' there, 'power' asked for" in err) == (2, 1, True), err
    code, out, err = bench("consistency", *asked, *fire, "--overwrite", "--calibrate", "calibration.json")
    assert (code, "fire, grid power, aim faithful" in out) == (0, True), err
    change = Calibration.load(folder)
    assert change is not None
    wanted = FIRE.Settings(), FIRE.Settings("faithful", grid="power")  # beside what was measured before
    assert list(change.samplers) == [key_of(record_of(settings)) for settings in wanted]
    code, _, err = bench("consistency", *asked, "--clip", "nowhere", "--overwrite")
    assert (code, err.count("\n")) == (2, 1), err


def test_table2_takes_ddrms_own_rows_and_sets_its_paper_beside_them(folder: Path, bench) -> None:
    tasks = "deblur-uniform,deblur-gaussian,deblur-anisotropic,sr4-bicubic,cs4"
    command = QUICK[: QUICK.index("--tasks")]
    code, out, err = bench("table2", "--data", "pictures", *command, "--tasks", tasks, "-o", "r")
    assert code == 0, err
    assert all(out.count(f"| {task} |") == 3 + (task == "deblur-uniform") for task in tasks.split(","))
    (own,) = [line for line in out.splitlines() if line.startswith("| deblur-uniform |") and "35.64" in line]
    assert own.count("|") == 4
    assert "the paper's PSNR" not in out  # the nested paper has none of these


def test_mixed_sizes_are_shrunk_with_fit(folder: Path, bench) -> None:
    large(folder)
    code, out, _ = bench("table2", "--data", "pictures", "--fit", *QUICK, "-o", "r")
    assert (code, "5 pictures of pictures" in out) == (0, True)


def test_speed_tells_ratios_and_device(folder: Path, bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # a process of its own imports PyTorch for seconds
    monkeypatch.setattr(
        "benchmarks.commands.speed.ProcessPoolExecutor", lambda count, _: ThreadPoolExecutor(count)
    )
    options = ("--prior", "tiny", "--device", "cpu", "--batches", "1,2", "--rounds", "1", "--inner", "1")
    code, out, err = bench("speed", *options, "-o", "s")
    assert code == 0, err
    assert out == Path("s/speed.md").read_text()
    assert "restoration ÷ passes" in out
    assert "threads" in out
    rows = json.loads(Path("s/speed.json").read_text())["rows"]
    assert [(row["variant"], row["batch"]) for row in rows] == [
        (variant, batch) for batch in (1, 2) for variant in ("cpu fp32", "cpu fp32 contiguous")
    ]
    assert all(row["restoration / passes"] > 0 and row["step / pass"]["SR4"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batches", "1,x"), "--batches must be numbers like 1,4,16"),
        (("--rounds", "0"), "--batches and --rounds must be at least 1"),
        (("--device", "tpu"), "--device must be auto, cpu or cuda"),
        (("--clock", "sun"), "--clock must be wall or processor"),
        (("--architecture", "resnet"), "--architecture must be celeba_hq: got 'resnet'"),
    ],
)
def test_wrong_options_of_speed_are_one_line(folder: Path, bench, arguments, message: str) -> None:
    code, out, err = bench("speed", "--prior", "tiny", "--device", "cpu", *arguments, "-o", "s")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err
