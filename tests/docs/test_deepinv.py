"""The code on the page docs/deepinv.md runs as it stands there, but for fewer steps."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from restoration.pictures import images

PAGE = Path(__file__).parents[2] / "docs" / "deepinv.md"


def test_its_code_restores_a_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("deepinv")
    face = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    images.save(tmp_path / "face.png", face, {})
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    code = "\n".join(blocks)
    for many, few in (("inner_steps=10", "inner_steps=1"), ("max_iter=30", "max_iter=3")):
        assert many in code
        code = code.replace(many, few)
    names: dict[str, Any] = {}
    with torch.random.fork_rng([]):  # deepinv draws masks and noise of it
        exec(code, names)
    told = capsys.readouterr().out.split()
    assert told[::2] == ["1", "2", "3"]
    assert names["x_hat"].shape == (1, 3, 64, 64)
    assert bool(names["x_hat"].isfinite().all())
