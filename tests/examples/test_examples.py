"""The examples run, on tiny pipelines, and say where weights would go when there are none."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
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
