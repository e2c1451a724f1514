"""The examples run, on tiny pipelines, and say where weights would go when there are none."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def main(name: str, *arguments: object) -> None:
    runpy.run_path(str(EXAMPLES / name))["main"]([str(argument) for argument in arguments])


def test_text_to_image(stable_diffusion: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "pipeline", tmp_path / "previews"
    stable_diffusion.save_pretrained(folder)
    main("text_to_image.py", "a cat", "--pipeline", folder, "--outer", 2, "--inner", 2, "--out", out)
    assert sorted(path.name for path in out.iterdir()) == ["0002.png", "0004.png"]
    with Image.open(out / "0004.png") as image:
        assert image.size == (16, 16)
    assert "4 of 4 evaluations" in capsys.readouterr().out


def test_steered_text_to_image(stable_diffusion: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pipeline"
    stable_diffusion.save_pretrained(folder)
    common = ("a cat", "--pipeline", folder, "--outer", 2, "--inner", 2, "--candidates", 3)

    def pictures(name: str, *more: object) -> dict[str, bytes]:
        main("steered_text_to_image.py", *common, *more, "--out", tmp_path / name)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    one = pictures("one", "--choose", "2,3")
    assert sorted(one) == [*(f"000{nfe}-{i}.png" for nfe in (2, 4) for i in (1, 2, 3)), "result.png"]
    assert one["result.png"] == one["0004-3.png"]
    other = pictures("other", "--choose", "1,3")
    assert one["0002-1.png"] == other["0002-1.png"]
    assert one["0004-3.png"] != other["0004-3.png"]  # forked from another
    third = pictures("third", "--choose", "2,3", "--prompt-at", 1, "a dog")
    assert one["0002-1.png"] == third["0002-1.png"]
    assert one["0004-3.png"] != third["0004-3.png"]
    assert "4 of 4 evaluations" in capsys.readouterr().out


def test_class_conditional(dit: Any, tmp_path: Path) -> None:
    folder, out = tmp_path / "pipeline", tmp_path / "previews"
    dit.save_pretrained(folder)
    index = folder / "model_index.json"  # where facebook/DiT-XL-2-256 has its labels; saving loses them
    index.write_text(json.dumps({**json.loads(index.read_text()), "id2label": {"0": "tench", "1": "goldfish"}}))
    arguments = ("--pipeline", folder, "--outer", 2, "--inner", 2, "--out", out)
    main("class_conditional.py", "goldfish", "tench", *arguments)
    names = ["goldfish-0002.png", "goldfish-0004.png", "tench-0002.png", "tench-0004.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    tench = (out / "tench-0004.png").read_bytes()
    main("class_conditional.py", "tench", "--seed", 1, *arguments)
    assert (out / "tench-0004.png").read_bytes() == tench  # an image depends on its seed, not on its batch


def test_deepinv_first_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("deepinv")
    Image.new("RGB", (70, 80), "tan").save(tmp_path / "face.png")
    for number, given in enumerate([(), (tmp_path / "face.png",)]):
        out = tmp_path / f"previews {number}"
        main("deepinv_first_steps.py", *given, "--outer", 2, "--inner", 1, "--out", out)
        names = ["0001.png", "0002.png", "measured.png", "original.png"]
        assert sorted(path.name for path in out.iterdir()) == names
        with Image.open(out / "0002.png") as image:
            assert image.size == (64, 64)
        assert "2 of 2 evaluations: " in capsys.readouterr().out


def test_mri_uncertainty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("deepinv")
    (tmp_path / "slices").mkdir()
    Image.radial_gradient("L").resize((128, 128)).save(tmp_path / "slices" / "a.png")
    arguments = ("--slices", 1, "--samples", 2, "--outer", 1, "--inner", 1, "--out", tmp_path / "mri")
    main("mri_uncertainty.py", "--data", tmp_path / "slices", *arguments)
    told = capsys.readouterr().out
    # a single evaluation at the highest noise leaves hardly any spread
    assert "all pixels of the heads" in told
    assert "of an exact Gaussian sampler it would in 65%" in told  # Student's t, 1 degree of freedom: ±2/√1.5
    assert "DDRM is over-confident here" in told
    with Image.open(tmp_path / "mri" / "uncertainty.png") as image:
        assert image.width > 5 * 128


def test_honesty_of_a_spread_that_is_half_of_what_it_should_be() -> None:
    pytest.importorskip("deepinv")
    honesty = runpy.run_path(str(EXAMPLES / "mri_uncertainty.py"))["honesty"]
    generator = torch.Generator().manual_seed(0)
    std = torch.rand(100_000, generator=generator) + 0.01
    error = 2 * std * torch.randn(100_000, generator=generator).abs()
    found = honesty(error, std)
    # P(|2 n| ≤ 2) = 0.6827, and 1.96 for 95 %; three standard errors of 100,000 are 0.0044 and 1 %
    assert abs(found.coverage - 0.6827) < 0.0044
    assert abs(found.factor - 1.96) < 0.02
    assert 0.3 < found.correlation < 1


def test_few_samples_of_the_truths_own_gaussian_are_not_told_over_confident() -> None:
    pytest.importorskip("deepinv")
    example = runpy.run_path(str(EXAMPLES / "mri_uncertainty.py"))
    generator = torch.Generator().manual_seed(0)
    for count in (2, 8):
        truth, *samples = torch.randn(count + 1, 200_000, generator=generator, dtype=torch.float64)
        drawn = torch.stack(samples)
        found = example["honesty"]((drawn.mean(0) - truth).abs(), drawn.std(0))
        # four standard errors of 200,000: 0.0043 of a share, and 4 % of the 95 % point with one degree of freedom
        assert abs(found.coverage - example["exact_coverage"](count)) < 0.0043
        assert abs(found.factor / example["exact_factor"](count) - 1) < 0.04
    wider = example["Honesty"](0.5, 0.91, 1.2)  # holds more than 8 exact samples' 89.9 %, though less than 95 %
    assert "an exact sampler's by 1.25: DDRM is under-confident here" in example["verdict"](wider, 8)


@pytest.mark.parametrize("argument", [("--slices", "0"), ("--acceleration", "0")])
def test_mri_uncertainty_refuses_what_it_cannot_do(argument: tuple[str, str], capsys: Any) -> None:
    pytest.importorskip("deepinv")
    with pytest.raises(SystemExit) as caught:
        main("mri_uncertainty.py", "--data", "absent", *argument)
    assert caught.value.code == 2
    assert "--slices must be at least 1 and --acceleration at least 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "argument", "weights"),
    [
        ("text_to_image.py", "a cat", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
        ("class_conditional.py", "tench", "facebook/DiT-XL-2-256"),
    ],
)
def test_without_weights_one_line_says_where_they_go(
    name: str, argument: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SystemExit) as caught:
        main(name, argument)
    message = str(caught.value)
    assert "\n" not in message
    assert f"no weights for {weights}" in message
    assert str(tmp_path / f"models--{weights.replace('/', '--')}") in message


def test_medical(tiny_prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("nibabel")
    main("medical.py", "--prior", tiny_prior, "--outer", 1, "--inner", 1, "--out", tmp_path / "out")
    names = ["denoised.nii.gz", "denoised.png", "filled.dcm", "filled.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    out = capsys.readouterr().out
    assert "slice: 1 × 64 × 64, int16" in out
    assert "all others as they were: True" in out
