"""``restore``, as a user types it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from running import restore

from nested import NestedState
from restoration.pictures import images
from restoration.priors.formats.ddpm import DDPM
from restoration.priors.formats.layout import Layout, build
from restoration.priors.formats.renaming import sources

INPAINT = ("--task", "inpaint", "--mask", "mask.png")
QUICK = ("--outer", "3", "--inner", "2", "--seed", "1", "--device", "cpu")
COMMAND = (sys.executable, "-c", "from restoration.commands.restore import script; script()")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a face-sized picture ``in.png``, its grey and its small version, and a mask."""
    monkeypatch.chdir(tmp_path)
    rows, columns = np.mgrid[:64, :64] / 63
    picture = np.stack([rows, columns, (rows + columns) / 2], axis=-1)
    Image.fromarray((picture * 255).astype(np.uint8)).save("in.png")
    Image.fromarray((picture.mean(-1) * 255).astype(np.uint8)).save("grey.png")
    Image.open("in.png").resize((16, 16), Image.Resampling.BOX).save("small.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


def pixels(path: Path | str) -> torch.Tensor:
    return images.load(Path(path))


def events(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    ("task", "given"),
    [
        (("denoise", "--sigma", "0.1", "--inner", "10"), "in.png"),
        (("sr4",), "small.png"),
        (("colorize",), "grey.png"),
        (("inpaint", "--mask", "mask.png"), "in.png"),
    ],
)
def test_what_was_measured_is_restored(folder: Path, task: tuple[str, ...], given: str) -> None:
    assert restore(given, *QUICK, "--task", *task, "-o", "out.png")[0] == 0
    out = pixels("out.png")
    assert out.shape == (3, 64, 64)
    measured = pixels(given)
    # what is stored is rounded to 8 bits and clamped, after a result that reproduces y
    if task[0] == "sr4":
        blocks = out.unfold(1, 4, 4).unfold(2, 4, 4).mean(dim=(3, 4))
        assert float((blocks - measured).abs().mean()) < 1 / 255  # but where clamping moved a block
    if task[0] == "colorize":
        assert float((out.mean(dim=0) - measured[0]).abs().mean()) < 1 / 255
        assert float((out[0] - out[2]).abs().max()) > 0.02  # it has colour
    if task[0] == "denoise":
        assert 0 < float((out - measured).square().mean().sqrt()) < 0.1
    if task[0] == "inpaint":
        known = pixels("mask.png")[0] < 0.5
        assert float((out - measured)[:, known].abs().max()) <= 1 / 255
        assert float((out - measured)[:, ~known].abs().max()) > 1 / 255


def test_json_tells_every_preview_and_the_result_and_nothing_else(folder: Path, capsys) -> None:
    code, out, err = restore(
        "in.png",
        "--task",
        "sr4",
        "--simulate",
        "-o",
        "out.png",
        "--previews",
        "p",
        "--json",
        *QUICK,
        capsys=capsys,
    )
    told = events(out)
    assert (code, err) == (0, "")
    assert [e["event"] for e in told] == ["preview"] * 3 + ["result"]
    assert [e["nfe"] for e in told] == [2, 4, 6, 6]
    assert [e["outer_step"] for e in told] == [1, 2, 3, 3]
    assert {e["total_nfe"] for e in told} == {6}
    assert all(e["complete"] and e["input"] == "in.png" for e in told)
    assert all(0 < e["psnr"] < 60 and -1 < e["ssim"] <= 1 and e["elapsed_s"] > 0 for e in told)
    assert [e["path"] for e in told] == ["p/in-002.png", "p/in-004.png", "p/in-006.png", "out.png"]
    assert all(Path(str(e["path"])).exists() for e in told)
    assert told[-1]["stopped_by"] == "finished"
    assert told[-1]["seeds"] == [1]


def test_json_without_a_truth_or_previews_has_no_scores_and_no_path(folder: Path, capsys) -> None:
    _, out, _ = restore("small.png", "--task", "sr4", "-o", "out.png", "--json", *QUICK, capsys=capsys)
    preview, *_, result = events(out)
    assert not {"psnr", "ssim", "path"} & preview.keys()
    assert result["path"] == "out.png"


def test_json_tells_why_a_single_input_failed_beside_the_one_line(folder: Path, capsys) -> None:
    Path("text.png").write_text("hello")
    code, out, err = restore("text.png", "--task", "sr4", "-o", "out.png", "--json", *QUICK, capsys=capsys)
    (told,) = events(out)
    assert (code, told["event"], told["input"]) == (2, "error", "text.png")
    assert err == f"restore: {told['message']}\n"
    code, out, err = restore("small.png", "--task", "sr4", "-o", "o.png", "--json", "--eta", "2", capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)  # no input's failure


def test_json_tells_what_is_skipped_and_what_fails_in_a_batch(folder: Path, capsys) -> None:
    Path("text.png").write_text("hello")
    common = ("small.png", "text.png", "--task", "sr4", "-o", "done", "--json", *QUICK)
    restore(*common)
    capsys.readouterr()
    code, out, _ = restore(*common, capsys=capsys)
    skipped, failed = events(out)
    assert code == 1
    assert skipped == {"event": "skipped", "input": "small.png", "path": "done/small.png"}
    assert (failed["event"], failed["input"]) == ("error", "text.png")


def test_scores_are_those_of_the_stored_picture(folder: Path, capsys) -> None:
    _, out, _ = restore("in.png", "--task", "sr4", "--simulate", "-o", "out.png", "--json", *QUICK, capsys=capsys)
    mse = float((pixels("out.png") - pixels("in.png")).pow(2).mean())
    # the file is rounded to 8 bits, which adds a step's variance of 1/12, and the score is of the floats
    rounding = 1 / (12 * 255**2)
    assert events(out)[-1]["psnr"] == pytest.approx(-10 * np.log10(mse - rounding), abs=0.05)


def test_an_output_says_how_to_repeat_it(folder: Path) -> None:
    arguments = ("in.png", "--task", "denoise", "--sigma", "0.1", "--simulate", "--allocation", "3,2")
    assert restore(*arguments, "-o", "out.png", "--eta", "0.5")[0] == 0
    record = images.read_record(Path("out.png"))
    assert record is not None
    assert (record["task"], record["sigma"], record["simulate"], record["eta"]) == ("denoise", 0.1, True, 0.5)
    assert (record["allocation"], record["nfe"], record["stopped_by"]) == ([3, 2], 5, "finished")
    assert record["prior"] == "photos-64"
    assert len(record["prior_sha256"]) == len(record["input_sha256"]) == 64
    assert record["torch"] == torch.__version__
    assert record["device"]
    assert record["nested_restoration"]
    seed = record["seeds"][0]
    assert restore(*arguments, "-o", "again.png", "--eta", "0.5", "--seed", seed)[0] == 0
    assert pixels("again.png").equal(pixels("out.png"))
    assert restore(*arguments, "-o", "other.png", "--eta", "0.5", "--seed", seed + 1)[0] == 0
    assert not pixels("other.png").equal(pixels("out.png"))


def test_stopping_early_keeps_the_newest_completed_preview(folder: Path, capsys) -> None:
    common = ("in.png", "--task", "sr4", "--simulate", *QUICK)
    restore(*common, "-o", "whole.png", "--previews", "p")
    capsys.readouterr()
    code, _, err = restore(*common, "-o", "out.png", "--max-nfe", "5", capsys=capsys)
    assert code == 0
    assert "stopped at 5 of 6 evaluations (max nfe)" in err
    assert pixels("out.png").equal(pixels("p/in-004.png"))
    code, out, _ = restore(*common, "-o", "first.png", "--deadline", "1e-6", "--json", capsys=capsys)
    (result,) = events(out)
    assert (code, result["stopped_by"], result["nfe"], result["complete"]) == (0, "deadline", 1, False)
    assert Path("first.png").exists()


def test_a_stored_run_goes_on_to_the_same_result(folder: Path, capsys) -> None:
    common = ("in.png", "--task", "inpaint", "--simulate", *QUICK)
    restore(*common, "-o", "whole.png")
    stored = (*common, "-o", "out.png", "--state", "state")
    restore(*stored, "--max-nfe", "4")
    assert not pixels("out.png").equal(pixels("whole.png"))
    assert NestedState.load("state").outer_step == 2
    capsys.readouterr()
    code, out, _ = restore(*stored, "--json", capsys=capsys)
    assert code == 0
    assert [e["nfe"] for e in events(out)] == [4, 6, 6]
    assert pixels("out.png").equal(pixels("whole.png"))
    assert images.read_record(Path("out.png"))["stopped_by"] == "finished"  # type: ignore[index]


def test_a_run_without_a_seed_is_continued_with_the_one_it_drew(folder: Path) -> None:
    common = ("in.png", "--task", "inpaint", "--simulate", "--allocation", "2,2", "--state", "state")
    restore(*common, "-o", "out.png", "--max-nfe", "2")
    seed = NestedState.load("state").seeds[0]
    assert restore(*common, "-o", "out.png")[0] == 0
    assert images.read_record(Path("out.png"))["seeds"] == [seed]  # type: ignore[index]


def test_a_batch_goes_on_past_a_bad_file_and_skips_what_is_done(folder: Path, capsys) -> None:
    Path("batch").mkdir()
    for name in ("a.png", "c.png"):
        shutil.copy("small.png", f"batch/{name}")
    Path("batch/b.png").write_bytes(b"not a picture")
    code, _, err = restore("batch", "--task", "sr4", "-o", "done", *QUICK, capsys=capsys)
    assert code == 1
    assert "b.png" in err
    assert "1 of 3 inputs failed" in err
    assert sorted(path.name for path in Path("done").iterdir()) == ["a.png", "c.png"]
    assert pixels("done/a.png").equal(pixels("done/c.png"))  # same picture, same seed
    before = Path("done/a.png").stat().st_mtime_ns
    Path("batch/b.png").write_bytes(Path("batch/a.png").read_bytes())
    code, _, err = restore("batch", "--task", "sr4", "-o", "done", *QUICK, capsys=capsys)
    assert code == 0
    assert err.count("skipped") == 2
    assert Path("done/a.png").stat().st_mtime_ns == before
    assert Path("done/b.png").exists()
    restore("batch", "--task", "sr4", "-o", "done", "--overwrite", *QUICK)
    assert Path("done/a.png").stat().st_mtime_ns > before


def test_another_runs_result_is_not_overwritten_unasked(folder: Path, capsys) -> None:
    Path("out.png").write_bytes(Path("in.png").read_bytes())
    code, _, err = restore("small.png", "--task", "sr4", "-o", "out.png", *QUICK, capsys=capsys)
    assert code == 2
    assert "holds no record" in err
    assert "--overwrite" in err
    restore("small.png", "--task", "sr4", "-o", "other.png", *QUICK)
    capsys.readouterr()
    _, _, err = restore("small.png", "--task", "sr4", "-o", "other.png", *QUICK, "--grid", "power", capsys=capsys)
    assert "grid is log there" in err
    assert Path("out.png").read_bytes() == Path("in.png").read_bytes()


def test_nothing_that_is_read_or_foreign_is_written_over(folder: Path, capsys) -> None:
    """Neither by the result nor by what stands beside it: previews, samples, their spread."""
    shutil.copy("small.png", "small-002.png")
    Path("mine-std.png").write_bytes(Path("small.png").read_bytes())
    Path("mine").mkdir()
    shutil.copy("small.png", "mine/small-004.png")
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    for arguments, message in (
        (("small.png", "small-002.png", "-o", "d", "--previews", "."), "small-002.png is an input"),
        (("small.png", "-o", "mine.png", "--samples", "2"), "mine-std.png exists"),
        (("small.png", "-o", "out.png", "--previews", "mine"), "small-004.png exists"),
    ):
        code, _, err = restore(*arguments, "--task", "sr4", *QUICK, capsys=capsys)
        assert code == 2
        assert message in err
    code, _, err = restore("in.png", *INPAINT, "-o", "mask.png", *QUICK, "--overwrite", capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before


def test_a_sample_is_not_taken_for_another_commands_result(folder: Path, capsys) -> None:
    common = ("in.png", "--task", "inpaint", "--simulate", "--outer", "3", "--inner", "2", "--device", "cpu")
    restore(*common, "-o", "out.png", "--seed", "1", "--samples", "2")
    code, _, err = restore(*common, "-o", "out-sample-2.png", "--seed", "2", capsys=capsys)
    assert code == 2  # its mask was drawn with seed 1
    assert "--overwrite" in err


def test_overwriting_a_finished_run_with_a_state_redoes_it(folder: Path, capsys) -> None:
    common = ("small.png", "--task", "sr4", "-o", "out.png", "--state", "state", "--json", *QUICK)
    restore(*common)
    capsys.readouterr()
    _, out, _ = restore(*common, "--overwrite", capsys=capsys)
    assert [e["nfe"] for e in events(out)] == [2, 4, 6, 6]


def test_wrong_options_are_one_line_for_a_batch_too(folder: Path, capsys) -> None:
    for wrong in (("--deadline", "0"), ("--max-nfe", "0"), ("--overlap", "64"), ("--task", "sr7", "--fit")):
        code, _, err = restore("in.png", "small.png", "--task", "sr4", "-o", "d", *wrong, capsys=capsys)
        assert (code, err.count("\n")) == (2, 1)


def test_too_little_memory_is_one_line(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 999 bytes")

    monkeypatch.setattr("restoration.restorer.Restorer.restore", full)
    code, _, err = restore("small.png", "--task", "sr4", "-o", "out.png", *QUICK, capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "memory" in err
    code, _, err = restore("small.png", "--task", "sr4", "-o", "o.png", "--outer", "2000000000", capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)


def test_samples_their_mean_and_their_spread(folder: Path) -> None:
    common = ("small.png", "--task", "sr4", *QUICK)
    assert restore(*common, "-o", "out.png", "--samples", "3")[0] == 0
    samples = torch.stack([pixels(f"out-sample-{i}.png") for i in (1, 2, 3)])
    torch.testing.assert_close(pixels("out.png"), samples.mean(0), atol=1.01 / 255, rtol=0)  # 8 bits each
    record = images.read_record(Path("out-std.png"))
    assert record is not None
    std = samples.std(0).mean(0, keepdim=True)
    torch.testing.assert_close(pixels("out-std.png") * record["white_is"], std, atol=2 / 255, rtol=0)
    assert record["aim"] == "natural"  # faithful ones hardly differ
    natural = ("--aim", "natural")
    restore(
        *common[:3], *natural, "-o", "two.png", "--outer", "3", "--inner", "2", "--seed", "2", "--device", "cpu"
    )
    # sample 2 of seed 1 is seed 2 (float32: batched convolutions round differently)
    torch.testing.assert_close(samples[1], pixels("two.png"), atol=1.01 / 255, rtol=0)


def bad(folder: Path) -> dict[str, tuple[tuple[object, ...], str]]:
    """Arguments, and what the one line must say."""
    Image.new("RGB", (1, 1)).save("one.png")
    Image.new("RGB", (2, 2)).save("two.png")
    Image.linear_gradient("L").resize((32, 32)).save("mask32.png")
    Image.new("L", (64, 64), 255).save("white.png")
    Image.new("RGBA", (64, 64)).save("alpha.png")
    Path("text.png").write_text("hello")
    Path("file").write_text("")
    os.mkfifo("pipe.png")
    Path("empty").mkdir()
    Path("state").write_text("not a state")
    Path("loop.png").symlink_to("loop.png")
    Path("x" * 249 + ".png").write_bytes(Path("small.png").read_bytes())
    import tifffile

    tifffile.imwrite("nan.tif", np.full((64, 64), np.nan, np.float32))
    sr4, denoise = ("--task", "sr4", "-o", "out.png"), ("--task", "denoise", "--sigma", "0.1", "-o", "out.png")
    inpaint = ("--task", "inpaint", "-o", "out.png")
    return {
        "missing file": (("nowhere.png", *sr4), "nowhere.png"),
        "empty folder": (("empty", *sr4), "no pictures"),
        "not an image": (("text.png", *sr4), "text.png"),
        "pipe": (("pipe.png", *sr4), "not a regular file"),
        "one pixel": (("one.png", *sr4), "one.png"),
        "small, fit": (("two.png", *sr4, "--fit"), "too small to fit"),
        "smaller than the factor": (("two.png", *sr4, "--simulate"), "factor must be at most"),
        "transparent mask": (("in.png", *inpaint, "--mask", "alpha.png"), "transparent everywhere"),
        "link to itself": (("loop.png", *sr4), "loop.png: cannot be read: Too many levels of symbolic links"),
        "long name": (("in.png", "--task", "sr4", "-o", "x" * 260 + ".png"), "File name too long"),
        "long sample": (
            ("in.png", "--task", "sr4", "-o", "x" * 248 + ".png", "--samples", "2"),
            "longer than 255",
        ),
        "long preview": (("x" * 249 + ".png", *sr4, "--previews", "p"), "longer than 255 bytes"),
        "format of a file": (("in.png", *sr4, "--format", "jpg"), "for folders of results"),
        "format": (("in.png", "--task", "sr4", "-o", "d/", "--format", "gif"), "--format must be"),
        "quality": (("in.png", "--task", "sr4", "-o", "o.jpg", "--output-quality", "0"), "from 1 to 100"),
        "quality of a PNG": (("in.png", *sr4, "--output-quality", "9"), "for JPEG and WebP"),
        "suffix": (("in.png", "--task", "sr4", "-o", "d/", "--suffix", "a/b"), "--suffix must be"),
        "grow": (("in.png", *inpaint, "--mask", "mask.png", "--grow", "-1"), "--grow must be"),
        "grow without a mask": (("in.png", *sr4, "--grow", "1"), "need --mask"),
        "mask folder": (("in.png", *inpaint, "--mask", "empty"), "no mask is named in"),
        "state on a device": (("small.png", *sr4, "--state", "/dev/full"), "/dev/full is no regular file"),
        "NaN": (("nan.tif", *denoise), "nan.tif"),
        "factor": (("in.png", "--task", "sr7", "--simulate", "--fit", "-o", "out.png"), "factor must divide"),
        "large factor": (("in.png", "--task", "sr999", "-o", "out.png"), "factor must leave at most"),
        "mask size": (("in.png", *inpaint, "--mask", "mask32.png"), "mask must have the picture's size"),
        "white mask": (("in.png", *inpaint, "--mask", "white.png"), "white everywhere"),
        "no mask": (("in.png", *inpaint), "--mask"),
        "mask for another task": (("small.png", *sr4, "--mask", "mask.png"), "--mask is for inpaint"),
        "negative sigma": (("in.png", "--task", "denoise", "--sigma", "-0.1", "-o", "out.png"), "sigma must be"),
        "no sigma": (("in.png", "--task", "denoise", "-o", "out.png"), "--sigma"),
        "task": (("in.png", "--task", "sharpen", "-o", "out.png"), "task must be one of"),
        "prior": (("small.png", *sr4, "--prior", "cats-64"), "cats-64"),
        "prior path": (("small.png", *sr4, "--prior", "../../etc"), "prior"),
        "output below a file": (("small.png", "--task", "sr4", "-o", "file/out.png"), "file"),
        "output kind": (("small.png", "--task", "sr4", "-o", "out.gif"), "out.gif"),
        "output is input": (("small.png", "--task", "sr4", "-o", "small.png"), "is an input"),
        "allocation": (("small.png", *sr4, "--allocation", "16,0,6"), "at least 1"),
        "allocation words": (("small.png", *sr4, "--allocation", "ten"), "--allocation"),
        "both": (("small.png", *sr4, "--allocation", "3", "--outer", "3"), "one or the other"),
        "outer": (("small.png", *sr4, "--outer", "0"), "at least 1"),
        "steps": (("small.png", *sr4, "--outer", "2", "--inner", "501"), "at most 500 steps"),
        "steps, vanilla": (("small.png", *sr4, "--outer", "3", "--inner", "334", "--vanilla"), "at most 1000"),
        "overlap": (("in.png", *sr4, "--overlap", "64"), "overlap must be from 0 to 63 pixels"),
        "negative overlap": (("in.png", *sr4, "--overlap", "-1"), "overlap must be from 0 to 63 pixels"),
        "tile batch": (("in.png", *sr4, "--tile-batch", "0"), "tile_batch must be at least 1"),
        "eta": (("small.png", *sr4, "--eta", "2"), "eta must be"),
        "deadline": (("small.png", *sr4, "--deadline", "0"), "deadline must be"),
        "max nfe": (("small.png", *sr4, "--max-nfe", "0"), "max_nfe must be"),
        "samples": (("small.png", *sr4, "--samples", "0"), "--samples"),
        "many samples": (("small.png", *sr4, "--samples", "1000000"), "--samples must be from 1 to 1000"),
        "seed": (("small.png", *sr4, "--seed", "-1"), "--seed"),
        "state": (("small.png", *sr4, "--state", "state"), "not a state file"),
        "state of a batch": (("in.png", "small.png", "--task", "sr4", "-o", "d", "--state", "s"), "--state"),
        "previews": (("small.png", *sr4, "--previews", "file/p"), "file"),
        "device": (("small.png", *sr4, "--device", "abacus"), "device must be"),
        "empty input": (("", *sr4), "an argument is empty"),
        "empty output": (("small.png", "--task", "sr4", "-o", ""), "an argument is empty"),
        "batch into a picture": (("in.png", "small.png", "--task", "sr4", "-o", "one.png"), "need a folder"),
        "state is output": (("small.png", *sr4, "--state", "out.png"), "written twice"),
        "sigma of 255": (("in.png", "--task", "denoise", "--sigma", "25", "-o", "out.png"), "scale of 255"),
        "white mask for two": (
            ("in.png", "grey.png", "--task", "inpaint", "-o", "d", "--mask", "white.png"),
            "white.png",
        ),
        "no task": (("small.png", "-o", "out.png"), "--task"),
        "no input": (sr4, "INPUT"),
        "unknown option": (("small.png", *sr4, "--colour"), "--colour"),
        "not a number": (("small.png", *sr4, "--sigma", "much"), "--sigma must be a number or auto"),
    }


def test_bad_input_is_one_line_exit_code_2_and_nothing_written(folder: Path, capsys) -> None:
    cases = bad(folder)
    before = sorted(folder.rglob("*"))
    for name, (arguments, message) in cases.items():
        code, out, err = restore(*arguments, capsys=capsys)
        assert (code, out) == (2, ""), name
        assert err.count("\n") == 1, (name, err)
        assert message in err, (name, err)
        assert sorted(folder.rglob("*")) == before, name


def test_the_state_of_another_run_is_refused_and_kept(folder: Path, capsys) -> None:
    common = ("--task", "sr4", "-o", "out.png", "--state", "state")
    restore("small.png", *common, *QUICK, "--max-nfe", "2")
    before = Path("state").read_bytes()
    Path("out.png").unlink()
    capsys.readouterr()
    for change in (("--eta", "0.1"), ("--allocation", "3,2"), ("--seed", "5")):
        steps = () if change[0] == "--allocation" else ("--outer", "3", "--inner", "2")
        code, _, err = restore("small.png", *common, *steps, *change, "--device", "cpu", capsys=capsys)
        assert code == 2
        assert "state" in err
        assert err.count("\n") == 1
        assert Path("state").read_bytes() == before
    assert not Path("out.png").exists()


def test_an_unfinished_run_takes_another_allocation_for_the_steps_not_begun(folder: Path, capsys) -> None:
    common = ("small.png", "--task", "sr4", "--seed", "1", "--device", "cpu", "--json")
    stored = (*common, "--state", "state")
    restore(*stored, "-o", "first.png", "--allocation", "2,2,2", "--max-nfe", "3")
    capsys.readouterr()
    begun = Path("state").read_bytes()
    for refused in ("3,2,2", "2,3,2", "7"):  # the second inner run has begun with 2 steps
        code, out, err = restore(*stored, "-o", "out.png", "--allocation", refused, capsys=capsys)
        assert (code, err.count("\n"), err.startswith("restore: state: ")) == (2, 1, True)
        assert "must begin with the steps begun, (2, 2)" in err
        assert Path("state").read_bytes() == begun
    code, _, err = restore(*stored, "-o", "out.png", "--allocation", "2,2,5", "--eta", "0.1", capsys=capsys)
    assert (code, err.count("\n")) == (2, 1)  # another run is told as that, and nothing of its allocation
    assert "another run" in err

    longer = (*stored, "-o", "out.png", "--allocation", "2,2,5")
    code, _, err = restore(*longer, "--max-nfe", "5", capsys=capsys)
    assert (code, err) == (0, "small.png: goes on after 3 evaluations with allocation 2,2,5 in place of 2,2,2\n")
    code, out, err = restore(*longer, capsys=capsys)  # again stopped, and by now its own
    assert (code, err, [e["nfe"] for e in events(out)]) == (0, "", [4, 9, 9])
    record = images.read_record(Path("out.png"))
    assert record is not None
    assert (record["allocation"], record["reallocated"]) == ([2, 2, 5], [{"nfe": 3, "from": [2, 2, 2]}])
    Path("begun").write_bytes(begun)
    restore(*common, "--state", "begun", "-o", "whole.png", "--allocation", "2,2,5")
    assert Path("out.png").read_bytes() == Path("whole.png").read_bytes()  # its record, too
    capsys.readouterr()
    code, _, err = restore(*common, "-o", "out.png", "--allocation", "2,2,5", capsys=capsys)
    assert (code, "reallocated is" in err) == (2, True)  # a run that was never changed is another one
    code, out, _ = restore(*longer, capsys=capsys)
    assert [e["event"] for e in events(out)] == ["skipped"]
    more = (*stored, "-o", "more.png", "--allocation", "2,2,5,3")
    code, out, _ = restore(*more, capsys=capsys)  # it is finished, and taken up again
    assert (code, [e["nfe"] for e in events(out)]) == (0, [9, 12, 12])


def test_a_full_disk_loses_nothing(folder: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Previews and state that cannot be stored are told; the run goes on to its result."""

    def full(self: NestedState, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NestedState, "save", full)
    code, _, err = restore("small.png", "--task", "sr4", "-o", "out.png", "--state", "s", *QUICK, capsys=capsys)
    assert code == 0
    assert err.count("the state is not stored") == 3
    assert pixels("out.png").shape == (3, 64, 64)


def test_known_priors_are_listed_with_licence_and_source(capsys) -> None:
    code, out, _ = restore("--list-priors", capsys=capsys)
    assert code == 0
    assert all(
        name in out
        for name in ("photos-64", "faces-128", "faces-64", "brain-mri-128", "celebahq-256", "cifar10-32")
    )
    code, out, _ = restore("--list-priors", "--json", capsys=capsys)
    rows = events(out)
    assert code == 0
    assert {"name", "where", "licence", "source"} <= rows[0].keys()
    assert len({row["name"] for row in rows}) == len(rows) > 10


def ddpm_checkpoint(path: Path) -> Path:
    """A tiny one in DDPM's format, from our own listing of its names and shapes."""
    layout = Layout(3, 3, 32, (32, 32), 1, (False, True), "conv", False, None)
    generator = torch.Generator().manual_seed(0)
    listing = sources(DDPM, layout, build(layout, DDPM))
    torch.save(
        {n: torch.randn(s.shape, generator=generator) / len(s.shape) ** 4 for n, s in listing.items()}, path
    )
    return path


def test_a_checkpoint_restores_and_converts_once_to_a_folder_that_answers_the_same(folder: Path, capsys) -> None:
    ddpm_checkpoint(Path("mine.ckpt"))
    code, _, err = restore("--convert", "mine.ckpt", "-o", "mine", capsys=capsys)
    assert code == 2
    assert "image_size" in err  # shapes cannot tell it
    size = ("--prior-config", "image_size=64")
    code, _, err = restore("--convert", "mine.ckpt", "-o", "mine", *size, capsys=capsys)
    assert code == 0
    assert "UNet2DModel" in err
    common = ("in.png", "--task", "inpaint", "--mask", "mask.png", *QUICK)
    assert restore(*common, "--prior", "mine.ckpt", *size, "-o", "a.png")[0] == 0
    assert restore(*common, "--prior", "mine", "-o", "b.png")[0] == 0
    assert pixels("a.png").equal(pixels("b.png"))
    known = pixels("mask.png")[0] < 0.5
    assert float((pixels("a.png") - pixels("in.png"))[:, known].abs().max()) <= 1 / 255


def test_precision_is_recorded_and_close(folder: Path) -> None:
    common = ("in.png", "--task", "inpaint", "--mask", "mask.png", *QUICK)
    restore(*common, "-o", "a.png")
    restore(*common, "-o", "b.png", "--precision", "bf16")
    assert images.read_record(Path("b.png"))["precision"] == "bfloat16"  # type: ignore[index]
    difference = pixels("a.png") - pixels("b.png")
    assert 0 < float(difference.abs().mean()) < 0.02  # bf16 holds 8 bits; six evaluations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--convert", "nowhere.ckpt", "-o", "new"), "nowhere.ckpt"),
        (("--convert", "text.ckpt", "-o", "new"), "text.ckpt"),
        (("--convert", "faces-64", "-o", "."), "exists already"),
        (("--convert", "faces-64"), "--output"),
        (("in.png", "--task", "sr4", "-o", "o.png", "--precision", "fp8"), "precision must be one of"),
        (("in.png", "--task", "sr4", "-o", "o.png", "--prior-config", "heads"), "KEY=VALUE"),
        (("in.png", "--task", "sr4", "-o", "o.png", "--class-label", "3"), "class_label must be None"),
        (("in.png", "--task", "sr4", "-o", "o.png", "--prior", "text.ckpt"), "text.ckpt"),
        (("in.png", "--task", "sr4", "-o", "o.png", "--prior", "google/none"), "hub"),
    ],
)
def test_wrong_priors_are_one_line(folder: Path, capsys, monkeypatch, arguments, message: str) -> None:
    def offline(*_: object, **__: object) -> str:
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    Path("text.ckpt").write_text("hello")
    before = sorted(folder.rglob("*"))
    code, out, err = restore(*arguments, capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert message in err
    assert sorted(folder.rglob("*")) == before


def test_help_does_not_import_torch() -> None:
    script = "import sys; sys.argv = ['restore', '--help']\nfrom restoration.commands.restore import main\n" \
        "try: main()\nexcept SystemExit: print('torch' in sys.modules)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert "--deadline" in done.stdout


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_reader_that_has_gone_costs_no_result(folder: Path) -> None:
    command = " ".join(f"'{part}'" for part in COMMAND)
    task = "small.png --task sr4 --outer 3 --inner 2 --seed 1 --device cpu"
    for name, how in (("a", "--json | true"), ("b", "--json >&-"), ("c", "2>&-"), ("d", "2>/dev/full")):
        done = subprocess.run(
            ["bash", "-c", f"{command} {task} -o {name}.png {how}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, how
        assert pixels(folder / f"{name}.png").equal(pixels(folder / "a.png")), how


LONG = (
    "in.png",
    "--task",
    "inpaint",
    "--simulate",
    "--seed",
    "1",
    "--outer",
    "4",
    "--inner",
    "12",
    "--device",
    "cpu",
)


def test_ctrl_c_keeps_the_best_preview_so_far(folder: Path) -> None:
    process = start(folder, *LONG, "-o", "out.png", "--json")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    result = json.loads(out.splitlines()[-1])
    assert (process.returncode, result["stopped_by"]) == (0, "interrupt")
    assert first["nfe"] <= result["nfe"] < 48
    record = images.read_record(folder / "out.png")
    assert record is not None
    assert (record["stopped_by"], record["complete"]) == ("interrupt", True)
    assert "Traceback" not in err


def test_a_killed_run_goes_on_bit_for_bit(folder: Path, one_thread: None) -> None:
    process = start(folder, *LONG, "-o", "out.png", "--json", "--state", "state", "--previews", "p")
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    process.kill()
    process.communicate()
    assert not (folder / "out.png").exists()
    assert NestedState.load(folder / "state").outer_step >= 2
    assert restore(*LONG, "-o", "out.png", "--state", "state")[0] == 0
    assert restore(*LONG, "-o", "whole.png")[0] == 0
    assert pixels(folder / "out.png").equal(pixels(folder / "whole.png"))
    assert not list(folder.glob("**/.*.part"))


KILLED_AFTER_EVERY_EVALUATION = """
import json, os, signal, sys
from restoration import restorer
from restoration.commands import delivery, job as command, restore as cli

prior = command.load_prior("photos-64", "cpu")  # once, and not in every process
command.load_prior = lambda *arguments, **options: prior
evaluate, follow, evaluated = restorer.evaluate, delivery.StateFile.follow, []
restorer.evaluate = lambda *arguments: evaluated.append(1) or evaluate(*arguments)

def stored_and_killed(self, event):
    follow(self, event)
    if evaluated and kills < most:
        os.kill(os.getpid(), signal.SIGKILL)

delivery.StateFile.follow = stored_and_killed
for most, arguments in json.loads(sys.argv[1]):
    sys.argv, kills = ["restore", *arguments], 0
    while True:
        if os.fork() == 0:
            cli.script()
        _, status = os.wait()
        if not os.WIFSIGNALED(status):
            break
        kills += 1
    print("killed", kills, "then", os.waitstatus_to_exitcode(status))
"""


def test_a_run_killed_after_any_evaluation_ends_as_if_it_had_not_been(folder: Path) -> None:
    """Process after process makes one evaluation, stores the run and is killed; the last delivers the result."""
    common = ("small.png", "--task", "sr4", *QUICK)
    runs = [((), 6), (("--vanilla",), 6), (("--max-nfe", "3"), 3), (("--vanilla", "--max-nfe", "3"), 3)]
    killed = [
        (evaluations, [*common, *how, "-o", f"{i}.png", "--state", f"{i}.state"])
        for i, (how, evaluations) in enumerate(runs)
    ]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_EVERY_EVALUATION, json.dumps(killed)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "".join(f"killed {evaluations} then 0\n" for _, evaluations in runs), done.stderr
    for i, (how, _) in enumerate(runs):
        restore(*common, *how, "-o", "whole.png", "--overwrite")
        assert Path(f"{i}.png").read_bytes() == Path("whole.png").read_bytes(), how  # its record, too


def test_a_terminal_sees_the_bar_in_evaluations_and_the_time_to_the_next_preview(folder: Path) -> None:
    import pty

    leader, follower = pty.openpty()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(
        [*COMMAND, *LONG, "-o", "out.png"], cwd=folder, env=environment, stdout=follower, stderr=follower
    )
    os.close(follower)
    shown, limit = b"", time.monotonic() + 120
    while time.monotonic() < limit:
        try:
            chunk = os.read(leader, 4096)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    assert process.wait(timeout=60) == 0
    os.close(leader)
    text = shown.decode(errors="replace")
    assert "of 48 evaluations" in text
    assert "next preview in" in text
    assert "preview at 12 of 48 evaluations" in text
