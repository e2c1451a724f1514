"""Text to image with previews: Stable Diffusion 1.5 made anytime by one line.

    python examples/text_to_image.py "a photograph of an hourglass filled with snowflakes" --out previews/

4 outer × 25 inner steps, DDIM with η = 0.85, guidance 7.5: the paper's section 4.2. Every outer step writes the
picture it has. Any folder or hub id of a Stable Diffusion pipeline does: ``--pipeline``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub.constants import HF_HUB_CACHE

from restoration import NestedScheduler, anytime_previews


def load(name: str) -> StableDiffusionPipeline:
    """From a folder, the cache or the hub; one line that says where the weights go if they are nowhere."""
    try:
        return StableDiffusionPipeline.from_pretrained(name)
    except OSError:
        cached = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
        sys.exit(
            f"no weights for {name}: with a connection they go to {cached}; without one, fetch them elsewhere "
            f"with 'hf download {name} --local-dir FOLDER' and give --pipeline FOLDER"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Text to image with previews.")
    parser.add_argument("prompt")
    parser.add_argument(
        "--pipeline", default="stable-diffusion-v1-5/stable-diffusion-v1-5", help="folder or hub id"
    )
    parser.add_argument("--outer", type=int, default=4, help="outer steps: previews")
    parser.add_argument("--inner", type=int, default=25, help="network evaluations per outer step")
    parser.add_argument("--eta", type=float, default=0.85)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("previews"), help="folder for the previews")
    options = parser.parse_args(arguments)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipe = load(options.pipeline).to(device)
    pipe.scheduler = NestedScheduler.from_config(
        pipe.scheduler.config, inner_steps=options.inner, inner="ddim", inner_eta=options.eta
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for preview in anytime_previews(
        pipe,
        prompt=options.prompt,
        num_inference_steps=options.outer,
        guidance_scale=options.guidance,
        generator=torch.Generator(device).manual_seed(options.seed),
    ):
        path = options.out / f"{preview.nfe:04d}.png"
        preview.images[0].save(path)
        print(f"{preview.nfe} of {preview.total_nfe} evaluations: {path}")


if __name__ == "__main__":
    main()
