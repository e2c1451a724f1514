"""The page docs/custom-posterior.md does what it says."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from restoration import NoiseSource, Restorer, simulate
from restoration.commands import restore as cli
from restoration.pictures import images
from restoration.restorer import DEFAULT
from solvers import SAMPLERS

PAGE = Path(__file__).parents[2] / "docs" / "custom-posterior.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the page's code, run from top to bottom, leaves behind; its own check passes on the way."""
    names: dict[str, Any] = {"__name__": "page"}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    blocks = [block for block in blocks if not block.startswith("# not run")]
    exec(compile("\n".join(blocks), PAGE, "exec", dont_inherit=True), names)  # a user's module has no __future__
    return names


def psnr(image: Tensor, original: Tensor) -> float:
    return -10 * math.log10(float((image - original).square().mean()))


def test_its_class_is_about_thirty_lines() -> None:
    (source,) = re.findall(r"class DiffPIR.*?(?=\n```)", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in source.splitlines() if line.strip()]) <= 30


def test_a_step_is_its_equation(page: dict[str, Any]) -> None:
    sampler, xi = page["DiffPIR"](page["gaussian"], page["measured"]), NoiseSource([7]).normal((1, 1, 8, 8))
    z, z0 = (torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    sigma, sigma_next = (sampler.schedule.sigma(k) for k in (500, 300))
    gain = torch.where(page["known"], (sigma**2 / 7) / (sigma**2 / 7 + 0.3**2), 0.0)
    m = z0 + gain * (0.6 - z0)
    expected = m + sigma_next * (math.sqrt(0.7) * (z - m) / sigma + math.sqrt(0.3) * xi)
    # float32 against itself in another order, values up to 10
    torch.testing.assert_close(sampler.step(z, z0, 500, 300, NoiseSource([7])), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("wrong", "away"), [({"zeta": 0.6}, 15), ({"lam": 8.0}, 65)], ids=str)
def test_its_check_finds_another_step_out(page: dict[str, Any], wrong: dict[str, float], away: float) -> None:
    diffpir = page["DiffPIR"]
    assert page["deviation"](diffpir) < 5
    settings = diffpir.Settings(**wrong)
    assert page["deviation"](lambda prior, measurement: diffpir(prior, measurement, settings)) == pytest.approx(
        away, abs=1
    )


def test_its_numbers_are_those_it_tells(page: dict[str, Any]) -> None:
    face = page["face"]
    ddrm, fire = (
        Restorer(page["prior"], name).restore(page["measurement"], outer=3, inner=5, seeds=[0]).image
        for name in ("ddrm", "fire")
    )
    # told to 0.1 dB; processors differ by float32 rounding
    assert psnr(page["restored"], face) == pytest.approx(20.2, abs=0.1)
    assert psnr(page["others"], face) == pytest.approx(20.7, abs=0.1)
    assert psnr(ddrm, face) == pytest.approx(21.4, abs=0.1)
    assert psnr(fire, face) == pytest.approx(25.6, abs=0.1)


def test_a_noiseless_measurement_is_reproduced(page: dict[str, Any]) -> None:
    operator = page["measurement"].operator
    exact = simulate(page["face"], operator, 0.0, noise=NoiseSource([0]))
    image = Restorer(page["prior"], page["DiffPIR"]).restore(exact, outer=2, inner=2, seeds=[0]).image
    # float32 rounding of ẑ₀ + (ȳ − ẑ₀) on the [-1, 1] scale
    torch.testing.assert_close(operator(image), exact.y, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lam": 0.0}, "lam must be above 0 and finite: got 0.0"),
        ({"zeta": 1.5}, "zeta must be from 0 to 1: got 1.5"),
        ({"grid": "karras"}, "grid must be one of linspace, log, power"),
    ],
)
def test_its_settings_are_checked(page: dict[str, Any], setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        page["DiffPIR"].Settings(**setting)


def test_one_name_gives_it_to_the_restorer_and_the_command(
    page: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SAMPLERS, "diffpir", page["DiffPIR"])
    assert Restorer(page["prior"], posterior="diffpir").settings == page["DiffPIR"].Settings()
    assert Restorer(page["prior"]).settings == DEFAULT
    monkeypatch.chdir(tmp_path)
    pixels = (page["face"][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save("in.png")
    asked = ["restore", "in.png", "--task", "inpaint", "--simulate", "--prior", "faces-64", "--device", "cpu"]
    asked += ["--outer", "2", "--inner", "2", "--seed", "1", "--sampler", "diffpir"]

    def restore(*more: str) -> int:
        monkeypatch.setattr(sys, "argv", [*asked, *more])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0)

    assert restore("-o", "out.png") == 0
    record = images.read_record(Path("out.png"))
    assert record is not None
    told = {name: record[name] for name in ("sampler", "lam", "zeta", "grid", "nfe")}
    assert told == {"sampler": "diffpir", "lam": 7.0, "zeta": 0.3, "grid": "linspace", "nfe": 4}
    assert "eta" not in record
    capsys.readouterr()
    assert restore("--eta", "0.5", "-o", "other.png") == 2
    assert "DiffPIR has no setting eta: it has grid, lam, zeta" in capsys.readouterr().err
