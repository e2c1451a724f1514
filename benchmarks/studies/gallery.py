"""The pictures of docs/tasks/: damaged as people's are, and restored by the pages' own commands.

Run: ``make gallery``, or ``python -m benchmarks.studies.gallery``. The photographs ship with scikit-image and are
free to use; what is done to them is done by Pillow and in 8 bits, as cameras, scanners and web sites do.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image, ImageDraw
from skimage import data
from torch import Tensor

from benchmarks.engine.markdown import markdown
from benchmarks.studies.shared import tell
from degradations import Blur, Mosaic
from degradations.kernels import disk, gaussian, motion
from restoration.pictures import images
from restoration.pictures.scores import scores_of

PAGES = Path(__file__).parents[2] / "docs" / "tasks"
AROUND = 16  # pixels of the scene beyond the frame, which a blur takes in
PHOTOGRAPHS = {
    # name: halved first, rows and columns of the middle, of the photograph
    "astronaut": (2, 80, 120),
    "camera": (2, 98, 118),
    "chelsea": (1, 124, 224),
    "coffee": (2, 100, 160),
    "rocket": (2, 106, 160),
}
"""Eileen Collins (NASA), the cameraman (Lav Varshney), a cat (Stefan van der Walt), a cup of coffee (Rachel
Michetti), DSCOVR's start (SpaceX): public domain or CC0."""


def photograph(name: str, side: int) -> Image.Image:
    """What is around that middle, side × side."""
    half, row, column = PHOTOGRAPHS[name]
    whole = Image.fromarray(getattr(data, name)())
    top, left = row - side // 2, column - side // 2
    return whole.reduce(half).crop((left, top, left + side, top + side))


def tensor(picture: Image.Image) -> Tensor:
    """(C, H, W) in [0, 1]."""
    values = np.atleast_3d(np.asarray(picture))
    return torch.from_numpy(values.transpose(2, 0, 1).copy()).float() / 255


def stored(values: Tensor) -> Image.Image:
    """In 8 bits."""
    pixels = (values.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def blurred(name: str, kernel: Tensor, side: int) -> Image.Image:
    """Together with what is around it."""
    whole = tensor(photograph(name, side + 2 * AROUND))
    return stored(Blur(whole.shape, kernel.float())(whole[None])[0][:, AROUND:-AROUND, AROUND:-AROUND])


def noisy(picture: Image.Image, sigma: float) -> Image.Image:
    """With white noise, [0, 1] units."""
    values = tensor(picture)
    return stored(values + sigma * torch.randn(values.shape, generator=torch.Generator().manual_seed(0)))


def scratches(side: int, count: int) -> Image.Image:
    """White scratches and dust on black."""
    mask, random = Image.new("L", (side, side)), np.random.default_rng(3)
    pen = ImageDraw.Draw(mask)
    for _ in range(count):
        x, y = random.uniform(0, side, 2)
        line = [(x, y)]
        for bend in random.uniform(-0.4, 0.4, 3):
            angle = 1.2 + bend
            x, y = x + side / 4 * np.cos(angle), y + side / 4 * np.sin(angle)
            line.append((x, y))
        pen.line(line, fill=255, width=int(random.integers(1, 4)))
    for x, y, size in random.uniform((0, 0, 1), (side, side, 3), (2 * count, 3)):
        pen.ellipse((x - size, y - size, x + size, y + size), fill=255)
    return mask


def pasted(picture: Image.Image, mask: Image.Image, grey: int) -> Image.Image:
    """With paint where the mask is white."""
    return Image.composite(Image.new(picture.mode, picture.size, (grey,) * len(picture.getbands())), picture, mask)


def write_inputs(folder: Path, side: int) -> dict[str, Tensor]:
    """Write what the pages' commands restore; the clean pictures (C, H, W) by the names of the results."""
    (folder / "jpeg").mkdir(parents=True, exist_ok=True)
    clean = {name: photograph(name, side) for name in PHOTOGRAPHS}
    for name, picture in clean.items():
        picture.save(folder / "jpeg" / f"{name}.jpg", quality=15)
    face, cat, cup = clean["astronaut"], clean["chelsea"], clean["coffee"]
    holes = scratches(side, 5)
    shrunk = (side // 4, side // 4)
    damaged = {
        "scratches.png": holes,
        "print.png": pasted(noisy(face.convert("L"), 0.02), holes, 235),
        "scratched.png": pasted(cat, holes, 128),
        "soft.png": blurred("coffee", gaussian(1.6), side),
        "shaken.png": blurred("chelsea", motion(9, 30), side),
        "unfocused.png": blurred("camera", disk(3), side),
        "bicubic.png": face.resize(shrunk, Image.Resampling.BICUBIC),
        "box.png": cup.resize(shrunk, Image.Resampling.BOX),
        "sensor.png": stored(Mosaic((3, side, side), "RGGB")(tensor(cat)[None])[0]),
        "grey.png": cup.convert("L"),
        "noisy.png": noisy(clean["rocket"], 0.1),
    }
    for name, picture in damaged.items():
        picture.save(folder / name, optimize=True)
    originals = {f"jpeg-restored/{name}": picture for name, picture in clean.items()}
    originals |= dict.fromkeys(("print-colour", "enlarged"), face) | {"print-grey": face.convert("L")}
    originals |= dict.fromkeys(("filled", "still", "demosaiced"), cat) | {"focused": clean["camera"]}
    originals |= dict.fromkeys(("sharp", "larger", "coloured"), cup) | {"clean": clean["rocket"]}
    return {f"{name}.png": tensor(picture) for name, picture in originals.items()}


def commands(pages: Path) -> list[list[str]]:
    """The ``restore`` commands of a folder of pages that are about pictures in gallery/, in words, each once."""
    found: dict[str, None] = {}
    for page in sorted(pages.glob("*.md")):
        blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
        found |= dict.fromkeys(line for line in lines if line.startswith("restore gallery/"))
    return [shlex.split(line, comments=True) for line in found]


def main(
    pages: Annotated[
        Path, typer.Option(help="Folder of pages whose commands are run; pictures go to gallery/ beside it.")
    ] = PAGES,
    side: Annotated[int, typer.Option(help="Of the pictures, in pixels.")] = 160,
) -> None:
    """Damage the photographs, run the pages' commands, and tell how near to the originals the results are."""
    start = time.perf_counter()
    if not pages.is_dir():
        raise typer.BadParameter(f"there is no folder {pages}: the pages are with the sources, not in a wheel")
    originals = write_inputs(pages.parent / "gallery", side)
    script = "from restoration.commands.restore import script; script()"
    for _, *arguments in commands(pages):
        tell(shlex.join(["restore", *arguments]))
        subprocess.run([sys.executable, "-c", script, *arguments, "--overwrite"], cwd=pages.parent, check=True)
    rows = []
    for name, original in originals.items():
        scores = scores_of(original, images.load(pages.parent / "gallery" / name))
        rows.append([name, f"{scores['psnr']:.2f}", f"{scores['ssim']:.3f}"])
    tell(*markdown(["result", "PSNR ↑ dB", "SSIM ↑"], rows), f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    typer.run(main)
