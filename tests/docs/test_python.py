"""Every block of Python on a page runs, one after another, as a reader would copy them.

Where a page loads a prior it gets one of the same shape that has learned nothing and takes no time, and runs of
ten inner steps have one: what is tested is that the code works, not what it restores. Pages whose figures are
tested have a test of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import ROOT, name_of, pages, python
from PIL import Image

import restoration
from restoration import DiffusionPrior, Inpainting, Measurement, NoiseSchedule

ELSEWHERE = {
    "docs/custom-operator.md": "tests/docs/test_custom_operator.py",
    "docs/custom-posterior.md": "tests/docs/test_custom_posterior.py",
    "docs/deepinv.md": "tests/docs/test_deepinv.py",
    "docs/service.md": "tests/restoration/serving/test_documented.py",
}
FEWER = (
    ("deadline=2.0)", "deadline=60.0, inner=1)"),
    (".expand(4), seeds", ".expand(4), inner=1, seeds"),
    ("seeds=[7], max_nfe=10", "seeds=[7], max_nfe=1, inner=1"),
    ("measurement, state=state", "measurement, inner=1, state=state"),
    ("inner=10", "inner=1"),
    ("inner_steps=25", "inner_steps=2"),
    ("outer_steps=3, inner_steps=10", "3, 1"),
)


def quick_prior(name: str, *_: Any, **__: Any) -> DiffusionPrior:
    """In the shape of the embedded one of that name."""
    from diffusers import UNet2DModel

    channels, side = (1 if name.startswith("brain") else 3), int(name.rpartition("-")[2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet2DModel(
            sample_size=side,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=(8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "UpBlock2D"),
        )
    return DiffusionPrior(network, NoiseSchedule.linear(), prediction="v_prediction", name=name)


@pytest.fixture
def names(stable_diffusion: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What pages take for granted: a measurement, a pipeline, pictures in the folder, a way to show."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(restoration, "load_prior", quick_prior)
    random = np.random.default_rng(0)
    for name, size in (("face.png", (64, 64)), ("photo.jpg", (160, 120))):
        Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(name)
    mask = torch.rand(64, 64, generator=torch.Generator().manual_seed(0)) < 0.5
    y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * mask
    return {
        "__name__": "page",
        "y": y,
        "mask": mask,
        "measurement": Measurement(y, Inpainting((3, 64, 64), mask), sigma=0.05),
        "prior": quick_prior("faces-64"),
        "show": lambda *_: None,
        "pipe": stable_diffusion,
        "prompt": "a cat",
        "g": torch.Generator().manual_seed(0),
    }


PAGES = [page for page in pages() if python(page)]


@pytest.mark.parametrize("page", [page for page in PAGES if name_of(page) not in ELSEWHERE], ids=name_of)
def test_its_code_runs(page: Path, names: dict[str, Any]) -> None:
    code = python(page)
    for many, few in FEWER:
        code = code.replace(many, few)
    exec(compile(code, page, "exec", dont_inherit=True), names)


def test_pages_with_tests_of_their_own_are_named_there() -> None:
    assert set(ELSEWHERE) <= set(map(name_of, PAGES))
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")
