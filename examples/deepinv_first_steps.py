"""A deepinv user's first steps: half of a face's pixels, restored with previews.

    python examples/deepinv_first_steps.py                     # scikit-image's astronaut, public domain
    python examples/deepinv_first_steps.py face.png --out previews/

Physics, noise and metric are deepinv's; the reconstructor is ours, and a generator of previews besides.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import deepinv
import torch
from skimage.data import astronaut
from torch import Tensor

from restoration import load_prior
from restoration.deepinv_plugin import NestedDDRM
from restoration.pictures import images


def face(path: Path | None, height: int, width: int) -> Tensor:
    """(1, 3, H, W) in [0, 1]: the centre of a picture, shrunk; of None the astronaut's face."""
    if path is None:
        picture = torch.from_numpy(astronaut()[50:178, 160:288].copy()).permute(2, 0, 1).float() / 255
    else:
        picture = images.load(path).expand(3, -1, -1)
    side = min(picture.shape[1:])
    top, left = (picture.shape[1] - side) // 2, (picture.shape[2] - side) // 2
    square = picture[None, :, top : top + side, left : left + side]
    return torch.nn.functional.interpolate(square, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A face inpainted by a deepinv reconstructor, with previews.")
    parser.add_argument("picture", nargs="?", type=Path, help="a face that fills the picture")
    parser.add_argument("--outer", type=int, default=3, help="outer steps: previews")
    parser.add_argument("--inner", type=int, default=10, help="network evaluations per outer step")
    parser.add_argument("--sigma", type=float, default=0.02, help="noise of the known pixels, [0, 1] units")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("previews"), help="folder for the pictures")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    prior = load_prior("faces-64")
    x = face(options.picture, *prior.image_shape[1:]).to(prior.device)
    generator = torch.Generator(prior.device).manual_seed(options.seed)
    noise = deepinv.physics.GaussianNoise(options.sigma, rng=generator)
    physics = deepinv.physics.Inpainting(
        prior.image_shape, mask=0.5, noise_model=noise, rng=generator, device=prior.device
    )
    y = physics(x)

    model = NestedDDRM(prior, outer_steps=options.outer, inner_steps=options.inner)
    psnr = deepinv.metric.PSNR()
    for name, picture in (("original", x), ("measured", y)):
        images.save(options.out / f"{name}.png", picture[0].cpu().clamp(0, 1), {})
    print(f"measured: {float(psnr(y, x)):.2f} dB")
    for nfe, x_hat in model.iterate(y, physics, seed=options.seed):
        if nfe % options.inner == 0:  # the end of an inner run is a sample, what comes between is a blurred mean
            path = options.out / f"{nfe:04d}.png"
            images.save(path, x_hat[0].cpu(), {})
            print(f"{nfe} of {options.outer * options.inner} evaluations: {float(psnr(x_hat, x)):.2f} dB, {path}")


if __name__ == "__main__":
    main()
